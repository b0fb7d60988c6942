using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace EdgeLora.Core;

/// <summary>F32 from and to the two 16-bit floats, eight at a time; the same bits as the casts of single numbers.</summary>
internal static class HalfPrecision
{
    /// <summary>bfloat16 to F32: exact.</summary>
    public static void FromBFloat16(ReadOnlySpan<byte> bytes, Span<float> destination)
    {
        ReadOnlySpan<ushort> source = MemoryMarshal.Cast<byte, ushort>(bytes);
        int i = 0;
        for (; i <= destination.Length - 8; i += 8)
            Vector256.ShiftLeft(Widen(source, i), 16).AsSingle().CopyTo(destination[i..]);
        for (; i < destination.Length; i++)
            destination[i] = Dequantize.BFloat16(source[i]);
    }

    /// <summary>IEEE halves to F32: exact.</summary>
    public static void FromHalf(ReadOnlySpan<byte> bytes, Span<float> destination)
    {
        ReadOnlySpan<ushort> source = MemoryMarshal.Cast<byte, ushort>(bytes);
        Vector256<float> scale = Vector256.Create(BitConverter.UInt32BitsToSingle(0x77800000u));
        Vector256<uint> exponent = Vector256.Create(0x7C00u), largest = Vector256.Create(0x7F800000u);
        int i = 0;
        for (; i <= destination.Length - 8; i += 8)
        {
            Vector256<uint> half = Widen(source, i), magnitude = half & Vector256.Create(0x7FFFu);
            // 2^112 brings the exponent to its place, subnormals too; infinities and NaN take the largest one.
            Vector256<uint> bits = (Vector256.ShiftLeft(magnitude, 13).AsSingle() * scale).AsUInt32() | Vector256.GreaterThanOrEqual(magnitude, exponent) & largest;
            (bits | Vector256.ShiftLeft(half & Vector256.Create(0x8000u), 16)).AsSingle().CopyTo(destination[i..]);
        }
        for (; i < destination.Length; i++)
            destination[i] = (float)BitConverter.UInt16BitsToHalf(source[i]);
    }

    /// <summary>F32 to bfloat16, nearest even.</summary>
    public static void ToBFloat16(ReadOnlySpan<float> source, Span<byte> bytes)
    {
        Span<ushort> destination = MemoryMarshal.Cast<byte, ushort>(bytes);
        int i = 0;
        for (; i <= source.Length - 8; i += 8)
        {
            Vector256<float> x = Vector256.Create(source.Slice(i, 8));
            if (!Vector256.EqualsAll(x, x))
            {
                for (int k = i; k < i + 8; k++)
                    destination[k] = Dequantize.ToBFloat16(source[k]);
                continue;
            }
            Vector256<uint> bits = x.AsUInt32();
            bits = Vector256.ShiftRightLogical(bits + Vector256.Create(0x7FFFu) + (Vector256.ShiftRightLogical(bits, 16) & Vector256<uint>.One), 16);
            Vector128.Narrow(bits.GetLower(), bits.GetUpper()).CopyTo(destination[i..]);
        }
        for (; i < source.Length; i++)
            destination[i] = Dequantize.ToBFloat16(source[i]);
    }

    /// <summary>F32 to IEEE halves, nearest even; what is too large becomes infinite.</summary>
    public static void ToHalf(ReadOnlySpan<float> source, Span<byte> bytes)
    {
        Span<ushort> destination = MemoryMarshal.Cast<byte, ushort>(bytes);
        Vector256<uint> half = Vector256.Create(0x3F000000u);
        int i = 0;
        for (; i <= source.Length - 8; i += 8)
        {
            Vector256<float> x = Vector256.Create(source.Slice(i, 8));
            if (!Vector256.EqualsAll(x, x))
            {
                for (int k = i; k < i + 8; k++)
                    destination[k] = BitConverter.HalfToUInt16Bits((Half)source[k]);
                continue;
            }
            Vector256<uint> bits = x.AsUInt32(), magnitude = bits & Vector256.Create(0x7FFFFFFFu);
            Vector256<uint> normal = Vector256.ShiftRightLogical(magnitude - Vector256.Create(112u << 23) + Vector256.Create(0xFFFu) + (Vector256.ShiftRightLogical(magnitude, 13) & Vector256<uint>.One), 13);
            // One half has the step of subnormal halves: the sum rounds to it.
            Vector256<uint> small = (magnitude.AsSingle() + half.AsSingle()).AsUInt32() - half;
            Vector256<uint> result = Vector256.ConditionalSelect(Vector256.LessThan(magnitude, Vector256.Create(0x38800000u)), small,
                Vector256.ConditionalSelect(Vector256.LessThan(magnitude, Vector256.Create(0x477FF000u)), normal, Vector256.Create(0x7C00u)));
            result |= Vector256.ShiftRightLogical(bits, 16) & Vector256.Create(0x8000u);
            Vector128.Narrow(result.GetLower(), result.GetUpper()).CopyTo(destination[i..]);
        }
        for (; i < source.Length; i++)
            destination[i] = BitConverter.HalfToUInt16Bits((Half)source[i]);
    }

    /// <summary>Whether a finite number is past the largest half.</summary>
    public static bool AnyPastHalf(ReadOnlySpan<float> values)
    {
        foreach (Vector256<float> v in MemoryMarshal.Cast<float, Vector256<float>>(values))
            if (Vector256.GreaterThanOrEqualAny(Vector256.Abs(v), Vector256.Create(65520f)))
                return Past(values);
        return Past(values[(values.Length & ~7)..]);
    }

    private static bool Past(ReadOnlySpan<float> values)
    {
        foreach (float value in values)
            if (MathF.Abs(value) is >= 65520f and < float.PositiveInfinity)
                return true;
        return false;
    }

    private static Vector256<uint> Widen(ReadOnlySpan<ushort> source, int at)
    {
        (Vector128<uint> low, Vector128<uint> high) = Vector128.Widen(Vector128.Create(source.Slice(at, 8)));
        return Vector256.Create(low, high);
    }
}
