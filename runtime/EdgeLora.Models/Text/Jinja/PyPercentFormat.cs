using System.Numerics;
using System.Text;

namespace EdgeLora.Models;

/// <summary>Python's <c>format % values</c>.</summary>
internal static class PyPercentFormat
{
    public static string Apply(string format, object? values)
    {
        StringBuilder text = new();
        int next = 0;
        bool usedNames = false;
        object? Take()
        {
            if (values is JinjaTuple tuple)
                return next < tuple.Items.Count ? tuple.Items[next++] : throw ChatTemplateException.Type("not enough arguments for format string");
            return next++ == 0 ? values : throw ChatTemplateException.Type("not enough arguments for format string");
        }
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%')
            {
                text.Append(format[i]);
                continue;
            }
            char Current() => i < format.Length ? format[i] : throw ChatTemplateException.Value("incomplete format");
            i++;
            object? value = null;
            bool named = false;
            if (Current() == '(')
            {
                int end = format.IndexOf(')', i);
                if (end < 0)
                    throw ChatTemplateException.Value("incomplete format key");
                if (values is not JinjaDict dict)
                    throw ChatTemplateException.Type("format requires a mapping");
                string key = format[(i + 1)..end];
                if (!dict.TryGet(key, out value))
                    throw new ChatTemplateException(ChatTemplateErrorKind.KeyError, PyText.Repr(key));
                named = usedNames = true;
                i = end + 1;
            }
            PyFormatSpec spec = new();
            bool left = false, zero = false;
            for (; Current() is '-' or '+' or ' ' or '#' or '0'; i++)
            {
                left |= format[i] == '-';
                zero |= format[i] == '0';
                spec.Alternate |= format[i] == '#';
                if (format[i] == '+' || (format[i] == ' ' && spec.Sign != '+'))
                    spec.Sign = format[i];
            }
            int Number()
            {
                if (Current() == '*')
                {
                    i++;
                    return Math.Clamp(PyNumber.ToIndex(Take()), -100_000, 100_000);
                }
                int number = 0;
                for (; char.IsAsciiDigit(Current()); i++)
                    number = Math.Min(number * 10 + format[i] - '0', 100_000);
                return number;
            }
            int width = Number();
            left |= width < 0;
            spec.Width = Math.Abs(width);
            if (Current() == '.')
            {
                i++;
                spec.Precision = Math.Max(0, Number());
            }
            while (Current() is 'h' or 'l' or 'L')
                i++;
            char kind = Current();
            if (kind == '%')
            {
                text.Append('%');
                continue;
            }
            if (!named)
                value = Take();
            text.Append(One(spec, kind, left, zero, value));
            JinjaLimits.GuardText(text.Length);
        }
        if (!usedNames && values is JinjaTuple all ? next < all.Items.Count : !usedNames && next == 0 && values is not (JinjaDict or JinjaTuple or JinjaList))
            throw ChatTemplateException.Type("not all arguments converted during string formatting");
        return text.ToString();
    }

    private static string One(PyFormatSpec spec, char kind, bool left, bool zero, object? value)
    {
        spec.Align = left ? '<' : '>';
        if (kind is 's' or 'r' or 'a')
            return spec.Apply(kind == 's' ? PyText.Str(value) : PyText.Repr(value));
        if (zero && !left)
            (spec.Fill, spec.Align) = ("0", '=');
        if (kind == 'c')
        {
            spec.Fill = " ";
            spec.Align = left ? '<' : '>';
            if (PyType.AsText(value) is string one && PyText.Length(one) == 1)
                return spec.Apply(one);
            spec.Kind = 'c';
            return PyNumber.IsInteger(value, out _) ? spec.Apply(value) : throw ChatTemplateException.Type("%c requires int or char");
        }
        if (!PyNumber.IsNumber(value))
            throw value is JinjaUndefined undefined ? undefined.Error() : ChatTemplateException.Type(kind is 'd' or 'i' or 'u' ? $"%{kind} format: a real number is required, not {PyType.Name(value)}" : $"must be real number, not {PyType.Name(value)}");
        if (kind is 'd' or 'i' or 'u' or 'x' or 'X' or 'o')
        {
            if (value is double d)
            {
                if (kind is 'x' or 'X' or 'o')
                    throw ChatTemplateException.Type($"%{kind} format: an integer is required, not float");
                value = PyNumber.Of(new BigInteger(d));
            }
            spec.Kind = kind is 'i' or 'u' ? 'd' : kind;
            int? digits = spec.Precision;
            spec.Precision = null;
            _ = PyNumber.IsInteger(value, out BigInteger n);
            if (digits > 0 && spec.Kind == 'd')
            {
                string padded = BigInteger.Abs(n).ToString().PadLeft(digits.Value, '0');
                return new PyFormatSpec { Width = spec.Width, Align = left ? '<' : '>' }.Apply((n.Sign < 0 ? "-" : spec.Sign == '-' ? "" : spec.Sign.ToString()) + padded);
            }
            return spec.Apply(PyNumber.Of(n));
        }
        if (kind is not ('e' or 'E' or 'f' or 'F' or 'g' or 'G'))
            throw ChatTemplateException.Value($"unsupported format character '{kind}' (0x{(int)kind:x})");
        spec.Kind = kind;
        return spec.Apply(PyNumber.ToDouble(value));
    }
}
