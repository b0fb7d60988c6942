using System.Globalization;
using System.Numerics;
using System.Text;

namespace EdgeLora.Models;

/// <summary>How one value is written: [[fill]align][sign][#][0][width][grouping][.precision][type], the language of Python's format().</summary>
internal sealed class PyFormatSpec
{
    private const int MaxWidth = 100_000;

    public string Fill { get; set; } = " ";
    public char? Align { get; set; }
    public char Sign { get; set; } = '-';
    public bool Alternate { get; set; }
    public int Width { get; set; }
    public char? Grouping { get; set; }
    public int? Precision { get; set; }
    public char? Kind { get; set; }

    public static PyFormatSpec Parse(string text)
    {
        PyFormatSpec spec = new();
        string[] points = PyText.Points(text);
        int at = 0;
        bool Is(int i, string set) => i < points.Length && points[i].Length == 1 && set.Contains(points[i][0]);
        if (Is(1, "<>=^"))
            (spec.Fill, spec.Align, at) = (points[0], points[1][0], 2);
        else if (Is(0, "<>=^"))
            (spec.Align, at) = (points[0][0], 1);
        if (Is(at, "+- "))
            spec.Sign = points[at++][0];
        if (Is(at, "z"))
            at++;
        if (Is(at, "#"))
            (spec.Alternate, at) = (true, at + 1);
        if (Is(at, "0"))
        {
            if (spec.Align is null)
                (spec.Fill, spec.Align) = ("0", '=');
            at++;
        }
        int Number()
        {
            int value = 0;
            for (; Is(at, "0123456789"); at++)
                value = Math.Min(value * 10 + points[at][0] - '0', MaxWidth + 1);
            return value <= MaxWidth ? value : throw ChatTemplateException.Value("Too many decimal digits in format string");
        }
        spec.Width = Number();
        if (Is(at, ",_"))
            spec.Grouping = points[at++][0];
        if (Is(at, "."))
        {
            at++;
            if (!Is(at, "0123456789"))
                throw ChatTemplateException.Value("Format specifier missing precision");
            spec.Precision = Number();
        }
        if (at < points.Length)
            spec.Kind = points[at][0];
        if (at + 1 < points.Length)
            throw ChatTemplateException.Value("Invalid format specifier");
        return spec;
    }

    /// <summary>format(value, spec).</summary>
    public string Apply(object? value)
    {
        switch (value)
        {
            case string or JinjaMarkup:
                if (Kind is not (null or 's'))
                    throw Unknown(value);
                if (Align == '=')
                    throw ChatTemplateException.Value("'=' alignment not allowed in string format specifier");
                string text = PyType.AsText(value)!;
                return Pad(Precision is int p ? text[..PyText.Offset(text, p)] : text, '<');
            case bool b when Kind is null && Width == 0 && Align is null && Precision is null:
                return b ? "True" : "False";
            case double d:
                return Pad(Double(d, value), '>');
            default:
                if (PyNumber.IsInteger(value, out BigInteger n))
                    return Pad(Kind is 'e' or 'E' or 'f' or 'F' or 'g' or 'G' or '%' ? Double(PyNumber.ToDouble(value), value) : Integer(n, value), '>');
                if (this is { Kind: null, Width: 0, Align: null, Precision: null })
                    return PyText.Str(value);
                throw ChatTemplateException.Type($"unsupported format string passed to {PyType.Name(value)}.__format__");
        }
    }

    private (string Sign, string Body) Integer(BigInteger value, object? original)
    {
        if (Precision is not null)
            throw ChatTemplateException.Value("Precision not allowed in integer format specifier");
        BigInteger magnitude = BigInteger.Abs(value);
        string sign = SignOf(value.Sign < 0);
        if (Kind == 'c')
            return ("", value >= 0 && value <= 0x10FFFF && Rune.IsValid((int)value) ? new Rune((int)value).ToString() : throw new ChatTemplateException(ChatTemplateErrorKind.OverflowError, "%c arg not in range(0x110000)"));
        return Kind switch
        {
            null or 'd' or 'n' => (sign, Group(magnitude.ToString(CultureInfo.InvariantCulture), 3)),
            'x' => (sign + (Alternate ? "0x" : ""), Group(Digits(magnitude, 16), 4)),
            'X' => (sign + (Alternate ? "0X" : ""), Group(Digits(magnitude, 16).ToUpperInvariant(), 4)),
            'o' => (sign + (Alternate ? "0o" : ""), Group(Digits(magnitude, 8), 4)),
            'b' => (sign + (Alternate ? "0b" : ""), Group(Digits(magnitude, 2), 4)),
            _ => throw Unknown(original),
        };
    }

