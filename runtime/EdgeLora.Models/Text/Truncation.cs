namespace EdgeLora.Models;

/// <summary>Which text of a pair gives way.</summary>
internal enum TruncationStrategy
{
    LongestFirst,
    OnlyFirst,
    OnlySecond,
}

/// <summary>The truncation section of tokenizer.json.</summary>
internal sealed record Truncation(int MaximumLength, int Stride, TruncationStrategy Strategy, bool FromLeft)
{
    /// <summary>Shortens so that <paramref name="reserved"/> added tokens still fit.</summary>
    public (Encoding First, Encoding? Second) Apply(Encoding first, Encoding? second, int reserved)
    {
        int maximum = MaximumLength - reserved;
        if (maximum < 0)
            throw new ArgumentException($"truncation to {MaximumLength} tokens leaves no room for {reserved} special tokens");
        if (maximum == 0)
            return (Cut(first, 0), second is null ? null : Cut(second, 0));
        int total = first.Length + (second?.Length ?? 0), remove = total - maximum;
        if (remove <= 0)
            return (first, second);
        if (Strategy == TruncationStrategy.LongestFirst)
        {
            if (second is null)
                return (Cut(first, maximum), null);
            (int a, int b) = (Math.Min(first.Length, second.Length), 0);
            b = a > maximum ? a : Math.Max(a, maximum - a);
            if (a + b > maximum)
                (a, b) = (maximum / 2, maximum / 2 + maximum % 2);
            return first.Length > second.Length ? (Cut(first, b), Cut(second, a)) : (Cut(first, a), Cut(second, b));
        }
        Encoding target = Strategy == TruncationStrategy.OnlyFirst ? first : second ?? throw new ArgumentException("truncation: second sequence not provided");
        if (target.Length <= remove)
            throw new ArgumentException("truncation: the sequence to truncate is too short to respect the maximum length");
        Encoding cut = Cut(target, target.Length - remove);
        return Strategy == TruncationStrategy.OnlyFirst ? (cut, second) : (first, cut);
    }

    private Encoding Cut(Encoding encoding, int length)
    {
        if (length >= encoding.Length)
            return encoding;
        if (length == 0)
            return Encoding.Of([], [], [], 0) with { Overflowing = [encoding] };
        if (Stride >= length)
            throw new ArgumentException($"truncation: the stride of {Stride} must be less than the length of {length} that special tokens leave");
        List<Encoding> windows = [];
        for (int at = 0; ; at += length - Stride)
        {
            (int start, int end) = FromLeft ? (Math.Max(0, encoding.Length - at - length), encoding.Length - at) : (at, Math.Min(at + length, encoding.Length));
            windows.Add(encoding.Slice(start, end));
            if (FromLeft ? start == 0 : end == encoding.Length)
                break;
        }
        return windows[0] with { Overflowing = windows[1..] };
    }
}

/// <summary>The padding section of tokenizer.json; no fixed length means the longest of a batch.</summary>
internal sealed record Padding(int? FixedLength, bool Left, int? MultipleOf, int Id, int TypeId, string Token)
{
    public IReadOnlyList<Encoding> Apply(IReadOnlyList<Encoding> batch)
    {
        int length = FixedLength ?? (batch.Count == 0 ? 0 : batch.Max(e => e.Length));
        if (MultipleOf is > 0 and int multiple && length % multiple > 0)
            length += multiple - length % multiple;
        return [.. batch.Select(e => Pad(e, length))];
    }

    private Encoding Pad(Encoding encoding, int length)
    {
        Encoding[] overflowing = [.. encoding.Overflowing.Select(o => Pad(o, length))];
        int missing = length - encoding.Length;
        if (missing <= 0)
            return encoding with { Overflowing = overflowing };
        int[] ids = new int[missing];
        string[] tokens = new string[missing];
        Array.Fill(ids, Id);
        Array.Fill(tokens, Token);
        Encoding pad = Encoding.Added(ids, tokens, TypeId) with { AttentionMask = new int[missing] };
        Encoding bare = encoding with { Overflowing = [] };
        return Encoding.Merge(Left ? [pad, bare] : [bare, pad]) with { Overflowing = overflowing };
    }
}
