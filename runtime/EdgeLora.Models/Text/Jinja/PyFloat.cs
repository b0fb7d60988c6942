using System.Globalization;
using System.Numerics;

namespace EdgeLora.Models;

/// <summary>Python's way to print a double: the shortest text that reads back, and exact fixed and scientific digits rounded half to even.</summary>
internal static class PyFloat
{
    /// <summary>repr(value): 1.0, 1e+22, 1e-07, nan, inf.</summary>
    public static string Repr(double value)
    {
        if (!double.IsFinite(value))
            return double.IsNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
        (string digits, int exponent) = Shortest(Math.Abs(value));
        string sign = double.IsNegative(value) ? "-" : "";
        if (exponent is < -4 or >= 16)
            return $"{sign}{digits[0]}{(digits.Length > 1 ? "." + digits[1..] : "")}e{Exponent(exponent)}";
        if (exponent < 0)
            return $"{sign}0.{new string('0', -exponent - 1)}{digits}";
        if (digits.Length <= exponent + 1)
            return $"{sign}{digits.PadRight(exponent + 1, '0')}.0";
        return $"{sign}{digits[..(exponent + 1)]}.{digits[(exponent + 1)..]}";
    }

    /// <summary>The magnitude with so many digits after the point: %.{precision}f.</summary>
    public static string Fixed(double magnitude, int precision)
    {
        (BigInteger numerator, BigInteger denominator) = Fraction(magnitude);
        string digits = RoundHalfEven(numerator * BigInteger.Pow(10, precision), denominator).ToString(CultureInfo.InvariantCulture).PadLeft(precision + 1, '0');
        return precision == 0 ? digits : $"{digits[..^precision]}.{digits[^precision..]}";
    }

    /// <summary>The digits d.ddd of the magnitude rounded to <paramref name="precision"/> after the first, and the power of ten of the first.</summary>
    public static (string Digits, int Exponent) Scientific(double magnitude, int precision)
    {
        if (magnitude == 0)
            return (new string('0', precision + 1), 0);
        (BigInteger numerator, BigInteger denominator) = Fraction(magnitude);
        int exponent = (int)Math.Floor(Math.Log10(magnitude));
        // The logarithm may be one off either way; the rounding may carry once more.
        for (exponent++; ; exponent--)
        {
            int scale = precision - exponent;
            BigInteger rounded = scale >= 0
                ? RoundHalfEven(numerator * BigInteger.Pow(10, scale), denominator)
                : RoundHalfEven(numerator, denominator * BigInteger.Pow(10, -scale));
            string digits = rounded.ToString(CultureInfo.InvariantCulture);
            if (digits.Length == precision + 1 && !rounded.IsZero)
                return (digits, exponent);
        }
    }

    /// <summary>An exponent as Python writes it: a sign and at least two digits.</summary>
    public static string Exponent(int exponent) => (exponent < 0 ? "-" : "+") + Math.Abs(exponent).ToString("00", CultureInfo.InvariantCulture);

    /// <summary>round(value, digits), half to even on the exact value of the double.</summary>
    public static double Round(double value, int digits)
    {
        if (!double.IsFinite(value) || digits > 330)
            return value;
        if (digits < -310)
            return Math.CopySign(0, value);
        (BigInteger numerator, BigInteger denominator) = Fraction(Math.Abs(value));
        double magnitude = digits >= 0
            ? double.Parse(Fixed(Math.Abs(value), digits), CultureInfo.InvariantCulture)
            : (double)(RoundHalfEven(numerator, denominator * BigInteger.Pow(10, -digits)) * BigInteger.Pow(10, -digits));
        return Math.CopySign(magnitude, value);
    }

    private static (string Digits, int Exponent) Shortest(double magnitude)
    {
        if (magnitude == 0)
            return ("0", 0);
        string text = magnitude.ToString("R", CultureInfo.InvariantCulture);
        int e = text.IndexOf('E');
        int exponent = e < 0 ? 0 : int.Parse(text.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        string mantissa = e < 0 ? text : text[..e];
        int point = mantissa.IndexOf('.');
        string digits = mantissa.Replace(".", "", StringComparison.Ordinal);
        exponent += (point < 0 ? mantissa.Length : point) - 1;
        int leading = digits.Length - digits.TrimStart('0').Length;
        digits = digits.Trim('0');
        return (digits, exponent - leading);
    }

    private static (BigInteger Numerator, BigInteger Denominator) Fraction(double magnitude)
    {
        long bits = BitConverter.DoubleToInt64Bits(magnitude);
        int exponent = (int)((bits >> 52) & 0x7FF);
        long mantissa = bits & 0xFFFFFFFFFFFFF;
        if (exponent == 0)
            exponent = 1;
        else
            mantissa |= 1L << 52;
        exponent -= 1075;
        return exponent >= 0 ? (new BigInteger(mantissa) << exponent, 1) : (mantissa, BigInteger.One << -exponent);
    }

    private static BigInteger RoundHalfEven(BigInteger numerator, BigInteger denominator)
    {
        BigInteger quotient = BigInteger.DivRem(numerator, denominator, out BigInteger rest);
        int half = (rest * 2).CompareTo(denominator);
        return half > 0 || (half == 0 && !quotient.IsEven) ? quotient + 1 : quotient;
    }
}
