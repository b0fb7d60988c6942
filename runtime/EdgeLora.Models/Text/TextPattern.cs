namespace EdgeLora.Models;

/// <summary>Something that finds spans in code points.</summary>
internal abstract class TextPattern
{
    /// <summary>Matches and the gaps between them, covering the whole text in order; an empty text is one empty gap.</summary>
    public List<Span> Matches(ReadOnlySpan<int> text)
    {
        List<Span> spans = [];
        if (text.IsEmpty)
        {
            spans.Add(new(0, 0, false));
            return spans;
        }
        Find(text, spans);
        int last = spans.Count == 0 ? 0 : spans[^1].End;
        if (last < text.Length)
            spans.Add(new(last, text.Length, false));
        return spans;
    }

    /// <summary>Adds every match, from left to right, with the gap before it.</summary>
    protected abstract void Find(ReadOnlySpan<int> text, List<Span> spans);

    protected static void AddMatch(List<Span> spans, int start, int end)
    {
        int last = spans.Count == 0 ? 0 : spans[^1].End;
        if (start > last)
            spans.Add(new(last, start, false));
        spans.Add(new(start, end, true));
    }
}

/// <summary>A fixed text.</summary>
internal sealed class LiteralPattern(string literal) : TextPattern
{
    private readonly int[] _literal = CodePoints.Of(literal);

    protected override void Find(ReadOnlySpan<int> text, List<Span> spans)
    {
        if (_literal.Length == 0)
            return;
        for (int from = 0; ;)
        {
            int at = text[from..].IndexOf(_literal);
            if (at < 0)
                return;
            AddMatch(spans, from + at, from + at + _literal.Length);
            from += at + _literal.Length;
        }
    }
}

/// <summary>Single code points of one kind, each a match of its own.</summary>
internal sealed class ClassPattern(Func<int, bool> isMember) : TextPattern
{
    protected override void Find(ReadOnlySpan<int> text, List<Span> spans)
    {
        for (int i = 0; i < text.Length; i++)
            if (isMember(text[i]))
                AddMatch(spans, i, i + 1);
    }
}

/// <summary>A regular expression over code points (Oniguruma's Ruby syntax, as tokenizer.json writes it).</summary>
internal sealed class RegexPattern : TextPattern
{
    private readonly PatternProgram _program;

    /// <summary>Compiles; a pattern that cannot be is a <see cref="FormatException"/>.</summary>
    public RegexPattern(string pattern) => _program = PatternProgram.Compile(pattern);

    protected override void Find(ReadOnlySpan<int> text, List<Span> spans)
    {
        PatternMatcher matcher = new(_program, text);
        int from = 0, last = -1;
        while (from <= text.Length && matcher.Search(from, out int start, out int end))
        {
            if (start == end && end == last)
            {
                // No empty match right behind another match.
                from++;
                continue;
            }
            AddMatch(spans, start, end);
            from = last = end;
        }
    }
}
