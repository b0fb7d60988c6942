using System.Globalization;
using System.Text;

namespace EdgeLora.Models;

internal static partial class PyMethods
{
    private static void AddText()
    {
        void Text(string name, string signature, Func<string, object?[], object?> body) => Add("str", name, signature, (s, a) => body((string)s, a));
        Text("upper", "", (s, _) => PyCase.Upper(s));
        Text("lower", "", (s, _) => PyCase.Lower(s));
        Text("casefold", "", (s, _) => PyCase.Lower(s.Replace("ß", "ss", StringComparison.Ordinal)).Replace('ς', 'σ'));
        Text("title", "", (s, _) => PyCase.Title(s));
        Text("swapcase", "", (s, _) => PyCase.Swap(s));
        Text("capitalize", "", (s, _) => PyCase.Capitalize(s));
        Text("strip", "chars=None", (s, a) => PyText.Strip(s, a[0]));
        Text("lstrip", "chars=None", (s, a) => PyText.Strip(s, a[0], end: false));
        Text("rstrip", "chars=None", (s, a) => PyText.Strip(s, a[0], start: false));
        Text("split", "sep=None, maxsplit=-1", (s, a) => new JinjaList(Split(s, a[0], PyNumber.ToIndex(a[1]))));
        Text("rsplit", "sep=None, maxsplit=-1", (s, a) => new JinjaList(SplitRight(s, a[0], PyNumber.ToIndex(a[1]))));
        Text("splitlines", "keepends=False", (s, a) => new JinjaList([.. PyText.SplitLines(s, PyType.IsTrue(a[0]))]));
        Text("startswith", "prefix, start=0, end=None", (s, a) => Affix("startswith", s, a, (w, p) => w.StartsWith(p, StringComparison.Ordinal)));
        Text("endswith", "suffix, start=0, end=None", (s, a) => Affix("endswith", s, a, (w, p) => w.EndsWith(p, StringComparison.Ordinal)));
        Text("find", "sub, start=0, end=None", (s, a) => Find(s, a, last: false));
        Text("rfind", "sub, start=0, end=None", (s, a) => Find(s, a, last: true));
        Text("index", "sub, start=0, end=None", (s, a) => Find(s, a, last: false) is >= 0 and long at ? at : throw ChatTemplateException.Value("substring not found"));
        Text("rindex", "sub, start=0, end=None", (s, a) => Find(s, a, last: true) is >= 0 and long at ? at : throw ChatTemplateException.Value("substring not found"));
        Text("count", "sub, start=0, end=None", (s, a) =>
        {
            (string window, _) = Part(s, a);
            string sub = Required("count", a[0]);
            return sub.Length == 0 ? PyText.Length(window) + 1L : (long)((window.Length - window.Replace(sub, "", StringComparison.Ordinal).Length) / sub.Length);
        });
        Text("replace", "old, new, count=-1", (s, a) => Replace(s, Required("replace", a[0]), Required("replace", a[1]), PyNumber.ToIndex(a[2])));
        Text("join", "iterable", (s, a) =>
        {
            string[] parts = [.. PyType.Iterate(a[0]).Select((i, at) => PyType.AsText(i) ?? throw ChatTemplateException.Type($"sequence item {at}: expected str instance, {PyType.Name(i)} found"))];
            JinjaLimits.GuardText(parts.Sum(p => (long)p.Length + s.Length));
            return string.Join(s, parts);
        });
        Text("partition", "sep", (s, a) => Partition(s, Required("partition", a[0]), s.IndexOf(Required("partition", a[0]), StringComparison.Ordinal), false));
        Text("rpartition", "sep", (s, a) => Partition(s, Required("rpartition", a[0]), s.LastIndexOf(Required("rpartition", a[0]), StringComparison.Ordinal), true));
        Text("removeprefix", "prefix", (s, a) => s.StartsWith(Required("removeprefix", a[0]), StringComparison.Ordinal) ? s[((string)PyText.Str(a[0])).Length..] : s);
        Text("removesuffix", "suffix", (s, a) => s.EndsWith(Required("removesuffix", a[0]), StringComparison.Ordinal) ? s[..^((string)PyText.Str(a[0])).Length] : s);
        Text("zfill", "width", (s, a) =>
        {
            int missing = Missing(s, a[0]);
            return s.Length > 0 && s[0] is '+' or '-' ? s[0] + new string('0', missing) + s[1..] : new string('0', missing) + s;
        });
        Text("ljust", "width, fillchar=' '", (s, a) => s + Fill(a[1], Missing(s, a[0])));
        Text("rjust", "width, fillchar=' '", (s, a) => Fill(a[1], Missing(s, a[0])) + s);
        Text("center", "width, fillchar=' '", (s, a) => Center(s, a[0], a[1]));
        Text("expandtabs", "tabsize=8", (s, a) => ExpandTabs(s, PyNumber.ToIndex(a[0])));
        Text("encode", "encoding='utf-8', errors='strict'", (s, _) => new JinjaBytes(System.Text.Encoding.UTF8.GetBytes(s)));
        Text("format", "*args, **kwargs", (s, a) => PyBraceFormat.Apply(s, (JinjaTuple)a[0]!, (JinjaDict)a[1]!));
        Text("format_map", "mapping", (s, a) => PyBraceFormat.Apply(s, new JinjaTuple(), a[0] as JinjaDict ?? throw ChatTemplateException.Type("format_map() argument must be a mapping")));
    }

