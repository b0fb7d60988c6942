using System.Buffers.Binary;

namespace EdgeLora.Core;

// Layout (ggml-common.h): 256 elements are one block, little-endian, of groups with a scale s (and a minimum m) of few bits each.
//   Q2_K: u8 sm[16], u8 q[64], f16 d, f16 min;           16 groups of 16: x = d·s·q − min·m, sm = s | m << 4
//   Q3_K: u8 h[32], u8 q[64], u8 s[12], f16 d;           16 groups of 16: x = d·(s − 32)·q, q of 3 bits less 4
//   Q4_K: f16 d, f16 min, u8 sm[12], u8 q[128];           8 groups of 32: x = d·s·q − min·m
//   Q5_K: f16 d, f16 min, u8 sm[12], u8 h[32], u8 q[128]; the same with q of 5 bits
//   Q8_K: f32 d, i8 q[256], i16 sums[16];                x = d·q
//   Q6_K: u8 q[128], u8 h[64], i8 s[16], f16 d;          16 groups of 16: x = d·s·(q − 32)
// Every product is rounded in ggml's order.

/// <summary>The GGUF block types of 256 elements with scales of scales, the K family: reading, scalar. Writing is <see cref="KBlockWriter"/>.</summary>
internal static class KBlocks
{
    /// <summary>Elements in a block.</summary>
    public const int BlockSize = 256;

    /// <summary>One Q2_K block (84 bytes) to 256 floats.</summary>
    public static void ReadQ2(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[BlockSize], scales = stackalloc sbyte[16], minimums = stackalloc sbyte[16];
        FieldsQ2(block, q, scales, minimums);
        Multiply(Half(block, 80), Half(block, 82), q, scales, minimums, destination);
    }

    /// <summary>One Q3_K block (110 bytes) to 256 floats.</summary>
    public static void ReadQ3(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[BlockSize], scales = stackalloc sbyte[16], minimums = stackalloc sbyte[16];
        FieldsQ3(block, q, scales);
        Multiply(Half(block, 108), 0, q, scales, minimums, destination);
    }

    /// <summary>One Q4_K block (144 bytes) to 256 floats.</summary>
    public static void ReadQ4(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[BlockSize], scales = stackalloc sbyte[8], minimums = stackalloc sbyte[8];
        FieldsQ4(block, q, scales, minimums);
        Multiply(Half(block, 0), Half(block, 2), q, scales, minimums, destination);
    }

    /// <summary>One Q5_K block (176 bytes) to 256 floats.</summary>
    public static void ReadQ5(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[BlockSize], scales = stackalloc sbyte[8], minimums = stackalloc sbyte[8];
        FieldsQ5(block, q, scales, minimums);
        Multiply(Half(block, 0), Half(block, 2), q, scales, minimums, destination);
    }

    /// <summary>One Q6_K block (210 bytes) to 256 floats.</summary>
    public static void ReadQ6(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[BlockSize], scales = stackalloc sbyte[16], minimums = stackalloc sbyte[16];
        FieldsQ6(block, q, scales);
        Multiply(Half(block, 208), 0, q, scales, minimums, destination);
    }

    /// <summary>The integers of a Q2_K block: q [256], s [16], m [16].</summary>
    public static void FieldsQ2(ReadOnlySpan<byte> block, Span<sbyte> q, Span<sbyte> scales, Span<sbyte> minimums)
    {
        // Groups g and g + 1 are the same two bits of bytes 0..15 and 16..31; after four such pairs the next 32 bytes begin.
        for (int g = 0; g < 16; g++)
        {
            ReadOnlySpan<byte> bytes = block.Slice(16 + g / 8 * 32 + g % 2 * 16, 16);
            (scales[g], minimums[g]) = ((sbyte)(block[g] & 15), (sbyte)(block[g] >> 4));
            int shift = g % 8 / 2 * 2;
            for (int i = 0; i < 16; i++)
                q[g * 16 + i] = (sbyte)(bytes[i] >> shift & 3);
        }
    }

    /// <summary>The integers of a Q3_K block: q less 4 [256], s less 32 [16].</summary>
    public static void FieldsQ3(ReadOnlySpan<byte> block, Span<sbyte> q, Span<sbyte> scales)
    {
        ReadOnlySpan<byte> high = block[..32], packed = block.Slice(96, 12);
        for (int g = 0; g < 16; g++)
        {
            ReadOnlySpan<byte> bytes = block.Slice(32 + g / 8 * 32 + g % 2 * 16, 16), h = high.Slice(g % 2 * 16, 16);
            // Four low bits: nibbles of bytes 0..7; two high ones: pairs of bits of bytes 8..11.
            scales[g] = (sbyte)((packed[g % 8] >> g / 8 * 4 & 15 | (packed[8 + g % 4] >> g / 4 * 2 & 3) << 4) - 32);
            int shift = g % 8 / 2 * 2, bit = g / 2;
            for (int i = 0; i < 16; i++)
                q[g * 16 + i] = (sbyte)((bytes[i] >> shift & 3) - 4 + (h[i] >> bit & 1) * 4);
        }
    }

