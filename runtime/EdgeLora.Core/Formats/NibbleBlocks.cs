using System.Buffers.Binary;

namespace EdgeLora.Core;

// Layout (ggml-common.h): 32 elements are one block, little-endian; low nibbles are elements 0..15, high ones 16..31; bit i of h is bit 4 of element i.
//   Q4_1: f16 d, f16 m, u8 q[16];         x = q·d + m
//   Q5_0: f16 d, u32 h, u8 q[16];         x = (q − 16)·d
//   Q5_1: f16 d, f16 m, u32 h, u8 q[16];  x = q·d + m
// A product is rounded before the minimum is added, as in ggml.

/// <summary>The GGUF block types of nibbles with a minimum or a fifth bit: reading and writing, scalar. Writing is ggml's quantize_row_*_ref, byte for byte.</summary>
internal static class NibbleBlocks
{
    /// <summary>One Q4_1 block (20 bytes) to 32 floats.</summary>
    public static void ReadQ4_1(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[32];
        FieldsQ4_1(block, q);
        ReadWithMinimum(block, q, destination);
    }

    /// <summary>One Q5_1 block (24 bytes) to 32 floats.</summary>
    public static void ReadQ5_1(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[32];
        FieldsQ5_1(block, q);
        ReadWithMinimum(block, q, destination);
    }

    /// <summary>One Q5_0 block (22 bytes) to 32 floats.</summary>
    public static void ReadQ5_0(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[32];
        FieldsQ5_0(block, q);
        float d = (float)BinaryPrimitives.ReadHalfLittleEndian(block);
        for (int i = 0; i < 32; i++)
            destination[i] = q[i] * d;
    }

    /// <summary>The integers of a Q4_1 block.</summary>
    public static void FieldsQ4_1(ReadOnlySpan<byte> block, Span<sbyte> q) => Fields(0, block[4..], 0, q);

    /// <summary>The integers of a Q5_0 block, less 16.</summary>
    public static void FieldsQ5_0(ReadOnlySpan<byte> block, Span<sbyte> q) => Fields(BinaryPrimitives.ReadUInt32LittleEndian(block[2..]), block[6..], 16, q);

    /// <summary>The integers of a Q5_1 block.</summary>
    public static void FieldsQ5_1(ReadOnlySpan<byte> block, Span<sbyte> q) => Fields(BinaryPrimitives.ReadUInt32LittleEndian(block[4..]), block[8..], 0, q);

    private static void ReadWithMinimum(ReadOnlySpan<byte> factors, ReadOnlySpan<sbyte> q, Span<float> destination)
    {
        float d = (float)BinaryPrimitives.ReadHalfLittleEndian(factors), m = (float)BinaryPrimitives.ReadHalfLittleEndian(factors[2..]);
        for (int i = 0; i < 32; i++)
            destination[i] = q[i] * d + m;
    }

    private static void Fields(uint high, ReadOnlySpan<byte> bytes, int less, Span<sbyte> q)
    {
        for (int i = 0; i < 16; i++)
        {
            q[i] = (sbyte)((bytes[i] & 15 | (int)(high >> i & 1) << 4) - less);
            q[16 + i] = (sbyte)((bytes[i] >> 4 | (int)(high >> (16 + i) & 1) << 4) - less);
        }
    }

    /// <summary>32 finite floats to one Q4_1 block (20 bytes).</summary>
    public static void WriteQ4_1(ReadOnlySpan<float> x, Span<byte> block)
    {
        Span<int> q = stackalloc int[32];
        LevelsFromMinimum(x, 15, block, q);
        PackNibbles(q, block[4..]);
    }

    /// <summary>32 finite floats to one Q5_1 block (24 bytes).</summary>
    public static void WriteQ5_1(ReadOnlySpan<float> x, Span<byte> block)
    {
        Span<int> q = stackalloc int[32];
        LevelsFromMinimum(x, 31, block, q);
        BinaryPrimitives.WriteUInt32LittleEndian(block[4..], FifthBits(q));
        PackNibbles(q, block[8..]);
    }

    /// <summary>32 finite floats to one Q5_0 block (22 bytes).</summary>
    public static void WriteQ5_0(ReadOnlySpan<float> x, Span<byte> block)
    {
        Span<int> q = stackalloc int[32];
        float d = ScaleSearch.Extreme(x) / -16, inverse = QuantBlocks.Inverse(d);
        QuantBlocks.WriteScale(block, d);
        for (int i = 0; i < 32; i++)
            q[i] = Math.Min(31, QuantBlocks.LevelOf(x[i], inverse, 16.5f));
        BinaryPrimitives.WriteUInt32LittleEndian(block[2..], FifthBits(q));
        PackNibbles(q, block[6..]);
    }

    // Scale and minimum to the block's first four bytes.
    private static void LevelsFromMinimum(ReadOnlySpan<float> x, int largest, Span<byte> block, Span<int> q)
    {
        float min = float.MaxValue, max = float.MinValue;
        foreach (float value in x)
        {
            if (value < min)
                min = value;
            if (value > max)
                max = value;
        }
        float d = (max - min) / largest, inverse = QuantBlocks.Inverse(d);
        QuantBlocks.WriteScale(block, d);
        QuantBlocks.WriteScale(block[2..], min);
        for (int i = 0; i < 32; i++)
            q[i] = Math.Min(largest, (int)((x[i] - min) * inverse + 0.5f));
    }

    private static uint FifthBits(ReadOnlySpan<int> q)
    {
        uint bits = 0;
        for (int i = 0; i < 32; i++)
            bits |= (uint)(q[i] >> 4) << i;
        return bits;
    }

    private static void PackNibbles(ReadOnlySpan<int> q, Span<byte> bytes)
    {
        for (int i = 0; i < 16; i++)
            bytes[i] = (byte)(q[i] & 15 | (q[16 + i] & 15) << 4);
    }
}
