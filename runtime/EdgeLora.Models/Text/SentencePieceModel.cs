namespace EdgeLora.Models;

/// <summary>Segments as SentencePiece does (bpe_model.cc, unigram_model.cc), with its byte fallback; neighbouring unknowns are one token.</summary>
internal sealed class SentencePieceModel : TokenModel
{
    private const float UnknownPenalty = 10;

    private readonly SentencePieceVocabulary _pieces;
    private readonly PieceTrie? _trie;
    private readonly float _minimumScore = float.MaxValue, _maximumScore = float.MinValue;

    public SentencePieceModel(Vocabulary vocabulary, SentencePieceVocabulary pieces) : base(vocabulary)
    {
        _pieces = pieces;
        if (pieces.Kind != SentencePieceKind.Unigram)
            return;
        _trie = new(pieces.Segmentable.Select(p => (p.Key, p.Value)));
        foreach (SentencePiece piece in pieces.Pieces)
            if (piece.Kind == PieceKind.Normal)
                (_minimumScore, _maximumScore) = (Math.Min(_minimumScore, piece.Score), Math.Max(_maximumScore, piece.Score));
    }

    public SentencePieceVocabulary Pieces => _pieces;

    public override void Encode(ReadOnlySpan<int> piece, List<PieceToken> tokens)
    {
        if (_pieces.WholeFirst && _pieces.TryGetId(CodePoints.ToString(piece), out int whole))
        {
            tokens.Add(new(whole, _pieces.Pieces[whole].Text, 0, piece.Length));
            return;
        }
        List<(int Start, int End, int Id)> parts = _pieces.Kind switch
        {
            SentencePieceKind.Bpe => SentencePieceMerger.Encode(_pieces, piece),
            SentencePieceKind.Unigram => EncodeUnigram(piece),
            SentencePieceKind.Word => EncodeWords(piece),
            _ => [.. Symbols(_pieces, piece).Select(s => (s.Start, s.End, s.Id))],
        };
        bool afterUnknown = false;
        foreach ((int start, int end, int id) in parts)
        {
            bool unknown = id < 0 || id == _pieces.UnknownId;
            if (!unknown)
                tokens.Add(new(id, _pieces.Pieces[id].Text, start, end));
            else if (_pieces.ByteFallback)
                AddBytes(piece, start, end, tokens);
            else if (afterUnknown)
                tokens[^1] = tokens[^1] with { Text = tokens[^1].Text + CodePoints.ToString(piece[start..end]), End = end };
            else
                tokens.Add(new(_pieces.UnknownOrThrow, CodePoints.ToString(piece[start..end]), start, end));
            afterUnknown = unknown;
        }
    }

    /// <summary>User-defined texts (frozen) and single code points, with their ids or -1.</summary>
    public static List<(int Start, int End, int Id, bool Frozen)> Symbols(SentencePieceVocabulary pieces, ReadOnlySpan<int> piece)
    {
        List<(int, int, int, bool)> symbols = new(piece.Length);
        Span<char> units = stackalloc char[2];
        for (int at = 0; at < piece.Length;)
        {
            (int value, int length) = pieces.UserDefined?.Longest(piece[at..]) ?? (-1, 0);
            if (value >= 0)
            {
                symbols.Add((at, at + length, value, true));
                at += length;
                continue;
            }
            bool known = pieces.TryGetId(units[..CodePoints.Write(piece.Slice(at, 1), units)], out int id);
            symbols.Add((at, at + 1, known ? id : -1, false));
            at++;
        }
        return symbols;
    }

    private void AddBytes(ReadOnlySpan<int> piece, int start, int end, List<PieceToken> tokens)
    {
        Span<byte> bytes = stackalloc byte[4];
        for (int i = start; i < end; i++)
            foreach (byte b in bytes[..ByteAlphabet.Encode(piece[i], bytes)])
            {
                int id = _pieces.ByteId(b) is >= 0 and int known ? known : _pieces.UnknownOrThrow;
                tokens.Add(new(id, _pieces.Pieces[id].Text, i, i + 1));
            }
    }

    private List<(int Start, int End, int Id)> EncodeWords(ReadOnlySpan<int> piece)
    {
        List<(int, int, int)> parts = [];
        for (int start = 0; start < piece.Length;)
        {
            int end = start + 1;
            while (end < piece.Length && piece[end] != SentencePieceVocabulary.Mark)
                end++;
            parts.Add((start, end, _pieces.TryGetId(CodePoints.ToString(piece[start..end]), out int id) ? id : -1));
            start = end;
        }
        return parts;
    }