    private static void AddPredicates()
    {
        void Every(string name, Func<Rune, bool> holds, bool empty = false) =>
            Add("str", name, "", (s, _) => ((string)s).Length == 0 ? empty : ((string)s).EnumerateRunes().All(holds));
        bool Decimal(Rune r) => Rune.GetUnicodeCategory(r) == UnicodeCategory.DecimalDigitNumber;
        bool Digit(Rune r) => Decimal(r) || CharUnicodeInfo.GetDigitValue(r.ToString(), 0) >= 0;
        bool Numeric(Rune r) => Digit(r) || Rune.GetNumericValue(r) != -1;
        Every("isalpha", Rune.IsLetter);
        Every("isdigit", Digit);
        Every("isdecimal", Decimal);
        Every("isnumeric", Numeric);
        Every("isalnum", r => Rune.IsLetter(r) || Numeric(r));
        Every("isspace", r => r.IsBmp && PyText.IsSpace((char)r.Value));
        Every("isascii", r => r.IsAscii, empty: true);
        Every("isprintable", PyText.IsPrintable, empty: true);
        Add("str", "isupper", "", (s, _) => PyCase.IsAllUpper((string)s));
        Add("str", "islower", "", (s, _) => PyCase.IsAllLower((string)s));
        Add("str", "istitle", "", (s, _) => PyCase.IsTitle((string)s));
        Add("str", "isidentifier", "", (s, _) => s is string { Length: > 0 } t && !char.IsAsciiDigit(t[0]) && t.EnumerateRunes().All(r => r.Value == '_' || Rune.IsLetterOrDigit(r)));
    }

    public static string Replace(string text, string old, string replacement, int count)
    {
        if (count == 0)
            return text;
        StringBuilder replaced = new();
        string[] points = old.Length == 0 ? PyText.Points(text) : [];
        if (old.Length == 0)
        {
            for (int i = 0; i <= points.Length; i++)
            {
                if (count < 0 || i < count)
                    replaced.Append(replacement);
                replaced.Append(i < points.Length ? points[i] : "");
                JinjaLimits.GuardText(replaced.Length);
            }
            return replaced.ToString();
        }
        int at = 0;
        for (int next; count != 0 && (next = text.IndexOf(old, at, StringComparison.Ordinal)) >= 0; count--)
        {
            replaced.Append(text, at, next - at).Append(replacement);
            JinjaLimits.GuardText(replaced.Length);
            at = next + old.Length;
        }
        return replaced.Append(text, at, text.Length - at).ToString();
    }

    public static string Center(string text, object? width, object? fill)
    {
        int missing = Missing(text, width), total = PyNumber.ToIndex(width);
        // Python puts the odd one left when the width is odd.
        int left = missing / 2 + (missing & total & 1);
        return Fill(fill, left) + text + Fill(fill, missing - left);
    }

    private static int Missing(string text, object? width)
    {
        JinjaLimits.GuardText(PyNumber.ToIndex(width));
        return Math.Max(0, PyNumber.ToIndex(width) - PyText.Length(text));
    }

    private static string Fill(object? fill, int times) => PyType.AsText(fill) is string one && PyText.Length(one) == 1
        ? string.Concat(Enumerable.Repeat(one, times))
        : throw ChatTemplateException.Type("The fill character must be exactly one character long");

    private static string Required(string method, object? value) => PyType.AsText(value) ?? throw ChatTemplateException.Type($"{method}() argument must be str, not {PyType.Name(value)}");

