using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;

namespace EdgeLora.Models;

/// <summary>The filters on texts.</summary>
internal static partial class JinjaFilterText
{
    public static void Add(Action<string, string, Func<JinjaRun, object?[], object?>> add)
    {
        add("upper", "s", (_, a) => PyCase.Upper(PyText.Str(a[0])));
        add("lower", "s", (_, a) => PyCase.Lower(PyText.Str(a[0])));
        add("capitalize", "s", (_, a) => PyCase.Capitalize(PyText.Str(a[0])));
        add("title", "s", (_, a) => Title(PyText.Str(a[0])));
        add("trim", "value, chars=None", (_, a) => PyText.Strip(PyText.Str(a[0]), a[1]));
        add("replace", "s, old, new, count=None", (_, a) => PyMethods.Replace(PyText.Str(a[0]), PyText.Str(a[1]), PyText.Str(a[2]), a[3] is null ? -1 : PyNumber.ToIndex(a[3])));
        add("center", "value, width=80", (_, a) => PyMethods.Center(PyText.Str(a[0]), a[1], " "));
        add("escape e", "s", (_, a) => new JinjaMarkup(Escape(a[0])));
        add("forceescape", "value", (_, a) => new JinjaMarkup(Escape(PyText.Str(a[0]))));
        add("safe", "value", (_, a) => new JinjaMarkup(PyText.Str(a[0])));
        add("format", "value, *args, **kwargs", (_, a) =>
        {
            (JinjaTuple args, JinjaDict named) = ((JinjaTuple)a[1]!, (JinjaDict)a[2]!);
            if (args.Items.Count > 0 && named.Count > 0)
                throw JinjaFilters.BadArgument("can't handle positional and keyword arguments at the same time");
            return PyPercentFormat.Apply(PyText.Str(a[0]), named.Count > 0 ? named : args);
        });
        add("wordcount", "s", (_, a) => (long)WordPattern().Count(PyText.Str(a[0])));
        add("indent", "s, width=4, first=False, blank=False", (_, a) => Indent(a));
        add("truncate", "s, length=255, killwords=False, end='...', leeway=None", (_, a) => a[0] is JinjaUndefined ? a[0] : Truncate(a));
        add("wordwrap", "s, width=79, break_long_words=True, wrapstring=None, break_on_hyphens=True", (_, a) =>
        {
            string by = a[3] is null ? "\n" : PyText.Str(a[3]);
            return string.Join(by, PyText.SplitLines(Required(a[0])).Select(l => string.Join(by, Wrap(l, PyNumber.ToIndex(a[1]), PyType.IsTrue(a[2]), PyType.IsTrue(a[4])))));
        });
        add("striptags", "value", (_, a) => StripTags(PyText.Str(a[0])));
        add("urlencode", "value", (_, a) => a[0] is not (string or JinjaMarkup) && PyType.IsIterable(a[0])
            ? string.Join('&', (a[0] is JinjaDict d ? new JinjaDictView(d, "dict_items").Items() : PyType.Iterate(a[0])).Select(p => PyType.Iterate(p).ToArray()).Select(p => $"{UrlQuote(p[0], true)}={UrlQuote(p[1], true)}"))
            : UrlQuote(a[0], false));
        add("urlize", "value, trim_url_limit=None, nofollow=False, target=None, rel=None, extra_schemes=None", (_, a) => Urlize(a));
        add("xmlattr", "d, autospace=True", (_, a) =>
        {
            if (a[0] is not JinjaDict attributes)
                throw a[0] is JinjaUndefined u ? u.Error() : new ChatTemplateException(ChatTemplateErrorKind.AttributeError, $"'{PyType.Name(a[0])}' object has no attribute 'items'");
            string[] parts = [.. attributes.Entries.Where(e => e.Value is not (null or JinjaUndefined)).Select(e => PyText.Str(e.Key).AsSpan().IndexOfAny(" \t\n\f\r/>=") >= 0
                ? throw ChatTemplateException.Value($"Invalid character in attribute name: {PyText.Repr(e.Key)}")
                : $"{Escape(e.Key)}=\"{Escape(e.Value)}\"")];
            return (PyType.IsTrue(a[1]) && parts.Length > 0 ? " " : "") + string.Join(' ', parts);
        });
        add("filesizeformat", "value, binary=False", (_, a) => FileSize(a[0], PyType.IsTrue(a[1])));
    }