    /// <summary>The digits of a magnitude in base 2, 8 or 16.</summary>
    public static string Digits(BigInteger magnitude, int radix)
    {
        StringBuilder digits = new();
        do
        {
            digits.Insert(0, "0123456789abcdef"[(int)(magnitude % radix)]);
            magnitude /= radix;
        } while (!magnitude.IsZero);
        return digits.ToString();
    }

    private (string Sign, string Body) Double(double value, object? original)
    {
        string sign = SignOf(double.IsNegative(value) && !double.IsNaN(value));
        double magnitude = Math.Abs(value);
        if (Kind is not (null or 'e' or 'E' or 'f' or 'F' or 'g' or 'G' or 'n' or '%'))
            throw Unknown(original);
        if (!double.IsFinite(value))
        {
            string name = double.IsNaN(value) ? "nan" : "inf";
            return (sign, (Kind is 'E' or 'F' or 'G' ? name.ToUpperInvariant() : name) + (Kind == '%' ? "%" : ""));
        }
        string body = Kind switch
        {
            'f' or 'F' => PyFloat.Fixed(magnitude, Precision ?? 6) + (Alternate && Precision == 0 ? "." : ""),
            '%' => PyFloat.Fixed(magnitude * 100, Precision ?? 6) + "%",
            'e' or 'E' => Scientific(magnitude, Precision ?? 6),
            null when Precision is null => PyFloat.Repr(magnitude),
            _ => General(magnitude, Precision ?? 6),
        };
        if (Kind is 'E' or 'G')
            body = body.ToUpperInvariant();
        int end = 0;
        while (end < body.Length && char.IsAsciiDigit(body[end]))
            end++;
        return (sign, Group(body[..end], 3) + body[end..]);
    }

    private static string Scientific(double magnitude, int precision)
    {
        (string digits, int exponent) = PyFloat.Scientific(magnitude, precision);
        return $"{digits[0]}{(precision > 0 ? "." + digits[1..] : "")}e{PyFloat.Exponent(exponent)}";
    }

    private string General(double magnitude, int precision)
    {
        precision = Math.Max(precision, 1);
        (string digits, int exponent) = PyFloat.Scientific(magnitude, precision - 1);
        if (!Alternate)
            digits = digits.TrimEnd('0') is { Length: > 0 } kept ? kept : "0";
        // Without a type the number keeps a digit after the point, and changes to an exponent one power sooner.
        if (exponent < -4 || exponent >= precision - (Kind is null ? 1 : 0) && !(Kind is null && exponent < precision - 1))
            return $"{digits[0]}{(digits.Length > 1 ? "." + digits[1..] : "")}e{PyFloat.Exponent(exponent)}";
        if (exponent < 0)
            return $"0.{new string('0', -exponent - 1)}{digits}";
        if (digits.Length <= exponent + 1)
            return digits.PadRight(exponent + 1, '0') + (Kind is null ? ".0" : "");
        return $"{digits[..(exponent + 1)]}.{digits[(exponent + 1)..]}";
    }

    private string SignOf(bool negative) => negative ? "-" : Sign == '-' ? "" : Sign.ToString();

    private string Group(string digits, int size)
    {
        if (Grouping is not char separator)
            return digits;
        StringBuilder grouped = new(digits);
        for (int i = digits.Length - size; i > 0; i -= size)
            grouped.Insert(i, separator);
        return grouped.ToString();
    }

    private string Pad((string Sign, string Body) number, char align) =>
        (Align ?? align) == '=' ? number.Sign + Repeat(Width - number.Sign.Length - number.Body.Length) + number.Body : Pad(number.Sign + number.Body, align);

    private string Pad(string text, char align)
    {
        int missing = Width - PyText.Length(text);
        return (Align ?? align) switch
        {
            _ when missing <= 0 => text,
            '<' => text + Repeat(missing),
            '^' => Repeat(missing / 2) + text + Repeat(missing - missing / 2),
            _ => Repeat(missing) + text,
        };
    }

    private string Repeat(int times) => times <= 0 ? "" : string.Concat(Enumerable.Repeat(Fill, times));

    private ChatTemplateException Unknown(object? value) => ChatTemplateException.Value($"Unknown format code '{Kind}' for object of type '{PyType.Name(value)}'");
}
