namespace EdgeLora.Models;

/// <summary>Cuts text into words, which a model then encodes one by one.</summary>
internal abstract class PreTokenizer
{
    /// <summary>Cuts every piece; empty ones vanish.</summary>
    public abstract List<NormalizedText> Split(List<NormalizedText> pieces);

    protected static List<NormalizedText> Each(List<NormalizedText> pieces, Func<NormalizedText, List<NormalizedText>> split)
    {
        List<NormalizedText> result = new(pieces.Count);
        foreach (NormalizedText piece in pieces)
            foreach (NormalizedText part in split(piece))
                if (part.Length > 0)
                    result.Add(part);
        return result;
    }
}

internal sealed class SequencePreTokenizer(IReadOnlyList<PreTokenizer> parts) : PreTokenizer
{
    public override List<NormalizedText> Split(List<NormalizedText> pieces)
    {
        foreach (PreTokenizer part in parts)
            pieces = part.Split(pieces);
        return pieces;
    }
}

/// <summary>Split, Punctuation, Digits, CharDelimiterSplit, Whitespace and WhitespaceSplit: a pattern and what becomes of its matches.</summary>
internal sealed class PatternPreTokenizer(TextPattern pattern, SplitBehavior behavior, bool invert = false) : PreTokenizer
{
    public override List<NormalizedText> Split(List<NormalizedText> pieces) => Each(pieces, p => p.Split(pattern, behavior, invert));
}

/// <summary>GPT-2: an optional space in front, an optional cut by its own pattern, and bytes as printable characters.</summary>
internal sealed class ByteLevelPreTokenizer(bool addPrefixSpace, bool useRegex) : PreTokenizer
{
    public const string Gpt2Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private static readonly RegexPattern s_pattern = new(Gpt2Pattern);

    public override List<NormalizedText> Split(List<NormalizedText> pieces)
    {
        pieces = Each(pieces, piece =>
        {
            if (addPrefixSpace && (piece.Length == 0 || piece.Chars[0] != ' '))
                piece.Prepend([' ']);
            return useRegex ? piece.Split(s_pattern, SplitBehavior.Isolated) : [piece];
        });
        foreach (NormalizedText piece in pieces)
            ByteAlphabet.Apply(piece);
        return pieces;
    }
}

/// <summary>Where <see cref="MetaspacePreTokenizer"/> puts its mark in front.</summary>
internal enum PrependScheme
{
    First,
    Never,
    Always,
}

/// <summary>SentencePiece's spaces: every space becomes <c>▁</c>, one may be put in front.</summary>
internal sealed class MetaspacePreTokenizer(int replacement, PrependScheme scheme, bool split) : PreTokenizer
{
    private static readonly LiteralPattern s_space = new(" ");

    private readonly LiteralPattern _mark = new(char.ConvertFromUtf32(replacement));

    public override List<NormalizedText> Split(List<NormalizedText> pieces) => Each(pieces, piece =>
    {
        piece.Replace(s_space, [replacement]);
        bool prepends = scheme == PrependScheme.Always || (scheme == PrependScheme.First && piece.OriginalStart == 0);
        if (prepends && piece.Length > 0 && piece.Chars[0] != replacement)
            piece.Prepend([replacement]);
        return split ? piece.Split(_mark, SplitBehavior.MergedWithNext) : [piece];
    });
}

/// <summary>Cuts where the script changes; kana counts as Han, a space belongs to any script.</summary>
internal sealed class ScriptPreTokenizer : PreTokenizer
{
    public override List<NormalizedText> Split(List<NormalizedText> pieces) => Each(pieces, piece =>
    {
        List<NormalizedText> parts = [];
        string? last = null;
        int start = -1;
        for (int i = 0; i < piece.Length; i++)
        {
            int c = piece.Chars[i];
            string script = c == 0x30FC ? "Han" : c == ' ' ? UnicodeScripts.Unassigned : UnicodeScripts.Of(c);
            if (script is "Hiragana" or "Katakana")
                script = "Han";
            if (script == UnicodeScripts.Unassigned)
                continue;
            if (last != script)
            {
                if (start >= 0)
                    parts.Add(piece.Slice(start, i));
                start = i;
            }
            last = script;
        }
        if (start >= 0)
            parts.Add(piece.Slice(start, piece.Length));
        return parts;
    });
}

/// <summary>Pieces of a fixed number of code points.</summary>
internal sealed class FixedLengthPreTokenizer(int length) : PreTokenizer
{
    public override List<NormalizedText> Split(List<NormalizedText> pieces) => Each(pieces, piece =>
    {
        List<NormalizedText> parts = [];
        for (int i = 0; i < piece.Length; i += length)
            parts.Add(piece.Slice(i, Math.Min(piece.Length, i + length)));
        return parts;
    });
}

/// <summary>BERT: white space removed, every punctuation character a word of its own.</summary>
internal sealed class BertPreTokenizer : PreTokenizer
{
    private static readonly ClassPattern s_space = new(CodePoints.IsWhiteSpace), s_punctuation = new(CodePoints.IsPunctuation);

    public override List<NormalizedText> Split(List<NormalizedText> pieces) =>
        Each(Each(pieces, p => p.Split(s_space, SplitBehavior.Removed)), p => p.Split(s_punctuation, SplitBehavior.Isolated));
}

/// <summary>Runs of word characters, runs of other characters; white space removed.</summary>
internal sealed class WordPattern : TextPattern
{
    protected override void Find(ReadOnlySpan<int> text, List<Span> spans)
    {
        for (int i = 0; i < text.Length;)
        {
            int start = i, kind = Kind(text[i]);
            while (i < text.Length && Kind(text[i]) == kind)
                i++;
            if (kind != 0)
                AddMatch(spans, start, i);
        }
    }

    private static int Kind(int c) => CodePoints.IsWordOrJoiner(c) ? 1 : CodePoints.IsWhiteSpace(c) ? 0 : 2;
}
