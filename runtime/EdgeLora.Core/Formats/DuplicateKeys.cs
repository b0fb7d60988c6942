using System.Buffers;
using System.IO.Hashing;
using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>
/// Finds a key that stands twice in one object of a JSON text. <see cref="JsonDocument"/> can refuse them too, but only by way of the runtime's cryptography, which on Linux ends the process where there is no OpenSSL.
/// </summary>
internal static class DuplicateKeys
{
    // Another on every run: nobody can prepare a file with two keys of one hash.
    private static readonly long s_seed = Random.Shared.NextInt64();

    /// <summary>Throws <see cref="JsonException"/> with the key's line. The text is one that <see cref="JsonDocument"/> has read.</summary>
    public static void Refuse(ReadOnlySpan<byte> utf8)
    {
        Utf8JsonReader reader = new(utf8, SafeJson.ReaderOptions);
        // The keys of all objects that are open, an inner one's behind those of the outer ones; and where each object's begin.
        Key[] keys = ArrayPool<Key>.Shared.Rent(64);
        int[] starts = ArrayPool<int>.Shared.Rent(16);
        int count = 0;
        try
        {
            while (reader.Read())
                switch (reader.TokenType)
                {
                    case JsonTokenType.StartObject:
                        while (reader.CurrentDepth >= starts.Length)
                            Grow(ref starts);
                        starts[reader.CurrentDepth] = count;
                        break;
                    case JsonTokenType.PropertyName:
                        if (count == keys.Length)
                            Grow(ref keys);
                        keys[count++] = new(HashOf(reader), (int)reader.TokenStartIndex, reader.ValueSpan.Length + 2);
                        break;
                    case JsonTokenType.EndObject:
                        int start = starts[reader.CurrentDepth];
                        RefuseTwo(keys.AsSpan(start, count - start), utf8);
                        count = start;
                        break;
                }
        }
        finally
        {
            ArrayPool<Key>.Shared.Return(keys);
            ArrayPool<int>.Shared.Return(starts);
        }
    }

    // Of what a key says, however it is written.
    private static UInt128 HashOf(in Utf8JsonReader reader)
    {
        if (!reader.ValueIsEscaped)
            return XxHash128.HashToUInt128(reader.ValueSpan, s_seed);
        byte[] plain = ArrayPool<byte>.Shared.Rent(reader.ValueSpan.Length);
        try
        {
            return XxHash128.HashToUInt128(plain.AsSpan(0, reader.CopyString(plain)), s_seed);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(plain);
        }
    }

    private static void RefuseTwo(Span<Key> keys, ReadOnlySpan<byte> utf8)
    {
        if (keys.Length < 2)
            return;
        keys.Sort(static (a, b) => a.Hash == b.Hash ? a.Start.CompareTo(b.Start) : a.Hash.CompareTo(b.Hash));
        Key first = default;
        for (int i = 1; i < keys.Length; i++)
            if (keys[i].Hash == keys[i - 1].Hash && (first.Length == 0 || keys[i].Start < first.Start))
                first = keys[i];
        if (first.Length == 0)
            return;
        Utf8JsonReader name = new(utf8.Slice(first.Start, first.Length));
        name.Read();
        throw new JsonException($"Duplicate property '{name.GetString()}'", null, utf8[..first.Start].Count((byte)'\n'), null);
    }

    private static void Grow<T>(ref T[] array)
    {
        T[] larger = ArrayPool<T>.Shared.Rent(2 * array.Length);
        array.CopyTo(larger, 0);
        ArrayPool<T>.Shared.Return(array);
        array = larger;
    }

    // From its quote to its quote.
    private readonly record struct Key(UInt128 Hash, int Start, int Length);
}
