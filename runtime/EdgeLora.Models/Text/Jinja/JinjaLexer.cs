using System.Globalization;
using System.Numerics;
using System.Text;

namespace EdgeLora.Models;

/// <summary>A token: data, name, string, integer, float, an operator by its own text, or one of the four tag marks; eof at the end.</summary>
internal readonly record struct JinjaToken(string Kind, string Text, object? Value, int Line)
{
    public bool IsName(string name) => Kind == "name" && Text == name;

    public string Described => Kind switch
    {
        "variable_begin" => "begin of print statement",
        "variable_end" => "end of print statement",
        "block_begin" => "begin of statement block",
        "block_end" => "end of statement block",
        "eof" => "end of template",
        "data" => "template data / text",
        "name" => Text,
        _ => Kind,
    };
}

/// <summary>Cuts a template into tokens as Jinja does with trim_blocks and lstrip_blocks on.</summary>
internal sealed class JinjaLexer
{
    private static readonly string[] Operators = ["//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"];

    private readonly string source;
    private readonly List<JinjaToken> tokens;
    private int at, line = 1;
    private bool lineStarting = true;

    private JinjaLexer(string template)
    {
        if (template.Length > JinjaLimits.MaxSource)
            throw new ChatTemplateException(ChatTemplateErrorKind.MemoryError, $"a template: expected at most {JinjaLimits.MaxSource} characters, found {template.Length}");
        tokens = new(template.Length / 4 + 4);
        string text = template.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        source = text.EndsWith('\n') ? text[..^1] : text;
    }

    public static List<JinjaToken> Tokenize(string template)
    {
        JinjaLexer lexer = new(template);
        lexer.Root();
        lexer.Add("eof", "");
        return lexer.tokens;
    }

    private void Root()
    {
        while (at < source.Length)
        {
            int tag = at;
            while (tag < source.Length && !(source[tag] == '{' && tag + 1 < source.Length && source[tag + 1] is '{' or '%' or '#'))
                tag++;
            if (tag >= source.Length)
            {
                Data(source[at..]);
                Advance(source.Length);
                return;
            }
            char kind = source[tag + 1];
            int start = tag + 2;
            char sign = SignAt(start);
            start += sign == ' ' ? 0 : 1;
            Data(LeftStrip(source[at..tag], sign, kind != '{'));
            Advance(start);
            lineStarting = false;
            if (kind == '#')
                Comment();
            else if (kind == '%' && RawBegin(start) is int raw)
                Raw(raw);
            else
                Tag(kind == '{' ? "variable" : "block");
        }
    }

    private string LeftStrip(string text, char sign, bool block)
    {
        if (sign == '-')
            return PyText.TrimEnd(text);
        if (sign == '+' || !block)
            return text;
        int start = text.LastIndexOf('\n') + 1;
        return (start > 0 || lineStarting) && start < text.Length && text.AsSpan(start).ToArray().All(PyText.IsSpace) ? text[..start] : text;
    }

    private void Comment()
    {
        int end = source.IndexOf("#}", at, StringComparison.Ordinal);
        if (end < 0)
            throw ChatTemplateException.Syntax("Missing end of comment tag", line);
        char sign = end > at ? source[end - 1] : ' ';
        Advance(end + 2);
        AfterTag(sign);
    }

    // Where the content of a raw block begins, if this tag opens one.
    private int? RawBegin(int from)
    {
        int i = Spaces(from);
        if (string.CompareOrdinal(source, i, "raw", 0, 3) != 0)
            return null;
        i = Spaces(i + 3);
        if (string.CompareOrdinal(source, i, "%}", 0, 2) == 0)
            return i + 2;
        return string.CompareOrdinal(source, i, "-%}", 0, 3) == 0 ? Spaces(i + 3) : null;
    }

