using System.Buffers.Binary;

namespace EdgeLora.Core;

/// <summary>The writing half of <see cref="TableBlocks"/>: ggml's quantisers (ggml-quants.c), IQ4 with an importance of 1. Inputs are finite; throws <see cref="OverflowException"/> for a scale past F16.</summary>
internal static class TableBlockWriter
{
    // Half steps of the search around the largest magnitude.
    private const int Tries = 7;

    private const float Smallest = 1e-15f;

    /// <summary>32 floats to one IQ4_NL block (18 bytes).</summary>
    public static void WriteIQ4_NL(ReadOnlySpan<float> x, Span<byte> block)
    {
        float d = Scale(x, 2 * ScaleSearch.SquareSum(x) / 32);
        QuantBlocks.WriteScale(block, d);
        Pack(x, QuantBlocks.Inverse(d), block[2..]);
    }

    /// <summary>256 floats to one IQ4_XS block (136 bytes).</summary>
    public static void WriteIQ4_XS(ReadOnlySpan<float> x, Span<byte> block)
    {
        Span<float> scales = stackalloc float[8];
        float mean = 2 * ScaleSearch.SquareSum(x) / 256;
        for (int g = 0; g < 8; g++)
            scales[g] = Scale(x.Slice(g * 32, 32), mean);
        float d = -ScaleSearch.Extreme(scales) / 32, inverse = QuantBlocks.Inverse(d);
        QuantBlocks.WriteScale(block, d);
        block.Slice(4, 4).Clear();
        int high = 0;
        for (int g = 0; g < 8; g++)
        {
            int level = (int)Math.Clamp(MathF.Round(inverse * scales[g]), -32, 31);
            Pack(x.Slice(g * 32, 32), QuantBlocks.Inverse(d * level), block[(8 + g * 16)..]);
            block[4 + g / 2] |= (byte)((level + 32 & 15) << g % 2 * 4);
            high |= level + 32 >> 4 << g * 2;
        }
        BinaryPrimitives.WriteUInt16LittleEndian(block[2..], (ushort)high);
    }

    /// <summary>32 floats to one MXFP4 block (17 bytes): the power of two that brings the largest magnitude between 4 and 8, and the nearest values.</summary>
    public static void WriteMxfp4(ReadOnlySpan<float> x, Span<byte> block)
    {
        float largest = MathF.Abs(ScaleSearch.Extreme(x));
        // Powers below the type's smallest would wrap around in ggml; here they are its smallest.
        block[0] = largest > 0 ? (byte)Math.Max(0, (int)MathF.Floor(MathF.Log2(largest)) - 2 + 127) : (byte)0;
        float d = TableBlocks.HalfOfE8M0(block[0]);
        for (int i = 0; i < 16; i++)
            block[1 + i] = (byte)(Nearest(x[i], d) | Nearest(x[16 + i], d) << 4);
    }

    /// <summary>64 floats to one NVFP4 block (36 bytes).</summary>
    public static void WriteNvfp4(ReadOnlySpan<float> x, Span<byte> block)
    {
        for (int g = 0; g < 4; g++)
        {
            ReadOnlySpan<float> part = x.Slice(g * 16, 16);
            float largest = MathF.Abs(ScaleSearch.Extreme(part));
            if (largest > 448 * 6)
                throw new OverflowException($"its scale {largest / 6} exceeds E4M3's largest, 448");
            block[g] = UnsignedE4M3(largest / 6);
            float d = TableBlocks.HalfOfE4M3(block[g]);
            for (int i = 0; i < 8; i++)
                block[4 + g * 8 + i] = (byte)(Nearest(part[i], d) | Nearest(part[8 + i], d) << 4);
        }
    }

    private static float Scale(ReadOnlySpan<float> x, float mean)
    {
        float extreme = ScaleSearch.Extreme(x), best = float.NegativeInfinity, scale = 0;
        if (MathF.Abs(extreme) < Smallest)
            return 0;
        ReadOnlySpan<sbyte> table = TableBlocks.NonLinear;
        for (int step = -Tries - 1; step <= Tries; step++)
        {
            // The first try has the extreme at the table's upper end, the others near its lower one.
            float inverse = (step < -Tries ? -table[0] : step + table[0]) / extreme, sumQX = 0, sumQ2 = 0;
            for (int i = 0; i < x.Length; i++)
            {
                float q = table[NearestIndex(inverse * x[i])], w = MathF.Sqrt(mean + x[i] * x[i]) * q;
                sumQX += w * x[i];
                sumQ2 += w * q;
            }
            if (!(sumQ2 > 0 && sumQX * sumQX > best * sumQ2))
                continue;
            scale = sumQX / sumQ2;
            best = scale * sumQX;
        }
        return scale;
    }

    private static void Pack(ReadOnlySpan<float> x, float inverse, Span<byte> bytes)
    {
        for (int i = 0; i < 16; i++)
            bytes[i] = (byte)(NearestIndex(inverse * x[i]) | NearestIndex(inverse * x[16 + i]) << 4);
    }

    // The table rises; between two values the nearer one, the upper of equals.
    private static int NearestIndex(float x)
    {
        ReadOnlySpan<sbyte> table = TableBlocks.NonLinear;
        int upper = 0;
        while (upper < 15 && x >= table[upper])
            upper++;
        return upper == 0 ? 0 : x - table[upper - 1] < table[upper] - x ? upper - 1 : upper;
    }

    // The first of equals, as in ggml.
    private static int Nearest(float x, float d)
    {
        ReadOnlySpan<sbyte> table = TableBlocks.DoubledE2M1;
        int best = 0;
        float error = MathF.Abs(x);
        for (int i = 1; i < 16; i++)
            if (MathF.Abs(table[i] * d - x) is float found && found < error)
                (best, error) = (i, found);
        return best;
    }

    // ggml_fp32_to_ue4m3: three bits of mantissa, halves rounded up. There all from 256 on is 448; here only what is nearer to it.
    private static byte UnsignedE4M3(float x)
    {
        int bits = BitConverter.SingleToInt32Bits(x), exponent = (bits >> 23) - 120;
        if (exponent <= 0)
            return (byte)Math.Min(7, (int)(x * 512 + 0.5f));
        int rounded = (exponent << 3 | bits >> 20 & 7) + (bits >> 19 & 1);
        return (byte)Math.Min(0x7E, rounded);
    }
}
