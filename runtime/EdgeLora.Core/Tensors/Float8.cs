namespace EdgeLora.Core;

// Bits, highest first: sign, exponent, mantissa. Value 2^(e − bias)·(1 + m/2^n), without the 1 and with e = 1 where e = 0.
//   e4m3fn:   bias 7;  0x7F and 0xFF are NaN; no infinities            (OCP OFP8)
//   e5m2:     the upper byte of an IEEE half                            (OCP OFP8)
//   e4m3fnuz: bias 8,  e5m2fnuz: bias 16; 0x80 is NaN; no −0, no infinities (arXiv:2206.02915)
//   e8m0fnu:  2^(e − 127); 0xFF is NaN                                  (OCP MX)

/// <summary>The 8-bit floats: what each of the 256 bytes means.</summary>
public static class Float8
{
    private static readonly float[] s_e4m3 = Table(7, 3, bits => (bits & 0x7F) == 0x7F), s_e5m2 = [.. Enumerable.Range(0, 256).Select(b => (float)BitConverter.UInt16BitsToHalf((ushort)(b << 8)))],
        s_e4m3Fnuz = Table(8, 3, bits => bits == 0x80), s_e5m2Fnuz = Table(16, 2, bits => bits == 0x80),
        s_e8m0 = [.. Enumerable.Range(0, 256).Select(b => b == 255 ? float.NaN : (float)Math.ScaleB(1, b - 127))];

    /// <summary>The 256 values of <paramref name="type"/>. Throws <see cref="NotSupportedException"/> for a type that is no 8-bit float.</summary>
    public static ReadOnlySpan<float> Values(DType type) => type switch
    {
        DType.F8E4M3 => s_e4m3,
        DType.F8E5M2 => s_e5m2,
        DType.F8E4M3Fnuz => s_e4m3Fnuz,
        DType.F8E5M2Fnuz => s_e5m2Fnuz,
        DType.F8E8M0 => s_e8m0,
        _ => throw new NotSupportedException($"{type} is no 8-bit float"),
    };

    /// <summary>True for 8-bit floats that weights are stored in.</summary>
    public static bool IsWeight(DType type) => type is DType.F8E4M3 or DType.F8E5M2 or DType.F8E4M3Fnuz or DType.F8E5M2Fnuz;

    private static float[] Table(int bias, int mantissaBits, Func<int, bool> isNaN)
    {
        float[] values = new float[256];
        for (int bits = 0; bits < 256; bits++)
        {
            int exponent = (bits & 0x7F) >> mantissaBits, mantissa = bits & (1 << mantissaBits) - 1;
            double value = exponent == 0 ? Math.ScaleB(mantissa, 1 - bias - mantissaBits) : Math.ScaleB((1 << mantissaBits) + mantissa, exponent - bias - mantissaBits);
            values[bits] = isNaN(bits) ? float.NaN : (float)(bits < 128 ? value : -value);
        }
        return values;
    }
}
