using System.Buffers.Binary;

namespace EdgeLora.Core;

// Layout (ggml-common.h): 32 elements are one block, little-endian; low nibbles are elements 0..15, high ones 16..31; bit i of h is bit 4 of element i.
//   Q4_1: f16 d, f16 m, u8 q[16];         x = q·d + m
//   Q5_0: f16 d, u32 h, u8 q[16];         x = (q − 16)·d
//   Q5_1: f16 d, f16 m, u32 h, u8 q[16];  x = q·d + m
// A product is rounded before the minimum is added, as in ggml.

/// <summary>The GGUF block types of nibbles with a minimum or a fifth bit: reading, scalar.</summary>
internal static class NibbleBlocks
{
    /// <summary>One Q4_1 block (20 bytes) to 32 floats.</summary>
    public static void ReadQ4_1(ReadOnlySpan<byte> block, Span<float> destination) => ReadWithMinimum(block, 0, block[4..], destination);

    /// <summary>One Q5_1 block (24 bytes) to 32 floats.</summary>
    public static void ReadQ5_1(ReadOnlySpan<byte> block, Span<float> destination) => ReadWithMinimum(block, BinaryPrimitives.ReadUInt32LittleEndian(block[4..]), block[8..], destination);

    /// <summary>One Q5_0 block (22 bytes) to 32 floats.</summary>
    public static void ReadQ5_0(ReadOnlySpan<byte> block, Span<float> destination)
    {
        float d = (float)BinaryPrimitives.ReadHalfLittleEndian(block);
        uint high = BinaryPrimitives.ReadUInt32LittleEndian(block[2..]);
        ReadOnlySpan<byte> q = block[6..];
        for (int i = 0; i < 16; i++)
        {
            destination[i] = (Low(q[i], high, i) - 16) * d;
            destination[16 + i] = (High(q[i], high, i) - 16) * d;
        }
    }

    private static void ReadWithMinimum(ReadOnlySpan<byte> factors, uint high, ReadOnlySpan<byte> q, Span<float> destination)
    {
        float d = (float)BinaryPrimitives.ReadHalfLittleEndian(factors), m = (float)BinaryPrimitives.ReadHalfLittleEndian(factors[2..]);
        for (int i = 0; i < 16; i++)
        {
            destination[i] = Low(q[i], high, i) * d + m;
            destination[16 + i] = High(q[i], high, i) * d + m;
        }
    }

    private static int Low(byte q, uint high, int i) => q & 15 | (int)(high >> i & 1) << 4;

    private static int High(byte q, uint high, int i) => q >> 4 | (int)(high >> (16 + i) & 1) << 4;
}
