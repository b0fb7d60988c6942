using System.Buffers.Binary;

namespace EdgeLora.Core;

// Layout (ggml-common.h): little-endian; of 32 elements low nibbles are elements 0..15, high ones 16..31; a nibble is an index into a table t.
//   IQ4_NL: f16 d, u8 q[16];                      32 elements: x = d·t[q]
//   IQ4_XS: f16 d, u16 high, u8 low[4], u8 q[128]; 256 elements, 8 groups of 32: x = d·(s − 32)·t[q], s of four bits of low and two of high
//   NVFP4:  u8 s[4], u8 q[32];                    64 elements, 4 groups of 16 whose first 8 are low nibbles: x = s/2·t[q], s an e4m3 without its sign, MXFP4's table
//   MXFP4:  u8 e, u8 q[16];                       32 elements: x = 2^(e − 128)·t[q], the table twice the values of e2m1

/// <summary>The GGUF block types whose nibbles index a table of values: reading, scalar. Writing is <see cref="TableBlockWriter"/>.</summary>
internal static class TableBlocks
{
    internal static ReadOnlySpan<sbyte> NonLinear => [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

    internal static ReadOnlySpan<sbyte> DoubledE2M1 => [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

    /// <summary>One IQ4_NL block (18 bytes) to 32 floats.</summary>
    public static void ReadIQ4_NL(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[32];
        FieldsIQ4_NL(block, q);
        Read(NonLinear, (float)BinaryPrimitives.ReadHalfLittleEndian(block), q, destination);
    }

    /// <summary>One IQ4_XS block (136 bytes) to 256 floats.</summary>
    public static void ReadIQ4_XS(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[256], scales = stackalloc sbyte[8];
        FieldsIQ4_XS(block, q, scales);
        float d = (float)BinaryPrimitives.ReadHalfLittleEndian(block);
        for (int g = 0; g < 8; g++)
            Read(NonLinear, d * scales[g], q.Slice(g * 32, 32), destination[(g * 32)..]);
    }

    /// <summary>One MXFP4 block (17 bytes) to 32 floats.</summary>
    public static void ReadMxfp4(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[32];
        FieldsMxfp4(block, q);
        Read(DoubledE2M1, HalfOfE8M0(block[0]), q, destination);
    }

    /// <summary>One NVFP4 block (36 bytes) to 64 floats.</summary>
    public static void ReadNvfp4(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[64];
        FieldsNvfp4(block, q);
        for (int g = 0; g < 4; g++)
            Read(DoubledE2M1, HalfOfE4M3(block[g]), q.Slice(g * 16, 16), destination[(g * 16)..]);
    }

    /// <summary>The indices of an IQ4_NL block.</summary>
    public static void FieldsIQ4_NL(ReadOnlySpan<byte> block, Span<sbyte> q) => Nibbles(block.Slice(2, 16), q);

    /// <summary>The indices and the scales less 32 of an IQ4_XS block: q [256], s [8].</summary>
    public static void FieldsIQ4_XS(ReadOnlySpan<byte> block, Span<sbyte> q, Span<sbyte> scales)
    {
        int high = BinaryPrimitives.ReadUInt16LittleEndian(block[2..]);
        for (int g = 0; g < 8; g++)
        {
            scales[g] = (sbyte)((block[4 + g / 2] >> g % 2 * 4 & 15 | (high >> g * 2 & 3) << 4) - 32);
            Nibbles(block.Slice(8 + g * 16, 16), q.Slice(g * 32, 32));
        }
    }

    /// <summary>The indices of an MXFP4 block.</summary>
    public static void FieldsMxfp4(ReadOnlySpan<byte> block, Span<sbyte> q) => Nibbles(block.Slice(1, 16), q);

    /// <summary>The indices of an NVFP4 block.</summary>
    public static void FieldsNvfp4(ReadOnlySpan<byte> block, Span<sbyte> q)
    {
        for (int g = 0; g < 4; g++)
            Nibbles(block.Slice(4 + g * 8, 8), q.Slice(g * 16, 16));
    }

    // The two smallest powers are subnormal.
    internal static float HalfOfE8M0(byte e) => BitConverter.UInt32BitsToSingle(e < 2 ? 0x00200000u << e : (uint)(e - 1) << 23);

    // 0x7F, a NaN, is 0.
    internal static float HalfOfE4M3(byte bits)
    {
        int exponent = bits >> 3 & 15, mantissa = bits & 7;
        float value = exponent == 0 ? MathF.ScaleB(mantissa, -9) : MathF.ScaleB(1 + mantissa / 8f, exponent - 7);
        return bits is 0 or 0x7F ? 0 : value * 0.5f;
    }

    private static void Read(ReadOnlySpan<sbyte> table, float d, ReadOnlySpan<sbyte> q, Span<float> destination)
    {
        for (int i = 0; i < q.Length; i++)
            destination[i] = d * table[q[i]];
    }

    // Low nibbles, then high ones.
    private static void Nibbles(ReadOnlySpan<byte> bytes, Span<sbyte> q)
    {
        for (int i = 0; i < bytes.Length; i++)
            (q[i], q[bytes.Length + i]) = ((sbyte)(bytes[i] & 15), (sbyte)(bytes[i] >> 4));
    }
}
