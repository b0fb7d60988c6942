using System.IO.Hashing;
using System.Text;
using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>
/// Finds a key that stands twice in one object of a JSON text. <see cref="JsonDocument"/> can refuse them too, but only by way of the runtime's cryptography, which on Linux ends the process where there is no OpenSSL.
/// </summary>
internal sealed class DuplicateKeys : IEqualityComparer<ReadOnlyMemory<byte>>
{
    // Another on every run: nobody can prepare a file whose keys all fall together.
    private static readonly DuplicateKeys s_comparer = new();
    private readonly long _seed = Random.Shared.NextInt64();

    /// <summary>Throws <see cref="JsonException"/> with the key's line. The text is one that <see cref="JsonDocument"/> has read.</summary>
    public static void Refuse(ReadOnlyMemory<byte> utf8)
    {
        Utf8JsonReader reader = new(utf8.Span, SafeJson.ReaderOptions);
        // One for each depth that has been reached, cleared for the next object there; clearing a large one costs its size.
        List<HashSet<ReadOnlyMemory<byte>>> keys = [];
        while (reader.Read())
        {
            if (reader.TokenType == JsonTokenType.StartObject)
            {
                while (keys.Count <= reader.CurrentDepth)
                    keys.Add(new(s_comparer));
                if (keys[reader.CurrentDepth].Capacity > 64)
                    keys[reader.CurrentDepth] = new(s_comparer);
                else
                    keys[reader.CurrentDepth].Clear();
            }
            else if (reader.TokenType == JsonTokenType.PropertyName)
            {
                int start = (int)reader.TokenStartIndex;
                ReadOnlyMemory<byte> key = reader.ValueIsEscaped ? Encoding.UTF8.GetBytes(reader.GetString()!) : utf8.Slice(start + 1, reader.ValueSpan.Length);
                if (!keys[reader.CurrentDepth - 1].Add(key))
                    throw new JsonException($"Duplicate property '{reader.GetString()}'", null, utf8.Span[..start].Count((byte)'\n'), null);
            }
        }
    }

    bool IEqualityComparer<ReadOnlyMemory<byte>>.Equals(ReadOnlyMemory<byte> a, ReadOnlyMemory<byte> b) => a.Span.SequenceEqual(b.Span);

    int IEqualityComparer<ReadOnlyMemory<byte>>.GetHashCode(ReadOnlyMemory<byte> key) => (int)XxHash3.HashToUInt64(key.Span, _seed);
}
