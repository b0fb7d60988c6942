using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;

namespace EdgeLora.Core;

/// <summary>Reads GGUF values in order. Every count is compared with the bytes that are left before anything is allocated.</summary>
internal sealed class GgufCursor(string path, TensorStorage storage)
{
    private const int MaxNesting = 64;
    private static readonly UTF8Encoding s_strictUtf8 = new(false, throwOnInvalidBytes: true);

    public long Position { get; set; }

    public bool BigEndian { get; set; }

    /// <summary>What is being read, for errors: <c>key 'general.name'</c>.</summary>
    public string Where { get; set; } = "header";

    public long Left => storage.Length - Position;

    public ModelFileException Fault(string fault) => new(path, $"{Where}: {fault}");

    public ReadOnlySpan<byte> Take(int count)
    {
        if (count > Left)
            throw Fault($"the file ends at byte {storage.Length}; expected {count} more from byte {Position}");
        ReadOnlySpan<byte> bytes = storage.Bytes(Position, count);
        Position += count;
        return bytes;
    }

    public byte U8() => Take(1)[0];

    public ushort U16() => BigEndian ? BinaryPrimitives.ReadUInt16BigEndian(Take(2)) : BinaryPrimitives.ReadUInt16LittleEndian(Take(2));

    public uint U32() => BigEndian ? BinaryPrimitives.ReadUInt32BigEndian(Take(4)) : BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

    public ulong U64() => BigEndian ? BinaryPrimitives.ReadUInt64BigEndian(Take(8)) : BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    /// <summary>A count of things that take at least <paramref name="leastBytes"/> each.</summary>
    public int Count(string what, int leastBytes)
    {
        ulong count = U64();
        if (count > (ulong)Math.Min(Left / leastBytes, int.MaxValue / leastBytes))
            throw Fault($"{count} {what}, but the file ends {Left} bytes later");
        return (int)count;
    }

    /// <summary>A name: well-formed UTF-8, not empty.</summary>
    public string Name(string what)
    {
        int length = Count($"bytes of {what} name", 1);
        if (length == 0)
            throw Fault($"expected a {what} name, found an empty one");
        try
        {
            return s_strictUtf8.GetString(Take(length));
        }
        catch (DecoderFallbackException e)
        {
            throw new ModelFileException(path, $"{Where}: the {what} name is not UTF-8", e);
        }
    }

    // Token lists hold broken UTF-8 in the wild: such bytes become U+FFFD.
    // Bytes that are no UTF-8 become U+FFFD. Encoding.GetString does so too, but allocates for every one of them.
    private string Text()
    {
        int length = Count("bytes of text", 1);
        if (length == 0)
            return "";
        ReadOnlySpan<byte> bytes = Take(length);
        char[] characters = ArrayPool<char>.Shared.Rent(bytes.Length);
        Utf8.ToUtf16(bytes, characters, out _, out int written);
        string text = new(characters, 0, written);
        ArrayPool<char>.Shared.Return(characters);
        return text;
    }

    private bool Bool() => U8() switch
    {
        0 => false,
        1 => true,
        byte other => throw Fault($"expected a bool of 0 or 1, found {other}"),
    };

    /// <summary>A metadata value of the numbered type.</summary>
    public object Value(uint type, int depth = 0) => type switch
    {
        0 => U8(),
        1 => (sbyte)U8(),
        2 => U16(),
        3 => (short)U16(),
        4 => U32(),
        5 => (int)U32(),
        6 => BitConverter.UInt32BitsToSingle(U32()),
        7 => Bool(),
        8 => Text(),
        9 => ArrayOf(U32(), depth + 1),
        10 => U64(),
        11 => (long)U64(),
        12 => BitConverter.UInt64BitsToDouble(U64()),
        _ => throw Fault($"unknown value type {type}; expected 0 to 12"),
    };

    private object ArrayOf(uint type, int depth)
    {
        if (depth > MaxNesting)
            throw Fault($"arrays are nested deeper than {MaxNesting}");
        switch (type)
        {
            case 0: return Numbers<byte>();
            case 1: return Numbers<sbyte>();
            case 2: return Numbers<ushort>();
            case 3: return Numbers<short>();
            case 4: return Numbers<uint>();
            case 5: return Numbers<int>();
            case 6: return Numbers<float>();
            case 10: return Numbers<ulong>();
            case 11: return Numbers<long>();
            case 12: return Numbers<double>();
            case 7:
                bool[] bools = new bool[Count("array elements", 1)];
                for (int i = 0; i < bools.Length; i++)
                    bools[i] = Bool();
                return bools;
            case 8:
                string[] texts = new string[Count("array elements", 8)];
                for (int i = 0; i < texts.Length; i++)
                    texts[i] = Text();
                return texts;
            case 9:
                object[] arrays = new object[Count("array elements", 12)];
                for (int i = 0; i < arrays.Length; i++)
                    arrays[i] = ArrayOf(U32(), depth + 1);
                return arrays;
            default:
                throw Fault($"unknown array element type {type}; expected 0 to 12");
        }
    }

    private T[] Numbers<T>() where T : unmanaged
    {
        int size = Marshal.SizeOf<T>(), count = Count("array elements", size);
        if (count == 0)
            return [];
        T[] result = new T[count];
        Span<byte> bytes = MemoryMarshal.AsBytes(result.AsSpan());
        Take(bytes.Length).CopyTo(bytes);
        if (BigEndian)
            SwapBytes(bytes, size);
        return result;
    }

    /// <summary>Reverses the bytes of every number of <paramref name="size"/> bytes in place.</summary>
    public static void SwapBytes(Span<byte> bytes, int size)
    {
        switch (size)
        {
            case 1:
                break;
            case 2:
                Span<ushort> shorts = MemoryMarshal.Cast<byte, ushort>(bytes);
                BinaryPrimitives.ReverseEndianness(shorts, shorts);
                break;
            case 4:
                Span<uint> words = MemoryMarshal.Cast<byte, uint>(bytes);
                BinaryPrimitives.ReverseEndianness(words, words);
                break;
            default:
                Debug.Assert(size == 8);
                Span<ulong> longs = MemoryMarshal.Cast<byte, ulong>(bytes);
                BinaryPrimitives.ReverseEndianness(longs, longs);
                break;
        }
    }
}