    private static List<object?> Split(string text, object? separator, int limit)
    {
        List<object?> parts = [];
        int at = 0;
        if (separator is null)
        {
            while (true)
            {
                while (at < text.Length && PyText.IsSpace(text[at]))
                    at++;
                if (at == text.Length)
                    return parts;
                if (limit >= 0 && parts.Count >= limit)
                {
                    parts.Add(text[at..]);
                    return parts;
                }
                int start = at;
                while (at < text.Length && !PyText.IsSpace(text[at]))
                    at++;
                parts.Add(text[start..at]);
            }
        }
        string by = NonEmpty(separator);
        for (int next; (limit < 0 || parts.Count < limit) && (next = text.IndexOf(by, at, StringComparison.Ordinal)) >= 0; at = next + by.Length)
            parts.Add(text[at..next]);
        parts.Add(text[at..]);
        return parts;
    }

    private static List<object?> SplitRight(string text, object? separator, int limit)
    {
        if (limit < 0)
            return Split(text, separator, limit);
        List<object?> parts = [];
        if (separator is null)
        {
            string rest = PyText.TrimEnd(text);
            while (rest.Length > 0 && parts.Count < limit)
            {
                int start = rest.Length;
                while (start > 0 && !PyText.IsSpace(rest[start - 1]))
                    start--;
                parts.Add(rest[start..]);
                rest = PyText.TrimEnd(rest[..start]);
            }
            if (rest.Length > 0)
                parts.Add(rest);
            parts.Reverse();
            return parts;
        }
        string by = NonEmpty(separator);
        string left = text;
        for (int at; parts.Count < limit && left.Length >= by.Length && (at = left.LastIndexOf(by, StringComparison.Ordinal)) >= 0; left = left[..at])
            parts.Add(left[(at + by.Length)..]);
        parts.Add(left);
        parts.Reverse();
        return parts;
    }

    private static string NonEmpty(object? separator)
    {
        string text = PyType.AsText(separator) ?? throw ChatTemplateException.Type($"must be str or None, not {PyType.Name(separator)}");
        return text.Length > 0 ? text : throw ChatTemplateException.Value("empty separator");
    }

    private static JinjaTuple Partition(string text, string separator, int at, bool right)
    {
        if (separator.Length == 0)
            throw ChatTemplateException.Value("empty separator");
        if (at < 0)
            return right ? new("", "", text) : new(text, "", "");
        return new(text[..at], separator, text[(at + separator.Length)..]);
    }

    private static object Affix(string method, string text, object?[] a, Func<string, string, bool> holds)
    {
        (string window, _) = Part(text, a);
        if (a[0] is JinjaTuple any)
            return any.Items.Any(i => holds(window, PyType.AsText(i) ?? throw ChatTemplateException.Type($"tuple for {method} must only contain str, not {PyType.Name(i)}")));
        return holds(window, PyType.AsText(a[0]) ?? throw ChatTemplateException.Type($"{method} first arg must be str or a tuple of str, not {PyType.Name(a[0])}"));
    }

    private static long Find(string text, object?[] a, bool last)
    {
        string sub = Required("find", a[0]);
        (string window, int start) = Part(text, a);
        if (start < 0)
            return -1;
        int at = last ? (sub.Length == 0 ? window.Length : window.LastIndexOf(sub, StringComparison.Ordinal)) : window.IndexOf(sub, StringComparison.Ordinal);
        return at < 0 ? -1 : start + PyText.Length(window.AsSpan(0, at));
    }

    // The text between the second and third argument, and where it starts in code points.
    private static (string Window, int Start) Part(string text, object?[] a)
    {
        if (a[1] is 0L && a[2] is null)
            return (text, 0);
        int length = PyText.Length(text);
        (int start, int stop) = Window(length, a[1], a[2]);
        if (start > stop || (a[1] is not null && PyNumber.ToIndex(a[1]) > length))
            return ("", -1);
        return (text[PyText.Offset(text, start)..PyText.Offset(text, stop)], start);
    }

    private static string ExpandTabs(string text, int size)
    {
        StringBuilder expanded = new();
        int column = 0;
        foreach (string point in PyText.Points(text))
        {
            if (point == "\t")
            {
                int spaces = size > 0 ? size - column % size : 0;
                JinjaLimits.GuardText((long)expanded.Length + spaces);
                expanded.Append(' ', spaces);
                column += spaces;
                continue;
            }
            expanded.Append(point);
            column = point is "\n" or "\r" ? 0 : column + 1;
        }
        return expanded.ToString();
    }
}
