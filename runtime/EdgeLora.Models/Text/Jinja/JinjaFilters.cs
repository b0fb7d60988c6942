using System.Numerics;

namespace EdgeLora.Models;

/// <summary>Jinja's filters by name. What they do stands in JinjaFilterText and JinjaFilterSequence.</summary>
internal static class JinjaFilters
{
    private static readonly Dictionary<string, (PyParameters Parameters, Func<JinjaRun, object?[], object?> Body)> All = new(StringComparer.Ordinal);

    static JinjaFilters()
    {
        AddValues();
        JinjaFilterText.Add(Add);
        JinjaFilterSequence.Add(Add);
    }

    public static bool Exists(string name) => All.ContainsKey(name);

    public static object? Call(JinjaRun run, string name, object? value, IReadOnlyList<object?> positional, JinjaDict? named)
    {
        run.Step();
        if (!All.TryGetValue(name, out (PyParameters Parameters, Func<JinjaRun, object?[], object?> Body) filter))
            throw new ChatTemplateException(ChatTemplateErrorKind.TemplateRuntimeError, $"No filter named {PyText.Repr(name)}.");
        return filter.Body(run, filter.Parameters.Bind([value, .. positional], named));
    }

    public static ChatTemplateException BadArgument(string message) => new(ChatTemplateErrorKind.FilterArgumentError, message);

    private static void Add(string names, string signature, Func<JinjaRun, object?[], object?> body)
    {
        string[] all = names.Split(' ');
        foreach (string name in all)
            All[name] = (new("do_" + all[0], signature), body);
    }

    private static void AddValues()
    {
        Add("default d", "value, default_value='', boolean=False", (_, a) => a[0] is JinjaUndefined || (PyType.IsTrue(a[2]) && !PyType.IsTrue(a[0])) ? a[1] : a[0]);
        Add("abs", "x", (_, a) => PyNumber.Absolute(a[0]));
        Add("attr", "obj, name", (_, a) => JinjaAttributes.Attr(a[0], PyText.Str(a[1])));
        Add("int", "value, default=0, base=10", (_, a) => Integer(a[0], PyNumber.ToIndex(a[2])) ?? a[1]);
        Add("float", "value, default=0.0", (_, a) => Real(a[0]) ?? a[1]);
        Add("round", "value, precision=0, method='common'", (_, a) => Round(a[0], PyNumber.ToIndex(a[1]), PyText.Str(a[2])));
        Add("length count", "obj", (_, a) => PyType.Length(a[0]) is BigInteger n ? PyNumber.Of(n) : throw ChatTemplateException.Type($"object of type '{PyType.Name(a[0])}' has no len()"));
        Add("tojson", "x, ensure_ascii=False, indent=None, separators=None, sort_keys=False", (_, a) => JinjaJson.Write(a[0], a[1], a[2], a[3], a[4]));
        Add("pprint", "value", (_, a) => PyText.Repr(a[0]));
        Add("string", "value", (_, a) => a[0] is JinjaMarkup ? a[0] : PyText.Str(a[0]));
    }

    /// <summary>int(value), or null where Python raises TypeError or ValueError.</summary>
    private static object? Integer(object? value, int radix)
    {
        if (value is JinjaUndefined undefined)
            throw undefined.Error();
        if (PyNumber.IsInteger(value, out BigInteger n))
            return PyNumber.Of(n);
        if (value is double d)
            return double.IsNaN(d) ? null : double.IsInfinity(d) ? throw new ChatTemplateException(ChatTemplateErrorKind.OverflowError, "cannot convert float infinity to integer") : PyNumber.Of(new BigInteger(d));
        if (PyType.AsText(value) is not string text)
            return null;
        if (Digits(PyText.Strip(text, null), radix) is BigInteger parsed)
            return PyNumber.Of(parsed);
        return Real(text) is double real && double.IsFinite(real) ? PyNumber.Of(new BigInteger(real)) : null;
    }

    private static BigInteger? Digits(string text, int radix)
    {
        int at = text.Length > 0 && text[0] is '+' or '-' ? 1 : 0;
        bool negative = at == 1 && text[0] == '-';
        string body = at < text.Length ? text[at..].ToLowerInvariant() : "";
        int prefixed = body.StartsWith("0x", StringComparison.Ordinal) ? 16 : body.StartsWith("0o", StringComparison.Ordinal) ? 8 : body.StartsWith("0b", StringComparison.Ordinal) ? 2 : 0;
        if (prefixed != 0 && (radix == prefixed || radix == 0))
            (body, radix) = (body[2..].TrimStart('_'), prefixed);
        radix = radix == 0 ? 10 : radix;
        if (body.Length is 0 or > 4300 || body[0] == '_' || body[^1] == '_' || body.Contains("__", StringComparison.Ordinal))
            return null;
        BigInteger value = 0;
        foreach (char c in body.Replace("_", "", StringComparison.Ordinal))
        {
            int digit = char.IsDigit(c) ? (int)char.GetNumericValue(c) : c is >= 'a' and <= 'z' ? c - 'a' + 10 : 99;
            if (digit >= radix)
                return null;
            value = value * radix + digit;
        }
        return negative ? -value : value;
    }

    private static object? Real(object? value)
    {
        if (value is JinjaUndefined undefined)
            throw undefined.Error();
        if (PyNumber.IsNumber(value))
            return PyNumber.ToDouble(value);
        string? text = PyType.AsText(value) is string s ? PyText.Strip(s, null).ToLowerInvariant() : null;
        if (text is null or "" || text[0] == '_' || text[^1] == '_')
            return null;
        switch (text.TrimStart('+', '-'))
        {
            case "inf" or "infinity":
                return text[0] == '-' ? double.NegativeInfinity : double.PositiveInfinity;
            case "nan":
                return double.NaN;
        }
        return double.TryParse(text.Replace("_", "", StringComparison.Ordinal), System.Globalization.NumberStyles.AllowLeadingSign | System.Globalization.NumberStyles.AllowDecimalPoint | System.Globalization.NumberStyles.AllowExponent, System.Globalization.CultureInfo.InvariantCulture, out double real) ? real : null;
    }

    private static object Round(object? value, int precision, string method)
    {
        if (method is not ("common" or "ceil" or "floor"))
            throw BadArgument("method must be common, ceil or floor");
        if (value is JinjaUndefined || !PyNumber.IsNumber(value))
            throw ChatTemplateException.Type($"type {PyType.Name(value)} doesn't define __round__ method");
        if (method == "common")
        {
            if (value is double d)
                return PyFloat.Round(d, precision);
            _ = PyNumber.IsInteger(value, out BigInteger n);
            if (precision >= 0)
                return PyNumber.Of(n);
            BigInteger unit = BigInteger.Pow(10, Math.Min(-precision, 5000)), rest = PyNumber.Modulo(n, unit), low = n - rest;
            int half = (rest * 2).CompareTo(unit);
            return PyNumber.Of(half > 0 || (half == 0 && !(low / unit).IsEven) ? low + unit : low);
        }
        object scale = PyNumber.Binary("**", 10L, (long)precision)!;
        double scaled = PyNumber.ToDouble(PyNumber.Binary("*", value, scale));
        return PyNumber.Binary("/", PyNumber.Of(new BigInteger(method == "ceil" ? Math.Ceiling(scaled) : Math.Floor(scaled))), scale)!;
    }
}