    /// <summary>The text with &amp;, &lt;, &gt; and quotes written for HTML; markup stays as it is.</summary>
    public static string Escape(object? value)
    {
        if (value is JinjaMarkup markup)
            return markup.Text;
        string plain = PyText.Str(value);
        // A copy for each of the signs, the last five times as long.
        JinjaLimits.GuardBytes(20L * plain.Length);
        string text = plain.Replace("&", "&amp;", StringComparison.Ordinal).Replace(">", "&gt;", StringComparison.Ordinal)
            .Replace("<", "&lt;", StringComparison.Ordinal).Replace("'", "&#39;", StringComparison.Ordinal).Replace("\"", "&#34;", StringComparison.Ordinal);
        JinjaLimits.GuardText(text.Length);
        return text;
    }

    // Unlike str.title: words begin after whitespace, - and opening brackets only.
    private static string Title(string text)
    {
        StringBuilder title = new();
        bool start = true;
        int from = 0;
        string[] points = PyText.Points(text);
        StringBuilder rest = new();
        void Flush()
        {
            title.Append(PyCase.Lower(rest.ToString()));
            rest.Clear();
        }
        for (; from < points.Length; from++)
        {
            string point = points[from];
            bool breaks = point.Length == 1 && (PyText.IsSpace(point[0]) || point[0] is '-' or '(' or '{' or '[' or '<');
            if (breaks || start)
            {
                Flush();
                title.Append(breaks ? point : PyCase.Upper(point));
                start = breaks;
            }
            else
                rest.Append(point);
        }
        Flush();
        return title.ToString();
    }

    private static string Required(object? value) => PyType.AsText(value) ?? throw (value is JinjaUndefined u ? u.Error() : ChatTemplateException.Type($"expected str, found {PyType.Name(value)}"));

    private static string Indent(object?[] a)
    {
        string text = a[0] is JinjaUndefined u ? throw u.Error() : PyType.AsText(a[0]) ?? throw ChatTemplateException.Type($"unsupported operand type(s) for +=: '{PyType.Name(a[0])}' and 'str'");
        string margin = PyType.AsText(a[1]) ?? new string(' ', Math.Clamp(PyNumber.ToIndex(a[1]), 0, 1 << 16));
        List<string> lines = PyText.SplitLines(text + "\n");
        JinjaLimits.GuardText(text.Length + (long)margin.Length * lines.Count);
        bool blank = PyType.IsTrue(a[3]);
        string indented = string.Join('\n', lines.Select((l, i) => i == 0 || (l.Length == 0 && !blank) ? l : margin + l));
        return PyType.IsTrue(a[2]) ? margin + indented : indented;
    }

    private static string Truncate(object?[] a)
    {
        string text = Required(a[0]), end = PyText.Str(a[3]);
        int length = PyNumber.ToIndex(a[1]), leeway = a[4] is null ? 5 : PyNumber.ToIndex(a[4]), room = length - PyText.Length(end);
        if (room < 0 || leeway < 0)
            throw new ChatTemplateException(ChatTemplateErrorKind.AssertionError, room < 0 ? $"expected length >= {PyText.Length(end)}, got {length}" : $"expected leeway >= 0, got {leeway}");
        if (PyText.Length(text) <= (long)length + leeway)
            return text;
        string cut = text[..PyText.Offset(text, room)];
        int space = cut.LastIndexOf(' ');
        return (PyType.IsTrue(a[2]) || space < 0 ? cut : cut[..space]) + end;
    }

    // Python's textwrap: fills lines with words, breaks at hyphens inside words and, if it must, anywhere.
    private static List<string> Wrap(string text, int width, bool breakLong, bool hyphens)
    {
        if (width <= 0)
            throw ChatTemplateException.Value($"invalid width {width} (must be > 0)");
        Queue<string> chunks = new((hyphens ? ChunkPattern() : PlainChunkPattern()).Matches(text).Select(m => m.Value));
        List<string> lines = [];
        while (chunks.Count > 0)
        {
            StringBuilder line = new();
            bool cut = false;
            if (lines.Count > 0 && string.IsNullOrWhiteSpace(chunks.Peek()))
                chunks.Dequeue();
            while (chunks.Count > 0 && line.Length + chunks.Peek().Length <= width)
                line.Append(chunks.Dequeue());
            if (chunks.Count > 0 && chunks.Peek().Length > width)
            {
                string word = chunks.Dequeue();
                int room = breakLong ? width - line.Length : line.Length == 0 ? word.Length : 0;
                if (breakLong && hyphens && room > 0 && word.LastIndexOf('-', room - 1) is > 0 and int hyphen && word.AsSpan(0, hyphen).IndexOfAnyExcept('-') >= 0)
                    room = hyphen + 1;
                line.Append(word, 0, room);
                cut = room == 0;
                JinjaLimits.GuardBytes(16L * chunks.Count);
                chunks = new(new[] { word[room..] }.Where(w => w.Length > 0).Concat(chunks));
            }
            // textwrap drops the space before a long word only if some of the word came with it.
            string full = cut ? line.ToString() : PyText.TrimEnd(line.ToString());
            if (full.Length > 0)
                lines.Add(full);
        }
        return lines;
    }

