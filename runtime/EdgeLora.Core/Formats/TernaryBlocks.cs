using System.Buffers.Binary;

namespace EdgeLora.Core;

// Layout (ggml-common.h), little-endian:
//   Q1_0:  f16 d, u8 q[16];         128 elements, one bit each, lowest first: x = d or −d
//   TQ2_0: u8 q[64], f16 d;         256 elements: x = (q − 1)·d; of each 32 bytes the lowest two bits are 32 elements, then the next two
//   TQ1_0: u8 q[48], u8 h[4], f16 d; 256 elements: x = (t − 1)·d; a byte is a fraction of 256 whose first digits to base 3 are five elements (of h: four),
//          first digits first: of 32 bytes, of 16, of the four of h

/// <summary>The GGUF block types of one or two bits: a sign, or −1, 0 and 1. Reading and writing, scalar; writing is ggml's quantize_row_*_ref.</summary>
internal static class TernaryBlocks
{
    /// <summary>One Q1_0 block (18 bytes) to 128 floats.</summary>
    public static void ReadQ1_0(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[128];
        FieldsQ1_0(block, q);
        Multiply(q, 2, block, destination);
    }

    /// <summary>One TQ1_0 block (54 bytes) to 256 floats.</summary>
    public static void ReadTQ1_0(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[256];
        FieldsTQ1_0(block, q);
        Multiply(q, 1, block[52..], destination);
    }

    /// <summary>One TQ2_0 block (66 bytes) to 256 floats.</summary>
    public static void ReadTQ2_0(ReadOnlySpan<byte> block, Span<float> destination)
    {
        Span<sbyte> q = stackalloc sbyte[256];
        FieldsTQ2_0(block, q);
        Multiply(q, 1, block[64..], destination);
    }

    /// <summary>The integers of a Q1_0 block: 1 for d, 0 for −d.</summary>
    public static void FieldsQ1_0(ReadOnlySpan<byte> block, Span<sbyte> q)
    {
        for (int i = 0; i < 128; i++)
            q[i] = (sbyte)(block[2 + i / 8] >> i % 8 & 1);
    }

    /// <summary>The integers of a TQ1_0 block plus 1: 0, 1 or 2.</summary>
    public static void FieldsTQ1_0(ReadOnlySpan<byte> block, Span<sbyte> q)
    {
        Digits(block[..32], 5, q);
        Digits(block.Slice(32, 16), 5, q[160..]);
        Digits(block.Slice(48, 4), 4, q[240..]);
    }

    /// <summary>The integers of a TQ2_0 block plus 1: 0, 1 or 2; of bits that ggml never writes, 3.</summary>
    public static void FieldsTQ2_0(ReadOnlySpan<byte> block, Span<sbyte> q)
    {
        for (int i = 0; i < 256; i++)
            q[i] = (sbyte)(block[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3);
    }

    // The least value is −1; the next ones are so far apart.
    private static void Multiply(ReadOnlySpan<sbyte> q, int apart, ReadOnlySpan<byte> scale, Span<float> destination)
    {
        float d = (float)BinaryPrimitives.ReadHalfLittleEndian(scale);
        for (int i = 0; i < q.Length; i++)
            destination[i] = (q[i] * apart - 1) * d;
    }

    private static void Digits(ReadOnlySpan<byte> bytes, int digits, Span<sbyte> q)
    {
        int power = 1;
        for (int n = 0; n < digits; n++, power *= 3)
            for (int i = 0; i < bytes.Length; i++)
                q[n * bytes.Length + i] = (sbyte)((byte)(bytes[i] * power) * 3 / 256);
    }

    /// <summary>128 finite floats to one Q1_0 block (18 bytes): the mean magnitude and the signs.</summary>
    public static void WriteQ1_0(ReadOnlySpan<float> x, Span<byte> block)
    {
        float sum = 0;
        block.Clear();
        for (int i = 0; i < 128; i++)
        {
            sum += MathF.Abs(x[i]);
            if (x[i] >= 0)
                block[2 + i / 8] |= (byte)(1 << i % 8);
        }
        QuantBlocks.WriteScale(block, sum / 128);
    }

    /// <summary>256 finite floats to one TQ1_0 block (54 bytes).</summary>
    public static void WriteTQ1_0(ReadOnlySpan<float> x, Span<byte> block)
    {
        float inverse = WriteLargest(x, block[52..]);
        PackDigits(x, inverse, 5, block[..32]);
        PackDigits(x[160..], inverse, 5, block.Slice(32, 16));
        PackDigits(x[240..], inverse, 4, block.Slice(48, 4));
    }

    /// <summary>256 finite floats to one TQ2_0 block (66 bytes).</summary>
    public static void WriteTQ2_0(ReadOnlySpan<float> x, Span<byte> block)
    {
        float inverse = WriteLargest(x, block[64..]);
        block[..64].Clear();
        for (int i = 0; i < 256; i++)
            block[i / 128 * 32 + i % 32] |= (byte)(Digit(x[i], inverse) << i % 128 / 32 * 2);
    }

    private static float WriteLargest(ReadOnlySpan<float> x, Span<byte> to)
    {
        float d = MathF.Abs(ScaleSearch.Extreme(x));
        QuantBlocks.WriteScale(to, d);
        return QuantBlocks.Inverse(d);
    }

    private static int Digit(float x, float inverse) => (int)MathF.Round(x * inverse, MidpointRounding.AwayFromZero) + 1;

    private static void PackDigits(ReadOnlySpan<float> x, float inverse, int digits, Span<byte> bytes)
    {
        for (int i = 0; i < bytes.Length; i++)
        {
            int value = 0;
            for (int n = 0; n < 5; n++)
                value = value * 3 + (n < digits ? Digit(x[n * bytes.Length + i], inverse) : 0);
            // Rounded up, so that multiplying takes the digits out again.
            bytes[i] = (byte)((value * 256 + 242) / 243);
        }
    }
}