    private void Raw(int from)
    {
        Advance(from);
        lineStarting = source[from - 1] == '\n';
        for (int tag = from; (tag = source.IndexOf("{%", tag, StringComparison.Ordinal)) >= 0; tag++)
        {
            int i = tag + 2;
            char sign = SignAt(i);
            i = Spaces(sign == ' ' ? i : i + 1);
            if (string.CompareOrdinal(source, i, "endraw", 0, 6) != 0)
                continue;
            i = Spaces(i + 6);
            char closing = SignAt(i);
            i += closing == ' ' ? 0 : 1;
            if (string.CompareOrdinal(source, i, "%}", 0, 2) != 0)
                continue;
            Data(LeftStrip(source[from..tag], sign, true));
            Advance(i + 2);
            AfterTag(closing);
            return;
        }
        if (from < source.Length)
            throw ChatTemplateException.Syntax("Missing end of raw directive", line);
    }

    // What the end of a block or comment takes with it: all whitespace after -, nothing after +, else one line break.
    private void AfterTag(char sign)
    {
        if (sign == '-')
            Advance(Spaces(at));
        else if (sign != '+' && at < source.Length && source[at] == '\n')
            Advance(at + 1);
        lineStarting = source[at - 1] == '\n';
    }

    private void Tag(string kind)
    {
        Add(kind + "_begin", "");
        string end = kind == "variable" ? "}}" : "%}";
        Stack<char> open = new();
        while (at < source.Length)
        {
            if (open.Count == 0)
            {
                bool signed = source[at] == '-' || (source[at] == '+' && kind == "block");
                if (string.CompareOrdinal(source, signed ? at + 1 : at, end, 0, 2) == 0)
                {
                    char sign = signed ? source[at] : kind == "variable" ? '+' : ' ';
                    Add(kind + "_end", "");
                    at += signed ? 3 : 2;
                    AfterTag(sign);
                    return;
                }
            }
            char c = source[at];
            if (PyText.IsSpace(c))
                Advance(Spaces(at));
            else if (char.IsAsciiDigit(c))
                Number();
            else if (c == '_' || char.IsLetterOrDigit(c) || char.IsSurrogate(c))
                Name();
            else if (c is '\'' or '"')
                Text(c);
            else
                Operator(open);
        }
    }

    private void Number()
    {
        int start = at, i = at;
        int Digits(int from, string set)
        {
            int to = from;
            while (to < source.Length && (set.Contains(char.ToLowerInvariant(source[to])) || (source[to] == '_' && to > from && to + 1 < source.Length && set.Contains(char.ToLowerInvariant(source[to + 1])))))
                to++;
            return to;
        }
        const string Ten = "0123456789";
        bool afterDot = tokens[^1].Kind == "." && at > 0 && source[at - 1] == '.';
        i = Digits(at, Ten);
        int whole = i;
        if (!afterDot)
        {
            if (i + 1 < source.Length && source[i] == '.' && char.IsAsciiDigit(source[i + 1]))
                i = Digits(i + 1, Ten);
            if (i < source.Length && source[i] is 'e' or 'E')
            {
                int e = SignAt(i + 1) != ' ' ? i + 2 : i + 1;
                if (e < source.Length && char.IsAsciiDigit(source[e]))
                    i = Digits(e, Ten);
            }
        }
        if (i > whole)
        {
            string real = source[start..i];
            at = i;
            Add("float", real, double.Parse(real.Replace("_", "", StringComparison.Ordinal), CultureInfo.InvariantCulture));
            return;
        }
        char prefix = source[at] == '0' && at + 1 < source.Length ? char.ToLowerInvariant(source[at + 1]) : ' ';
        (int radix, string set) = prefix switch { 'x' => (16, "0123456789abcdef"), 'o' => (8, "01234567"), 'b' => (2, "01"), _ => (10, Ten) };
        if (radix != 10)
        {
            int body = at + 2 < source.Length && source[at + 2] == '_' ? at + 3 : at + 2;
            int end = Digits(body, set);
            if (end > body)
            {
                BigInteger value = 0;
                foreach (char c in source[body..end].Replace("_", "", StringComparison.Ordinal))
                    value = value * radix + set.IndexOf(char.ToLowerInvariant(c), StringComparison.Ordinal);
                at = end;
                Add("integer", source[start..end], PyNumber.Of(value));
                return;
            }
        }
        // A leading zero ends the number, as in Jinja: 012 is 0 and then 12.
        if (source[at] == '0')
            whole = Digits(at, "0");
        at = whole;
        Add("integer", source[start..whole], PyNumber.Of(BigInteger.Parse(source[start..whole].Replace("_", "", StringComparison.Ordinal), CultureInfo.InvariantCulture)));
    }

