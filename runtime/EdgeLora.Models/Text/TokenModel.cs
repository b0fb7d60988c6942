namespace EdgeLora.Models;

/// <summary>A token of one piece of text; <c>[Start, End)</c> counts code points of the piece.</summary>
internal readonly record struct PieceToken(int Id, string Text, int Start, int End);

/// <summary>Encodes one piece of text at a time.</summary>
internal abstract class TokenModel(Vocabulary vocabulary)
{
    public Vocabulary Vocabulary { get; } = vocabulary;

    public abstract void Encode(ReadOnlySpan<int> piece, List<PieceToken> tokens);
}

/// <summary>A piece as UTF-16, with the unit at which each code point starts.</summary>
internal readonly ref struct PieceUnits
{
    private readonly int[]? _starts;

    public PieceUnits(ReadOnlySpan<int> piece, Span<char> buffer)
    {
        if (buffer.Length < piece.Length * 2)
            buffer = new char[piece.Length * 2];
        int length = CodePoints.Write(piece, buffer);
        Units = buffer[..length];
        if (length == piece.Length)
            return;
        _starts = new int[piece.Length + 1];
        for (int i = 0, at = 0; i < piece.Length; i++)
            _starts[i + 1] = at += piece[i] < 0x10000 ? 1 : 2;
    }

    public ReadOnlySpan<char> Units { get; }

    public ReadOnlySpan<char> Of(int start, int end) => _starts is null ? Units[start..end] : Units[_starts[start].._starts[end]];
}

/// <summary>Whole words only.</summary>
internal sealed class WordLevelModel(Vocabulary vocabulary, string? unknown) : TokenModel(vocabulary)
{
    public override void Encode(ReadOnlySpan<int> piece, List<PieceToken> tokens)
    {
        string word = CodePoints.ToString(piece);
        if (Vocabulary.IdOf(word) is { } id)
            tokens.Add(new(id, word, 0, piece.Length));
        else if (unknown is not null && Vocabulary.IdOf(unknown) is { } unknownId)
            tokens.Add(new(unknownId, unknown, 0, piece.Length));
        else
            throw new InvalidDataException($"the word \"{word}\" is not in the vocabulary, which has no unknown token");
    }
}

/// <summary>BERT's greedy longest match; one unknown part makes the whole word unknown.</summary>
internal sealed class WordPieceModel : TokenModel
{
    private readonly string _unknown, _prefix;
    private readonly int _maximumChars, _longest;

    public WordPieceModel(Vocabulary vocabulary, IEnumerable<string> tokens, string unknown, string prefix, int maximumChars) : base(vocabulary)
    {
        (_unknown, _prefix, _maximumChars) = (unknown, prefix, maximumChars);
        foreach (string token in tokens)
            _longest = Math.Max(_longest, token.Length);
    }

    public override void Encode(ReadOnlySpan<int> piece, List<PieceToken> tokens)
    {
        int first = tokens.Count;
        if (piece.Length > _maximumChars || !TryEncode(piece, tokens))
        {
            tokens.RemoveRange(first, tokens.Count - first);
            int id = Vocabulary.IdOf(_unknown) ?? throw new InvalidDataException($"the vocabulary lacks its unknown token \"{_unknown}\"");
            tokens.Add(new(id, _unknown, 0, piece.Length));
        }
    }

    private bool TryEncode(ReadOnlySpan<int> piece, List<PieceToken> tokens)
    {
        PieceUnits units = new(piece, stackalloc char[256]);
        char[] candidate = new char[_prefix.Length + units.Units.Length];
        _prefix.CopyTo(candidate);
        for (int start = 0; start < piece.Length;)
        {
            int end = Math.Min(piece.Length, start + _longest), id = -1;
            for (; end > start; end--)
            {
                ReadOnlySpan<char> part = units.Of(start, end);
                if (start > 0)
                {
                    part.CopyTo(candidate.AsSpan(_prefix.Length));
                    part = candidate.AsSpan(0, _prefix.Length + part.Length);
                }
                if (Vocabulary.TryGetId(part, out id))
                    break;
            }
            if (end == start)
                return false;
            tokens.Add(new(id, Vocabulary.TokenOf(id)!, start, end));
            start = end;
        }
        return true;
    }
}