    private static string StripTags(string text)
    {
        foreach ((string open, string close) in new[] { ("<!--", "-->"), ("<", ">") })
            for (int start; (start = text.IndexOf(open, StringComparison.Ordinal)) >= 0 && text.IndexOf(close, start, StringComparison.Ordinal) is >= 0 and int end;)
            {
                JinjaLimits.GuardBytes(6L * text.Length);
                text = string.Concat(text.AsSpan(0, start), text.AsSpan(end + close.Length));
            }
        return WebUtility.HtmlDecode(string.Join(' ', text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)));
    }

    private static string UrlQuote(object? value, bool query)
    {
        StringBuilder quoted = new();
        foreach (byte b in value is JinjaBytes bytes ? bytes.Bytes : System.Text.Encoding.UTF8.GetBytes(PyText.Str(value)))
            if (char.IsAsciiLetterOrDigit((char)b) || b is (byte)'-' or (byte)'.' or (byte)'_' or (byte)'~' || (b == '/' && !query))
                quoted.Append((char)b);
            else
                quoted.Append(b == ' ' && query ? "+" : $"%{b:X2}");
        return quoted.ToString();
    }

    private static string Urlize(object?[] a)
    {
        string rel = string.Join(' ', $"noopener {(PyType.IsTrue(a[2]) ? "nofollow" : "")} {PyText.Str(a[4] ?? "")}".Split(' ', StringSplitOptions.RemoveEmptyEntries).Distinct().Order(StringComparer.Ordinal));
        string target = a[3] is null ? "" : $" target=\"{Escape(a[3])}\"";
        int limit = a[1] is null ? int.MaxValue : PyNumber.ToIndex(a[1]);
        return UrlPattern().Replace(Escape(Required(a[0])), m =>
        {
            string url = m.Value.TrimEnd('.', ',', ')', '\n'), tail = m.Value[url.Length..];
            string shown = url.Length > limit ? url[..limit] + "..." : url;
            return $"<a href=\"{(url.StartsWith("http", StringComparison.OrdinalIgnoreCase) ? "" : "https://")}{url}\" rel=\"{rel}\"{target}>{shown}</a>{tail}";
        });
    }

    private static string FileSize(object? value, bool binary)
    {
        double bytes = PyType.AsText(value) is string s ? double.Parse(s, CultureInfo.InvariantCulture) : PyNumber.ToDouble(value);
        int size = binary ? 1024 : 1000;
        if (bytes == 1)
            return "1 Byte";
        if (bytes < size)
            return string.Create(CultureInfo.InvariantCulture, $"{(long)bytes} Bytes");
        string[] prefixes = binary ? ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"] : ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
        int at = 0;
        double unit = (double)size * size;
        for (; at < prefixes.Length - 1 && bytes >= unit; at++)
            unit *= size;
        return $"{PyFloat.Fixed(size * bytes / unit, 1)} {prefixes[at]}";
    }

    [GeneratedRegex(@"\w+")]
    private static partial Regex WordPattern();

    [GeneratedRegex(@"\s+|[^\s]*?\w{2}-(?=\w-?\w)|\S+")]
    private static partial Regex ChunkPattern();

    [GeneratedRegex(@"\s+|\S+")]
    private static partial Regex PlainChunkPattern();

    [GeneratedRegex(@"(?<![\w/])(?:https?://(?:[\w%-]+(?:\.[\w%-]+)*\.(?:com|net|int|edu|gov|org|info|mil|[a-z]{2,})|localhost)|www\.[\w%-]+(?:\.[\w%-]+)*)(?::\d+)?(?:[/?#]\S*)?", RegexOptions.IgnoreCase)]
    private static partial Regex UrlPattern();
}