    // Scores are kept in single precision and compared in double, as sentencepiece's C++ does: ties depend on it.
    private List<(int Start, int End, int Id)> EncodeUnigram(ReadOnlySpan<int> piece)
    {
        int size = piece.Length;
        float[] best = new float[size + 1];
        int[] from = new int[size + 1], ids = new int[size + 1];
        Array.Fill(from, -1);
        float unknownScore = _minimumScore - UnknownPenalty;
        for (int start = 0; start < size; start++)
        {
            bool single = false;
            int node = 0, bytes = 0;
            for (int i = start; i < size && (node = _trie!.Step(node, piece[i])) >= 0; i++)
            {
                bytes += CodePoints.Utf8Length(piece[i]);
                int id = _trie.Value(node);
                if (id < 0 || _pieces.Pieces[id].Kind == PieceKind.Unused)
                    continue;
                double score = _pieces.Pieces[id].Kind == PieceKind.UserDefined ? bytes * _maximumScore - 0.1 : _pieces.Pieces[id].Score;
                Offer(start, i + 1, id, score + best[start]);
                single |= i == start;
            }
            if (!single)
                Offer(start, start + 1, -1, unknownScore + best[start]);
        }
        List<(int, int, int)> parts = [];
        for (int end = size; end > 0; end = from[end])
            parts.Add((from[end], end, ids[end]));
        parts.Reverse();
        return parts;

        void Offer(int start, int end, int id, double score)
        {
            if (from[end] < 0 || score > best[end])
                (from[end], best[end], ids[end]) = (start, (float)score, id);
        }
    }
}

/// <summary>SentencePiece's BPE: of all neighbours whose joined text is a piece, the best score joins first, then the leftmost.</summary>
internal static class SentencePieceMerger
{
    public static List<(int Start, int End, int Id)> Encode(SentencePieceVocabulary pieces, ReadOnlySpan<int> piece)
    {
        List<(int Start, int End, int Id, bool Frozen)> symbols = SentencePieceModel.Symbols(pieces, piece);
        int count = symbols.Count;
        int[] starts = new int[count], ends = new int[count], ids = new int[count], next = new int[count], previous = new int[count];
        for (int i = 0; i < count; i++)
        {
            (starts[i], ends[i], ids[i]) = (symbols[i].Start, symbols[i].End, symbols[i].Id);
            (next[i], previous[i]) = (i + 1 < count ? i + 1 : -1, i - 1);
        }
        PieceUnits units = new(piece, stackalloc char[512]);
        PriorityQueue<(int Left, int Length, int Id, int Right), (float, int)> queue = new(count, new ByScore());
        Dictionary<int, (int Left, int Right)>? unusedParts = null;
        for (int i = 0; i + 1 < count; i++)
            Offer(i, i + 1, units);
        while (queue.TryDequeue(out (int Left, int Length, int Id, int Right) top, out _))
        {
            (int left, int right) = (top.Left, top.Right);
            // Stale: one of the two has joined something else since.
            if (ends[left] < 0 || ends[right] < 0 || next[left] != right || ends[right] - starts[left] != top.Length)
                continue;
            (ends[left], ids[left], next[left]) = (ends[right], top.Id, next[right]);
            ends[right] = -1;
            if (next[left] >= 0)
                previous[next[left]] = left;
            Offer(previous[left], left, units);
            Offer(left, next[left], units);
        }
        List<(int, int, int)> parts = [];
        for (int i = count > 0 ? 0 : -1; i >= 0; i = next[i])
            AddUsed(starts[i], ends[i], ids[i]);
        return parts;

        void Offer(int left, int right, PieceUnits text)
        {
            if (left < 0 || right < 0 || symbols[left].Frozen || symbols[right].Frozen || !pieces.TryGetId(text.Of(starts[left], ends[right]), out int id))
                return;
            queue.Enqueue((left, ends[right] - starts[left], id, right), (pieces.Pieces[id].Score, left));
            if (pieces.Pieces[id].Kind == PieceKind.Unused)
                (unusedParts ??= [])[id] = (ids[left], ids[right]);
        }

        // An unused piece gives way to the two that made it.
        void AddUsed(int start, int end, int id)
        {
            if (id < 0 || pieces.Pieces[id].Kind != PieceKind.Unused || unusedParts is null || !unusedParts.TryGetValue(id, out (int Left, int Right) made))
            {
                parts.Add((start, end, id));
                return;
            }
            int middle = start + (made.Left < 0 ? 1 : CodePoints.Of(pieces.Pieces[made.Left].Text).Length);
            AddUsed(start, middle, made.Left);
            AddUsed(middle, end, made.Right);
        }
    }

    private sealed class ByScore : IComparer<(float Score, int At)>
    {
        public int Compare((float Score, int At) x, (float Score, int At) y) => x.Score != y.Score ? y.Score.CompareTo(x.Score) : x.At.CompareTo(y.At);
    }
}
