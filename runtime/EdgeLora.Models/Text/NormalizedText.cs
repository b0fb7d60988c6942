namespace EdgeLora.Models;

/// <summary>Text as code points, each aligned with the span of the original text that it came from. Slices share their buffers.</summary>
internal sealed class NormalizedText
{
    private int[] _chars;
    private int[] _starts;
    private int[] _ends;
    private int _first;

    private NormalizedText(int[] chars, int[] starts, int[] ends, int first, int length, int originalStart, int originalEnd)
    {
        (_chars, _starts, _ends, _first, Length, OriginalStart, OriginalEnd) = (chars, starts, ends, first, length, originalStart, originalEnd);
    }

    /// <summary>Text as it was given: every code point aligned with itself. A lone surrogate reads as U+FFFD.</summary>
    public NormalizedText(string text)
    {
        _chars = CodePoints.Of(text);
        Length = OriginalEnd = _chars.Length;
        _starts = new int[Length];
        _ends = new int[Length];
        for (int i = 0; i < Length; i++)
            (_starts[i], _ends[i]) = (i, i + 1);
    }

    public int Length { get; private set; }

    /// <summary>Where this piece starts in the original text.</summary>
    public int OriginalStart { get; }

    /// <summary>Where this piece ends in the original text.</summary>
    public int OriginalEnd { get; }

    public ReadOnlySpan<int> Chars => _chars.AsSpan(_first, Length);

    public override string ToString() => CodePoints.ToString(Chars);

    /// <summary>The original span behind <c>[start, end)</c> of this text.</summary>
    public (int Start, int End) Original(int start, int end)
    {
        if (start >= end)
            return Length == 0 ? (OriginalStart, OriginalEnd) : (OriginalStart + start, OriginalStart + start);
        return (_starts[_first + start], _ends[_first + end - 1]);
    }

    /// <summary>The piece <c>[start, end)</c>, sharing this one's buffers.</summary>
    public NormalizedText Slice(int start, int end)
    {
        if (start == 0 && end == Length)
            return this;
        (int originalStart, int originalEnd) = start < end ? Original(start, end) : (OriginalStart, OriginalStart);
        return new(_chars, _starts, _ends, _first + start, end - start, originalStart, originalEnd);
    }

    /// <summary>
    /// Replaces the whole text by <paramref name="chars"/>. A change of 0 takes the place of one old code point, 1 is an insertion
    /// (aligned with what stands before it), −n takes one place and swallows n more; <paramref name="skip"/> old ones are dropped first.
    /// </summary>
    public void Transform(ReadOnlySpan<int> chars, ReadOnlySpan<int> changes, int skip = 0)
    {
        int[] starts = new int[chars.Length], ends = new int[chars.Length];
        int read = _first + skip;
        for (int i = 0; i < chars.Length; i++)
        {
            int change = changes[i], at = change > 0 ? read - 1 : read;
            (starts[i], ends[i]) = at < _first || at >= _first + Length ? (OriginalStart, OriginalStart) : (_starts[at], _ends[at]);
            if (change <= 0)
                read += 1 - change;
        }
        Adopt(chars.ToArray(), starts, ends);
    }

    /// <summary>Keeps what <paramref name="keep"/> accepts.</summary>
    public void Filter(Func<int, bool> keep)
    {
        TextBuilder kept = new(Length);
        for (int i = 0; i < Length; i++)
            if (keep(Chars[i]))
                kept.Add(Chars[i], _starts[_first + i], _ends[_first + i]);
        kept.MoveTo(this);
    }

    /// <summary>Replaces code point for code point.</summary>
    public void Map(Func<int, int> map)
    {
        int[] chars = Chars.ToArray();
        for (int i = 0; i < chars.Length; i++)
            chars[i] = map(chars[i]);
        Adopt(chars, _starts.AsSpan(_first, Length).ToArray(), _ends.AsSpan(_first, Length).ToArray());
    }

    /// <summary>Drops white space at the chosen sides.</summary>
    public void Strip(bool left, bool right)
    {
        int start = 0, end = Length;
        while (left && start < end && CodePoints.IsWhiteSpace(Chars[start]))
            start++;
        while (right && end > start && CodePoints.IsWhiteSpace(Chars[end - 1]))
            end--;
        _first += start;
        Length = end - start;
    }

    /// <summary>Puts <paramref name="content"/> in front, aligned with the first code point. An empty text stays empty.</summary>
    public void Prepend(ReadOnlySpan<int> content)
    {
        if (Length == 0)
            return;
        TextBuilder text = new(Length + content.Length);
        foreach (int c in content)
            text.Add(c, _starts[_first], _ends[_first]);
        text.Add(this, 0, Length);
        text.MoveTo(this);
    }

    /// <summary>Puts <paramref name="content"/> behind, aligned with the last code point. An empty text stays empty.</summary>
    public void Append(ReadOnlySpan<int> content)
    {
        if (Length == 0)
            return;
        TextBuilder text = new(Length + content.Length);
        text.Add(this, 0, Length);
        foreach (int c in content)
            text.Add(c, _starts[_first + Length - 1], _ends[_first + Length - 1]);
        text.MoveTo(this);
    }

    /// <summary>Replaces every match of <paramref name="pattern"/>; the new text is aligned with the last code point of the match.</summary>
    public void Replace(TextPattern pattern, ReadOnlySpan<int> content)
    {
        List<Span> spans = pattern.Matches(Chars);
        if (!spans.Exists(s => s.IsMatch))
            return;
        TextBuilder text = new(Length);
        foreach (Span span in spans)
        {
            if (!span.IsMatch)
            {
                text.Add(this, span.Start, span.End);
                continue;
            }
            (int start, int end) = span.End == 0 ? (OriginalStart, OriginalStart) : (_starts[_first + span.End - 1], _ends[_first + span.End - 1]);
            foreach (int c in content)
                text.Add(c, start, end);
        }
        text.MoveTo(this);
    }

    /// <summary>Cuts along the spans that <paramref name="pattern"/> finds; delimiters go where <paramref name="behavior"/> says.</summary>
    public List<NormalizedText> Split(TextPattern pattern, SplitBehavior behavior, bool invert = false)
    {
        List<Span> spans = pattern.Matches(Chars);
        if (invert)
            for (int i = 0; i < spans.Count; i++)
                spans[i] = spans[i] with { IsMatch = !spans[i].IsMatch };
        List<NormalizedText> pieces = new(spans.Count);
        foreach (Span span in SplitRule.Apply(spans, behavior))
            pieces.Add(Slice(span.Start, span.End));
        return pieces;
    }

    private void Adopt(int[] chars, int[] starts, int[] ends) => (_chars, _starts, _ends, _first, Length) = (chars, starts, ends, 0, chars.Length);

    /// <summary>Builds new text with alignments.</summary>
    internal sealed class TextBuilder(int capacity)
    {
        private readonly List<int> _newChars = new(capacity), _newStarts = new(capacity), _newEnds = new(capacity);

        public void Add(int c, int start, int end)
        {
            _newChars.Add(c);
            _newStarts.Add(start);
            _newEnds.Add(end);
        }

        public void Add(NormalizedText text, int start, int end)
        {
            _newChars.AddRange(text.Chars[start..end]);
            _newStarts.AddRange(text._starts.AsSpan(text._first + start, end - start));
            _newEnds.AddRange(text._ends.AsSpan(text._first + start, end - start));
        }

        public void MoveTo(NormalizedText text) => text.Adopt([.. _newChars], [.. _newStarts], [.. _newEnds]);
    }
}
