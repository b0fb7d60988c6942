using System.Globalization;

namespace EdgeLora.Models;

/// <summary>The most probable segmentation of a piece under independent token probabilities (arXiv:1804.10959), as tokenizer.json defines it.</summary>
internal sealed class UnigramModel : TokenModel
{
    private const double UnknownPenalty = 10;

    private readonly double[] _scores;
    private readonly int? _unknownId;
    private readonly bool _byteFallback;
    private readonly PieceTrie _trie;
    private readonly double _unknownScore;

    public UnigramModel(Vocabulary vocabulary, IReadOnlyList<string> pieces, double[] scores, int? unknownId, bool byteFallback) : base(vocabulary)
    {
        (_scores, _unknownId, _byteFallback) = (scores, unknownId, byteFallback);
        _trie = new(pieces.Select((p, i) => (p, i)));
        _unknownScore = (scores.Length == 0 ? 0 : scores.Min()) - UnknownPenalty;
    }

    public override void Encode(ReadOnlySpan<int> piece, List<PieceToken> tokens)
    {
        int size = piece.Length;
        double[] best = new double[size + 1];
        int[] from = new int[size + 1], ids = new int[size + 1];
        Array.Fill(from, -1);
        for (int start = 0; start < size; start++)
        {
            bool single = false;
            int node = 0;
            for (int i = start; i < size && (node = _trie.Step(node, piece[i])) >= 0; i++)
            {
                int id = _trie.Value(node);
                if (id < 0)
                    continue;
                Offer(start, i + 1, id, best[start] + _scores[id]);
                single |= i == start;
            }
            if (!single)
                Offer(start, start + 1, _unknownId ?? throw new InvalidDataException("the vocabulary lacks a character and has no unknown token"), best[start] + _unknownScore);
        }
        List<(int Start, int End)> parts = [];
        for (int end = size; end > 0; end = from[end])
        {
            // Neighbouring unknowns are one token.
            if (ids[end] == _unknownId && parts.Count > 0 && parts[^1].Start == end && ids[parts[^1].End] == _unknownId)
                parts[^1] = (from[end], parts[^1].End);
            else
                parts.Add((from[end], end));
        }
        for (int i = parts.Count - 1; i >= 0; i--)
            Add(piece, parts[i].Start, parts[i].End, tokens);

        void Offer(int start, int end, int id, double score)
        {
            if (from[end] < 0 || score > best[end])
                (from[end], best[end], ids[end]) = (start, score, id);
        }
    }

    private void Add(ReadOnlySpan<int> piece, int start, int end, List<PieceToken> tokens)
    {
        string text = CodePoints.ToString(piece[start..end]);
        if (Vocabulary.IdOf(text) is { } id)
        {
            tokens.Add(new(id, text, start, end));
            return;
        }
        if (_byteFallback)
        {
            string[] names = [.. System.Text.Encoding.UTF8.GetBytes(text).Select(b => "<0x" + b.ToString("X2", CultureInfo.InvariantCulture) + ">")];
            if (Array.TrueForAll(names, n => Vocabulary.IdOf(n) is not null))
            {
                tokens.AddRange(names.Select(n => new PieceToken(Vocabulary.IdOf(n)!.Value, n, start, end)));
                return;
            }
        }
        tokens.Add(new(_unknownId ?? throw new InvalidDataException("the vocabulary lacks a character and has no unknown token"), text, start, end));
    }
}
