using System.Globalization;
using System.Text;

namespace EdgeLora.Models;

/// <summary>What Python's str does: counts in code points, prints values as str() and repr() do, cuts and strips.</summary>
internal static class PyText
{
    /// <summary>The code points as strings of one.</summary>
    public static string[] Points(string text)
    {
        // A place in the list and a string of one or two characters.
        JinjaLimits.GuardBytes(40L * text.Length);
        string[] points = new string[Length(text)];
        int at = 0;
        for (int i = 0; i < points.Length; i++)
        {
            int size = char.IsHighSurrogate(text[at]) && at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]) ? 2 : 1;
            points[i] = text.Substring(at, size);
            at += size;
        }
        return points;
    }

    /// <summary>The number of code points.</summary>
    public static int Length(ReadOnlySpan<char> text)
    {
        int length = text.Length;
        for (int i = 1; i < text.Length; i++)
            if (char.IsLowSurrogate(text[i]) && char.IsHighSurrogate(text[i - 1]))
                length--;
        return length;
    }

    /// <summary>The index in UTF-16 units of a code point.</summary>
    public static int Offset(string text, int points)
    {
        int at = 0;
        for (; points > 0 && at < text.Length; points--)
            at += char.IsHighSurrogate(text[at]) && at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]) ? 2 : 1;
        return at;
    }

    /// <summary>Orders by code point; UTF-16 order differs above U+FFFF.</summary>
    public static int Compare(string a, string b)
    {
        int i = 0;
        while (i < a.Length && i < b.Length && a[i] == b[i])
            i++;
        if (i == a.Length || i == b.Length)
            return a.Length.CompareTo(b.Length);
        int Weight(char c) => char.IsSurrogate(c) ? c + 0x10000 : c;
        return Weight(a[i]).CompareTo(Weight(b[i]));
    }

    /// <summary>Python's whitespace: .NET's and the four separators of ASCII.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    public static string TrimStart(string text)
    {
        int start = 0;
        while (start < text.Length && IsSpace(text[start]))
            start++;
        return text[start..];
    }

    public static string TrimEnd(string text)
    {
        int end = text.Length;
        while (end > 0 && IsSpace(text[end - 1]))
            end--;
        return text[..end];
    }

    /// <summary>str.strip, lstrip or rstrip; null strips whitespace, else any of the characters.</summary>
    public static string Strip(string text, object? characters, bool start = true, bool end = true)
    {
        if (characters is null)
        {
            text = start ? TrimStart(text) : text;
            return end ? TrimEnd(text) : text;
        }
        string set = PyType.AsText(characters) ?? throw ChatTemplateException.Type("strip arg must be None or str");
        HashSet<string> drop = [.. Points(set)];
        string[] points = Points(text);
        int from = 0, to = points.Length;
        while (start && from < to && drop.Contains(points[from]))
            from++;
        while (end && to > from && drop.Contains(points[to - 1]))
            to--;
        return string.Concat(points.AsSpan(from, to - from));
    }

    /// <summary>str.splitlines: every line break Python knows.</summary>
    public static List<string> SplitLines(string text, bool keepEnds = false)
    {
        List<string> lines = [];
        int start = 0;
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] is not ('\n' or '\r' or '\v' or '\f' or '\x1c' or '\x1d' or '\x1e' or '\x85' or '\u2028' or '\u2029'))
                continue;
            int end = i;
            if (text[i] == '\r' && i + 1 < text.Length && text[i + 1] == '\n')
                i++;
            lines.Add(text[start..(keepEnds ? i + 1 : end)]);
            start = i + 1;
        }
        if (start < text.Length)
            lines.Add(text[start..]);
        return lines;
    }

    /// <summary>str(value).</summary>
    public static string Str(object? value) => value switch
    {
        string s => s,
        JinjaMarkup m => m.Text,
        JinjaUndefined => "",
        _ => Repr(value),
    };

    /// <summary>repr(value).</summary>
    public static string Repr(object? value)
    {
        if (value is string or JinjaMarkup or null or bool or long)
            return Atom(value);
        StringBuilder text = new();
        Write(text, value);
        return text.ToString();
    }

    private static void Write(StringBuilder text, object? value)
    {
        JinjaLimits.GuardStack();
        JinjaLimits.GuardText(text.Length);
        switch (value)
        {
            case JinjaList list:
                WriteItems(text, "[", list.Items, "]");
                break;
            case JinjaTuple tuple:
                WriteItems(text, "(", tuple.Items, tuple.Items.Count == 1 ? ",)" : ")");
                break;
            case JinjaDict dict:
                WritePairs(text, dict.Entries);
                break;
            case JinjaDictView view:
                WriteItems(text.Append(view.Kind), "([", view.Items(), "])");
                break;
            case JinjaNamespace space:
                text.Append("<Namespace ");
                WritePairs(text, space.Attributes.Select(a => new KeyValuePair<object?, object?>(a.Key, a.Value)));
                text.Append('>');
                break;
            default:
                text.Append(Atom(value));
                break;
        }
    }

    private static void WriteItems(StringBuilder text, string open, IEnumerable<object?> items, string close)
    {
        text.Append(open);
        bool first = true;
        foreach (object? item in items)
        {
            if (!first)
                text.Append(", ");
            first = false;
            Write(text, item);
        }
        text.Append(close);
    }

    private static void WritePairs(StringBuilder text, IEnumerable<KeyValuePair<object?, object?>> pairs)
    {
        text.Append('{');
        bool first = true;
        foreach ((object? key, object? value) in pairs)
        {
            if (!first)
                text.Append(", ");
            first = false;
            Write(text, key);
            text.Append(": ");
            Write(text, value);
        }
        text.Append('}');
    }

    private static string Atom(object? value) => value switch
    {
        null => "None",
        bool b => b ? "True" : "False",
        double d => PyFloat.Repr(d),
        string s => Quote(s),
        JinjaMarkup m => $"Markup({Quote(m.Text)})",
        JinjaUndefined => "Undefined",
        JinjaRange r => r.Step.IsOne ? $"range({r.Start}, {r.Stop})" : $"range({r.Start}, {r.Stop}, {r.Step})",
        JinjaBytes b => QuoteBytes(b.Bytes),
        JinjaLoop loop => $"<LoopContext {loop.Index}/{loop.Length}>",
        JinjaSelf => "<TemplateReference None>",
        JinjaCycler => "<jinja2.utils.Cycler object>",
        JinjaJoiner => "<jinja2.utils.Joiner object>",
        JinjaGenerator => "<generator object>",
        PySlice => "slice(...)",
        IJinjaCallable callable => callable.Representation,
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? "",
    };

    private static string Quote(string text)
    {
        char quote = text.Contains('\'') && !text.Contains('"') ? '"' : '\'';
        StringBuilder quoted = new StringBuilder(text.Length + 2).Append(quote);
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (c == quote || c == '\\')
                quoted.Append('\\').Append(c);
            else if (c is '\n' or '\r' or '\t')
                quoted.Append(c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
            else if (c is >= ' ' and < '\x7f')
                quoted.Append(c);
            else if (!Rune.TryGetRuneAt(text, i, out Rune rune))
                quoted.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
            else
            {
                i += rune.Utf16SequenceLength - 1;
                if (IsPrintable(rune))
                    quoted.Append(rune.ToString());
                else
                    quoted.Append(rune.Value < 0x100 ? $"\\x{rune.Value:x2}" : rune.Value < 0x10000 ? $"\\u{rune.Value:x4}" : $"\\U{rune.Value:x8}");
            }
        }
        return quoted.Append(quote).ToString();
    }

    public static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned
        or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator);

    private static string QuoteBytes(byte[] bytes)
    {
        char quote = bytes.Contains((byte)'\'') && !bytes.Contains((byte)'"') ? '"' : '\'';
        StringBuilder quoted = new StringBuilder("b").Append(quote);
        foreach (byte b in bytes)
            quoted.Append(b switch
            {
                (byte)'\n' => "\\n",
                (byte)'\r' => "\\r",
                (byte)'\t' => "\\t",
                (byte)'\\' => "\\\\",
                _ when b == quote => "\\" + quote,
                >= 32 and < 127 => ((char)b).ToString(),
                _ => $"\\x{b:x2}",
            });
        return quoted.Append(quote).ToString();
    }
}
