using System.Globalization;
using System.Numerics;

namespace EdgeLora.Models;

/// <summary>The functions every chat template can call.</summary>
internal static class JinjaGlobals
{
    private const int MaxRange = 100_000;

    public static IReadOnlyDictionary<string, object?> All { get; } = new Dictionary<string, object?>(StringComparer.Ordinal)
    {
        ["range"] = new JinjaFunction("<function safe_range>", new("range", "*args"), (_, a) => Range((JinjaTuple)a[0]!)),
        ["dict"] = new JinjaFunction("<class 'dict'>", new("dict", "*args, **kwargs"), (_, a) => Dict(a)),
        ["namespace"] = new JinjaFunction("<class 'jinja2.utils.Namespace'>", new("namespace", "*args, **kwargs"), (_, a) => Namespace(Dict(a))),
        ["cycler"] = new JinjaFunction("<class 'jinja2.utils.Cycler'>", new("cycler", "*items"), (_, a) =>
            a[0] is JinjaTuple { Items.Count: > 0 } items ? new JinjaCycler(items.Items) : throw new ChatTemplateException(ChatTemplateErrorKind.TypeError, "at least one item has to be provided")),
        ["joiner"] = new JinjaFunction("<class 'jinja2.utils.Joiner'>", new("joiner", "sep=None"), (_, a) => new JinjaJoiner(a[0] ?? ", ")),
        ["lipsum"] = new JinjaFunction("<function generate_lorem_ipsum>", new("lipsum", "n=5, html=True, min=20, max=100"), (_, _) => "Lorem ipsum dolor sit amet."),
        ["raise_exception"] = new JinjaFunction("<function raise_exception>", new("raise_exception", "message"), (_, a) => throw new ChatTemplateException(ChatTemplateErrorKind.TemplateError, PyText.Str(a[0]))),
        ["strftime_now"] = new JinjaFunction("<function strftime_now>", new("strftime_now", "format"), (run, a) => Time(run.Clock(), PyType.AsText(a[0]) ?? throw ChatTemplateException.Type($"strftime() argument 1 must be str, not {PyType.Name(a[0])}"))),
    };

    private static JinjaRange Range(JinjaTuple arguments)
    {
        if (arguments.Items.Count is < 1 or > 3)
            throw ChatTemplateException.Type($"range expected at least 1 argument, got {arguments.Items.Count}");
        BigInteger[] n = [.. arguments.Items.Select(i => PyNumber.IsInteger(i, out BigInteger v) ? v : i is JinjaUndefined u ? throw u.Error() : throw ChatTemplateException.Type($"'{PyType.Name(i)}' object cannot be interpreted as an integer"))];
        BigInteger step = n.Length == 3 ? n[2] : 1;
        if (step.IsZero)
            throw ChatTemplateException.Value("range() arg 3 must not be zero");
        JinjaRange range = n.Length == 1 ? new(0, n[0], 1) : new(n[0], n[1], step);
        return range.Length <= MaxRange ? range : throw new ChatTemplateException(ChatTemplateErrorKind.OverflowError, $"Range too big. The sandbox blocks ranges larger than MAX_RANGE ({MaxRange}).");
    }

    private static JinjaDict Dict(object?[] arguments)
    {
        IReadOnlyList<object?> positional = ((JinjaTuple)arguments[0]!).Items;
        if (positional.Count > 1)
            throw ChatTemplateException.Type($"dict expected at most 1 argument, got {positional.Count}");
        JinjaDict dict = new();
        if (positional.Count == 1 && positional[0] is JinjaDict other)
            foreach ((object? key, object? value) in other.Entries)
                dict[key] = value;
        else if (positional.Count == 1)
            foreach (object? pair in PyType.Iterate(positional[0]))
            {
                object?[] two = [.. PyType.Iterate(pair).Take(3)];
                if (two.Length != 2)
                    throw ChatTemplateException.Value("dictionary update sequence element has a length other than 2");
                dict[two[0]] = two[1];
            }
        foreach ((object? key, object? value) in ((JinjaDict)arguments[1]!).Entries)
            dict[key] = value;
        return dict;
    }

    private static JinjaNamespace Namespace(JinjaDict values)
    {
        JinjaNamespace space = new();
        foreach ((object? key, object? value) in values.Entries)
            space.Attributes[PyText.Str(key)] = value;
        return space;
    }

    private static string Time(DateTimeOffset now, string format)
    {
        CultureInfo culture = CultureInfo.InvariantCulture;
        string text = "";
        for (int i = 0; i < format.Length; i++)
        {
            JinjaLimits.GuardBytes(2L * text.Length);
            if (format[i] != '%' || i + 1 == format.Length)
            {
                text += format[i];
                continue;
            }
            bool plain = format[i + 1] == '-' && i + 2 < format.Length;
            i += plain ? 2 : 1;
            string part = format[i] switch
            {
                'Y' => now.Year.ToString(culture),
                'y' => now.ToString("yy", culture),
                'm' => now.ToString("MM", culture),
                'd' => now.ToString("dd", culture),
                'e' => now.Day.ToString(culture).PadLeft(2),
                'H' => now.ToString("HH", culture),
                'I' => now.ToString("hh", culture),
                'M' => now.ToString("mm", culture),
                'S' => now.ToString("ss", culture),
                'f' => now.ToString("ffffff", culture),
                'p' => now.Hour < 12 ? "AM" : "PM",
                'a' => now.ToString("ddd", culture),
                'A' => now.ToString("dddd", culture),
                'b' or 'h' => now.ToString("MMM", culture),
                'B' => now.ToString("MMMM", culture),
                'j' => now.DayOfYear.ToString("000", culture),
                'w' => ((int)now.DayOfWeek).ToString(culture),
                'u' => ((int)(now.DayOfWeek + 6) % 7 + 1).ToString(culture),
                'U' => ((now.DayOfYear + 6 - (int)now.DayOfWeek) / 7).ToString("00", culture),
                'W' => ((now.DayOfYear + 6 - ((int)now.DayOfWeek + 6) % 7) / 7).ToString("00", culture),
                'V' => ISOWeek.GetWeekOfYear(now.DateTime).ToString("00", culture),
                'G' => ISOWeek.GetYear(now.DateTime).ToString(culture),
                'C' => (now.Year / 100).ToString("00", culture),
                'D' => now.ToString("MM'/'dd'/'yy", culture),
                'F' => now.ToString("yyyy-MM-dd", culture),
                'T' or 'X' => now.ToString("HH:mm:ss", culture),
                'R' => now.ToString("HH:mm", culture),
                'r' => now.ToString("hh:mm:ss", culture) + (now.Hour < 12 ? " AM" : " PM"),
                'x' => now.ToString("MM'/'dd'/'yy", culture),
                'c' => $"{now.ToString("ddd MMM", culture)} {now.Day,2} {now.ToString("HH:mm:ss yyyy", culture)}",
                's' => now.ToUnixTimeSeconds().ToString(culture),
                'n' => "\n",
                't' => "\t",
                // The clock has no zone, as Python's datetime.now() has none.
                'z' or 'Z' => "",
                '%' => "%",
                char other => (plain ? "%-" : "%") + other,
            };
            text += plain && part.Length > 1 && part[0] == '0' ? part.TrimStart('0') is { Length: > 0 } digits ? digits : "0" : part;
        }
        return text;
    }
}
