namespace EdgeLora.Models;

/// <summary>A span of code points that a pattern matched, or the gap between two matches.</summary>
internal readonly record struct Span(int Start, int End, bool IsMatch);

/// <summary>What becomes of a delimiter when text is split at it.</summary>
internal enum SplitBehavior
{
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// <summary>Turns matches and gaps into pieces.</summary>
internal static class SplitRule
{
    public static List<Span> Apply(List<Span> spans, SplitBehavior behavior)
    {
        switch (behavior)
        {
            case SplitBehavior.Isolated:
                return spans;
            case SplitBehavior.Removed:
                spans.RemoveAll(s => s.IsMatch);
                return spans;
        }
        List<Span> pieces = new(spans.Count);
        bool previous = false;
        if (behavior == SplitBehavior.MergedWithNext)
        {
            for (int i = spans.Count - 1; i >= 0; i--)
            {
                Span span = spans[i];
                if (span.IsMatch && !previous && pieces.Count > 0)
                    pieces[^1] = pieces[^1] with { Start = span.Start };
                else
                    pieces.Add(span);
                previous = span.IsMatch;
            }
            pieces.Reverse();
            return pieces;
        }
        foreach (Span span in spans)
        {
            bool joins = behavior == SplitBehavior.Contiguous ? span.IsMatch == previous : span.IsMatch && !previous;
            if (joins && pieces.Count > 0)
                pieces[^1] = pieces[^1] with { End = span.End };
            else
                pieces.Add(span);
            previous = span.IsMatch;
        }
        return pieces;
    }
}