    private void Name()
    {
        int start = at;
        while (at < source.Length && (source[at] == '_' || char.IsLetterOrDigit(source[at]) || char.IsSurrogate(source[at]) || char.GetUnicodeCategory(source[at]) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark))
            at++;
        string name = source[start..at];
        if (name.EnumerateRunes().Any(r => r.Value != '_' && !Rune.IsLetterOrDigit(r) && r.Value < 0x300))
            throw ChatTemplateException.Syntax("Invalid character in identifier", line);
        Add("name", name, name);
    }

    private void Text(char quote)
    {
        int end = at + 1;
        while (end < source.Length && source[end] != quote)
            end += source[end] == '\\' ? 2 : 1;
        if (end >= source.Length)
            throw ChatTemplateException.Syntax($"unexpected char {PyText.Repr(quote.ToString())} at {at}", line);
        string value = Unescape(source[(at + 1)..end]);
        Add("string", value, value);
        Advance(end + 1);
    }

    private string Unescape(string text)
    {
        if (!text.Contains('\\'))
            return text;
        StringBuilder plain = new(text.Length);
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != '\\')
            {
                plain.Append(text[i]);
                continue;
            }
            char c = text[++i];
            int simple = "\\'\"abfnrtv".IndexOf(c, StringComparison.Ordinal);
            if (simple >= 0)
                plain.Append("\\'\"\a\b\f\n\r\t\v"[simple]);
            else if (c == '\n')
                continue;
            else if (c is >= '0' and <= '7')
            {
                int value = 0, n = 0;
                for (; n < 3 && i + n < text.Length && text[i + n] is >= '0' and <= '7'; n++)
                    value = value * 8 + text[i + n] - '0';
                plain.Append((char)value);
                i += n - 1;
            }
            else if (c is 'x' or 'u' or 'U')
            {
                int size = c == 'x' ? 2 : c == 'u' ? 4 : 8;
                if (i + size >= text.Length || !int.TryParse(text.AsSpan(i + 1, size), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value) || value is < 0 or > 0x10FFFF)
                    throw ChatTemplateException.Syntax($"truncated \\{c}{new string('X', size)} escape", line);
                plain.Append(value < 0x10000 ? ((char)value).ToString() : char.ConvertFromUtf32(value));
                i += size;
            }
            else if (c == 'N')
                throw ChatTemplateException.Syntax("malformed \\N character escape", line);
            else
                plain.Append('\\').Append(c);
        }
        return plain.ToString();
    }

    private void Operator(Stack<char> open)
    {
        string? found = Operators.FirstOrDefault(o => string.CompareOrdinal(source, at, o, 0, o.Length) == 0);
        if (found is null)
            throw ChatTemplateException.Syntax($"unexpected char {PyText.Repr(source[at].ToString())} at {at}", line);
        if (open.Count == JinjaLimits.MaxNesting)
            throw new ChatTemplateException(ChatTemplateErrorKind.RecursionError, $"maximum recursion depth exceeded: {JinjaLimits.MaxNesting} brackets inside one another");
        if (found is "{" or "(" or "[")
            open.Push(found == "{" ? '}' : found == "(" ? ')' : ']');
        else if (found is "}" or ")" or "]")
        {
            if (open.Count == 0)
                throw ChatTemplateException.Syntax($"unexpected '{found}'", line);
            char expected = open.Pop();
            if (expected != found[0])
                throw ChatTemplateException.Syntax($"unexpected '{found}', expected '{expected}'", line);
        }
        Add(found, found);
        at += found.Length;
    }

    private char SignAt(int i) => i < source.Length && source[i] is '-' or '+' ? source[i] : ' ';

    private int Spaces(int from)
    {
        while (from < source.Length && PyText.IsSpace(source[from]))
            from++;
        return from;
    }

    private void Data(string text)
    {
        if (text.Length > 0)
            Add("data", text, text);
    }

    private void Advance(int to)
    {
        for (; at < to; at++)
            line += source[at] == '\n' ? 1 : 0;
    }

    private void Add(string kind, string text, object? value = null) => tokens.Add(new(kind, text, value, line));
}