    /// <summary>The integers of a Q4_K block: q [256], s [8], m [8].</summary>
    public static void FieldsQ4(ReadOnlySpan<byte> block, Span<sbyte> q, Span<sbyte> scales, Span<sbyte> minimums)
    {
        for (int g = 0; g < 8; g++)
        {
            ReadOnlySpan<byte> bytes = block.Slice(16 + g / 2 * 32, 32);
            (scales[g], minimums[g]) = (Scale(block, g), Minimum(block, g));
            int shift = g % 2 * 4;
            for (int i = 0; i < 32; i++)
                q[g * 32 + i] = (sbyte)(bytes[i] >> shift & 15);
        }
    }

    /// <summary>The integers of a Q5_K block: q [256], s [8], m [8].</summary>
    public static void FieldsQ5(ReadOnlySpan<byte> block, Span<sbyte> q, Span<sbyte> scales, Span<sbyte> minimums)
    {
        ReadOnlySpan<byte> high = block.Slice(16, 32);
        for (int g = 0; g < 8; g++)
        {
            ReadOnlySpan<byte> bytes = block.Slice(48 + g / 2 * 32, 32);
            (scales[g], minimums[g]) = (Scale(block, g), Minimum(block, g));
            int shift = g % 2 * 4;
            for (int i = 0; i < 32; i++)
                q[g * 32 + i] = (sbyte)((bytes[i] >> shift & 15) + (high[i] >> g & 1) * 16);
        }
    }

    /// <summary>The integers of a Q6_K block: q less 32 [256], s [16].</summary>
    public static void FieldsQ6(ReadOnlySpan<byte> block, Span<sbyte> q, Span<sbyte> scales)
    {
        // Of each half, 32 elements at a time: low nibbles of bytes 0..31 and 32..63, then the high ones; two bits more of each in the half's 32 bytes of h.
        for (int part = 0; part < 8; part++)
        {
            int half = part / 4, quarter = part % 4;
            ReadOnlySpan<byte> bytes = block.Slice(half * 64 + quarter % 2 * 32, 32), h = block.Slice(128 + half * 32, 32);
            (scales[2 * part], scales[2 * part + 1]) = ((sbyte)block[192 + 2 * part], (sbyte)block[193 + 2 * part]);
            int shift = quarter / 2 * 4;
            for (int i = 0; i < 32; i++)
                q[part * 32 + i] = (sbyte)((bytes[i] >> shift & 15 | (h[i] >> quarter * 2 & 3) << 4) - 32);
        }
    }

    /// <summary>One Q8_K block (292 bytes) to 256 floats.</summary>
    public static void ReadQ8(ReadOnlySpan<byte> block, Span<float> destination)
    {
        float d = BinaryPrimitives.ReadSingleLittleEndian(block);
        for (int i = 0; i < BlockSize; i++)
            destination[i] = d * (sbyte)block[4 + i];
    }

    // Six bits of eight scales and eight minimums in 12 bytes: the first four of each lie in bytes 0..3 and 4..7,
    // the others' low four bits in the nibbles of bytes 8..11 and their high two in the tops of bytes 0..7.
    private static sbyte Scale(ReadOnlySpan<byte> block, int g) => (sbyte)(g < 4 ? block[4 + g] & 63 : block[8 + g] & 15 | block[g] >> 6 << 4);

    private static sbyte Minimum(ReadOnlySpan<byte> block, int g) => (sbyte)(g < 4 ? block[8 + g] & 63 : block[8 + g] >> 4 | block[4 + g] >> 6 << 4);

    private static void Multiply(float d, float min, ReadOnlySpan<sbyte> q, ReadOnlySpan<sbyte> scales, ReadOnlySpan<sbyte> minimums, Span<float> destination)
    {
        int size = BlockSize / scales.Length;
        for (int g = 0; g < scales.Length; g++)
        {
            float scale = d * scales[g], minimum = min * minimums[g];
            for (int i = g * size; i < (g + 1) * size; i++)
                destination[i] = scale * q[i] - minimum;
        }
    }

    private static float Half(ReadOnlySpan<byte> block, int at) => (float)BinaryPrimitives.ReadHalfLittleEndian(block[at..]);
}
