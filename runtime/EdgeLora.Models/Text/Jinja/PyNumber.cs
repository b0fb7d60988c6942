using System.Numerics;

namespace EdgeLora.Models;

/// <summary>Python's arithmetic: unbounded integers, true division, floor division and modulo, and what the operators do on texts and lists.</summary>
internal static class PyNumber
{
    /// <summary>The smallest representation: long where it fits.</summary>
    public static object Of(BigInteger value)
    {
        if (value >= long.MinValue && value <= long.MaxValue)
            return (long)value;
        if (value.GetBitLength() > JinjaLimits.MaxBits)
            throw new ChatTemplateException(ChatTemplateErrorKind.MemoryError, $"an integer of the template: expected at most {JinjaLimits.MaxBits} bits, found {value.GetBitLength()}");
        return value;
    }

    /// <summary>True for int and bool.</summary>
    public static bool IsInteger(object? value, out BigInteger number)
    {
        number = value switch { bool b => b ? 1 : 0, long n => n, BigInteger n => n, _ => 0 };
        return value is bool or long or BigInteger;
    }

    public static bool IsNumber(object? value) => value is bool or long or BigInteger or double;

    public static double ToDouble(object? value) => value switch
    {
        double d => d,
        bool b => b ? 1 : 0,
        long n => n,
        BigInteger n => Finite((double)n, "int too large to convert to float"),
        _ => throw ChatTemplateException.Type($"must be real number, not {PyType.Name(value)}"),
    };

    /// <summary>An int for a position or count; raises where the value is none.</summary>
    public static int ToIndex(object? value)
    {
        if (!IsInteger(value, out BigInteger n))
            throw value is JinjaUndefined undefined ? undefined.Error() : ChatTemplateException.Type($"'{PyType.Name(value)}' object cannot be interpreted as an integer");
        return (int)BigInteger.Clamp(n, int.MinValue, int.MaxValue);
    }

    public static object? Binary(string op, object? a, object? b)
    {
        if (a is JinjaUndefined left)
            throw left.Error();
        if (b is JinjaUndefined right && !(op == "%" && PyType.AsText(a) is not null))
            throw right.Error();
        if (a is long x && b is long y && op is "+" or "-" or "*" && a is long && b is long)
            return Of(op switch { "+" => (BigInteger)(long)a! + (long)b!, "-" => (BigInteger)(long)a! - (long)b!, _ => (BigInteger)(long)a! * (long)b! });
        if (IsInteger(a, out BigInteger m) && IsInteger(b, out BigInteger n))
            return Integers(op, m, n);
        if (IsNumber(a) && IsNumber(b))
            return Doubles(op, ToDouble(a), ToDouble(b));
        return op switch
        {
            "+" => Add(a, b),
            "*" when IsInteger(b, out BigInteger count) => Repeat(a, count, b),
            "*" when IsInteger(a, out BigInteger count) => Repeat(b, count, a),
            "%" when PyType.AsText(a) is string format => PyPercentFormat.Apply(format, b),
            _ => throw Unsupported(op, a, b),
        };
    }

    public static object Negate(object? value) => value switch
    {
        JinjaUndefined u => throw u.Error(),
        double d => -d,
        _ when IsInteger(value, out BigInteger n) => Of(-n),
        _ => throw ChatTemplateException.Type($"bad operand type for unary -: '{PyType.Name(value)}'"),
    };

    public static object Plus(object? value) => value switch
    {
        JinjaUndefined u => throw u.Error(),
        double d => d,
        _ when IsInteger(value, out BigInteger n) => Of(n),
        _ => throw ChatTemplateException.Type($"bad operand type for unary +: '{PyType.Name(value)}'"),
    };

    public static object Absolute(object? value) => value switch
    {
        double d => Math.Abs(d),
        _ when IsInteger(value, out BigInteger n) => Of(BigInteger.Abs(n)),
        _ => throw ChatTemplateException.Type($"bad operand type for abs(): '{PyType.Name(value)}'"),
    };

    /// <summary>a modulo b with the sign of b.</summary>
    public static BigInteger Modulo(BigInteger a, BigInteger b)
    {
        BigInteger r = BigInteger.Remainder(a, b);
        return !r.IsZero && r.Sign != b.Sign ? r + b : r;
    }

    private static object Integers(string op, BigInteger a, BigInteger b)
    {
        switch (op)
        {
            case "+": return Of(a + b);
            case "-": return Of(a - b);
            case "*": return Of(a * b);
            case "/": return b.IsZero ? throw DivisionByZero("division by zero") : Divide(a, b);
            case "//": return b.IsZero ? throw DivisionByZero("integer division or modulo by zero") : Of((a - Modulo(a, b)) / b);
            case "%": return b.IsZero ? throw DivisionByZero("integer modulo by zero") : Of(Modulo(a, b));
            default:
                if (b.Sign < 0)
                    return a.IsZero ? throw DivisionByZero("0.0 cannot be raised to a negative power") : Math.Pow((double)a, (double)b);
                if (a.IsZero || a.IsOne || a == BigInteger.MinusOne)
                    return a == BigInteger.MinusOne && b.IsEven ? 1L : b.IsZero ? 1L : Of(a);
                if (b * a.GetBitLength() > JinjaLimits.MaxBits + 64)
                    throw new ChatTemplateException(ChatTemplateErrorKind.MemoryError, $"an integer of the template: expected at most {JinjaLimits.MaxBits} bits");
                return Of(BigInteger.Pow(a, (int)b));
        }
    }

    // Both as doubles only where that is exact; beyond, the quotient is scaled so that 64 true bits reach the rounding.
    private static double Divide(BigInteger a, BigInteger b)
    {
        if (BigInteger.Abs(a) <= 1L << 53 && BigInteger.Abs(b) <= 1L << 53)
            return (double)a / (double)b;
        int shift = (int)Math.Clamp(66 - (a.GetBitLength() - b.GetBitLength()), 0, 2000);
        BigInteger quotient = BigInteger.DivRem(BigInteger.Abs(a) << shift, BigInteger.Abs(b), out BigInteger rest);
        if (!rest.IsZero)
            quotient |= 1;
        double value = Finite(Math.ScaleB((double)quotient, -shift), "integer division result too large for a float");
        return a.Sign * b.Sign < 0 ? -value : value;
    }

    private static object Doubles(string op, double a, double b)
    {
        switch (op)
        {
            case "+": return a + b;
            case "-": return a - b;
            case "*": return a * b;
            case "/": return b == 0 ? throw DivisionByZero("float division by zero") : a / b;
            case "//": return b == 0 ? throw DivisionByZero("float floor division by zero") : Math.Floor((a - FloatModulo(a, b)) / b + 0.5);
            case "%": return b == 0 ? throw DivisionByZero("float modulo") : FloatModulo(a, b);
            default:
                if (a == 0 && b < 0)
                    throw DivisionByZero("0.0 cannot be raised to a negative power");
                if (a < 0 && b != Math.Floor(b) && double.IsFinite(b))
                    throw ChatTemplateException.Type("a power that is a complex number is not supported");
                double power = Math.Pow(a, b);
                return double.IsInfinity(power) && double.IsFinite(a) && double.IsFinite(b) ? throw new ChatTemplateException(ChatTemplateErrorKind.OverflowError, "(34, 'Numerical result out of range')") : power;
        }
    }

    private static double FloatModulo(double a, double b)
    {
        double r = Math.IEEERemainder(0, 1) + a % b;
        return r != 0 && r < 0 != b < 0 ? r + b : r == 0 ? Math.CopySign(0, b) : r;
    }

    private static object? Add(object? a, object? b)
    {
        if (a is JinjaMarkup || b is JinjaMarkup)
        {
            if (PyType.AsText(a) is null || PyType.AsText(b) is null)
                throw Unsupported("+", a, b);
            return new JinjaMarkup(Bounded(JinjaFilterText.Escape(a) + JinjaFilterText.Escape(b)));
        }
        switch (a)
        {
            case string s:
                return b is string t ? Bounded(s, t) : throw ChatTemplateException.Type($"can only concatenate str (not \"{PyType.Name(b)}\") to str");
            case JinjaList l:
                if (b is not JinjaList m)
                    throw ChatTemplateException.Type($"can only concatenate list (not \"{PyType.Name(b)}\") to list");
                JinjaLimits.GuardItems((long)l.Items.Count + m.Items.Count);
                return new JinjaList([.. l.Items, .. m.Items]);
            case JinjaTuple p:
                if (b is not JinjaTuple q)
                    throw ChatTemplateException.Type($"can only concatenate tuple (not \"{PyType.Name(b)}\") to tuple");
                JinjaLimits.GuardItems((long)p.Items.Count + q.Items.Count);
                return new JinjaTuple([.. p.Items, .. q.Items]);
            default:
                throw Unsupported("+", a, b);
        }
    }

    private static string Bounded(string a, string b = "")
    {
        JinjaLimits.GuardText((long)a.Length + b.Length);
        return a + b;
    }

    private static object? Repeat(object? value, BigInteger count, object? other)
    {
        int times = (int)BigInteger.Clamp(count, 0, int.MaxValue);
        switch (value)
        {
            case string or JinjaMarkup:
                string text = PyType.AsText(value)!;
                JinjaLimits.GuardText((long)text.Length * times);
                string repeated = text.Length == 0 ? "" : string.Concat(Enumerable.Repeat(text, times));
                return value is JinjaMarkup ? new JinjaMarkup(repeated) : repeated;
            case JinjaList l:
                JinjaLimits.GuardItems((long)l.Items.Count * times);
                return new JinjaList([.. l.Items.Count == 0 ? [] : Enumerable.Repeat(l.Items, times).SelectMany(i => i)]);
            case JinjaTuple t:
                JinjaLimits.GuardItems((long)t.Items.Count * times);
                return new JinjaTuple([.. t.Items.Count == 0 ? [] : Enumerable.Repeat(t.Items, times).SelectMany(i => i)]);
            default:
                throw Unsupported("*", value, other);
        }
    }

    private static double Finite(double value, string message) =>
        double.IsInfinity(value) ? throw new ChatTemplateException(ChatTemplateErrorKind.OverflowError, message) : value;

    private static ChatTemplateException DivisionByZero(string message) => new(ChatTemplateErrorKind.ZeroDivisionError, message);

    private static ChatTemplateException Unsupported(string op, object? a, object? b) =>
        ChatTemplateException.Type($"unsupported operand type(s) for {(op == "**" ? "** or pow()" : op)}: '{PyType.Name(a)}' and '{PyType.Name(b)}'");
}
