using System.Collections.Concurrent;
using System.Globalization;

namespace EdgeLora.Models;

/// <summary>How a <see cref="BpeModel"/> treats what its vocabulary lacks, and where words begin and end.</summary>
internal sealed record BpeOptions(string? Unknown = null, string Prefix = "", string Suffix = "", bool FuseUnknown = false, bool ByteFallback = false, bool IgnoreMerges = false);

/// <summary>Byte-pair encoding by a table of merges: the lowest rank first, of equal ones the leftmost.</summary>
internal sealed class BpeModel : TokenModel
{
    private const int MaximumCachedUnits = 64, MaximumCachedWords = 20_000;

    private readonly Dictionary<ulong, (int Rank, int Id)> _merges;
    private readonly BpeOptions _options;
    private readonly int? _unknownId;
    private readonly int[] _byteIds = new int[256];
    private readonly ConcurrentDictionary<string, PieceToken[]> _cache = new();
    private readonly ConcurrentDictionary<string, PieceToken[]>.AlternateLookup<ReadOnlySpan<char>> _cached;
    private int _cachedWords;

    public BpeModel(Vocabulary vocabulary, Dictionary<ulong, (int Rank, int Id)> merges, BpeOptions options) : base(vocabulary)
    {
        (_merges, _options) = (merges, options);
        _cached = _cache.GetAlternateLookup<ReadOnlySpan<char>>();
        _unknownId = options.Unknown is null ? null : vocabulary.IdOf(options.Unknown);
        for (int b = 0; b < 256; b++)
            _byteIds[b] = vocabulary.IdOf("<0x" + b.ToString("X2", CultureInfo.InvariantCulture) + ">") ?? -1;
    }

    public static ulong Pair(int left, int right) => (ulong)(uint)left << 32 | (uint)right;

    public override void Encode(ReadOnlySpan<int> piece, List<PieceToken> tokens)
    {
        PieceUnits units = new(piece, stackalloc char[256]);
        bool cacheable = units.Units.Length <= MaximumCachedUnits;
        if (cacheable && _cached.TryGetValue(units.Units, out PieceToken[]? known))
        {
            tokens.AddRange(known);
            return;
        }
        int first = tokens.Count;
        if (_options.IgnoreMerges && Vocabulary.TryGetId(units.Units, out int whole))
            tokens.Add(new(whole, Vocabulary.TokenOf(whole)!, 0, piece.Length));
        else
            EncodeWord(piece, units, tokens);
        if (cacheable && Interlocked.Increment(ref _cachedWords) <= MaximumCachedWords)
            _cache[units.Units.ToString()] = [.. tokens[first..]];
    }

    private void EncodeWord(ReadOnlySpan<int> piece, PieceUnits units, List<PieceToken> tokens)
    {
        BpeSymbols symbols = new(piece.Length);
        bool dropped = false, unknownPending = false;
        int unknownStart = 0, unknownEnd = 0;
        for (int i = 0; i < piece.Length; i++)
        {
            if (TryFind(units.Of(i, i + 1), i == 0, i == piece.Length - 1, out int id))
            {
                if (unknownPending)
                    symbols.Add(_unknownId!.Value, unknownStart, unknownEnd);
                unknownPending = false;
                symbols.Add(id, i, i + 1);
            }
            else if (_options.ByteFallback && AddBytes(piece[i], i, symbols))
            {
                // A pending unknown stays pending, as in the library that set the rule.
            }
            else if (_unknownId is null)
            {
                dropped = true;
            }
            else
            {
                if (unknownPending && !_options.FuseUnknown)
                    symbols.Add(_unknownId.Value, unknownStart, unknownEnd);
                if (!unknownPending || !_options.FuseUnknown)
                    unknownStart = i;
                unknownEnd = i + 1;
                unknownPending = true;
            }
        }
        if (unknownPending)
            symbols.Add(_unknownId!.Value, unknownStart, unknownEnd);
        symbols.Merge(_merges);
        int before = tokens.Count;
        symbols.CopyTo(Vocabulary, tokens);
        if (dropped)
            CloseGaps(piece, tokens, before);
    }

    private bool TryFind(ReadOnlySpan<char> c, bool isFirst, bool isLast, out int id)
    {
        string prefix = isFirst ? "" : _options.Prefix, suffix = isLast ? _options.Suffix : "";
        return prefix.Length + suffix.Length == 0 ? Vocabulary.TryGetId(c, out id) : Vocabulary.TryGetId(string.Concat(prefix, c, suffix), out id);
    }

    private bool AddBytes(int c, int at, BpeSymbols symbols)
    {
        Span<byte> bytes = stackalloc byte[4];
        bytes = bytes[..ByteAlphabet.Encode(c, bytes)];
        foreach (byte b in bytes)
            if (_byteIds[b] < 0)
                return false;
        foreach (byte b in bytes)
            symbols.Add(_byteIds[b], at, at + 1);
        return true;
    }

    // Characters that vanished take no place: what follows moves left by their bytes, as in the library that set the rule.
    private static void CloseGaps(ReadOnlySpan<int> piece, List<PieceToken> tokens, int first)
    {
        List<int> owners = [];
        for (int i = 0; i < piece.Length; i++)
            for (int b = CodePoints.Utf8Length(piece[i]); b > 0; b--)
                owners.Add(i);
        int at = 0;
        for (int t = first; t < tokens.Count; t++)
        {
            int bytes = 0;
            for (int i = tokens[t].Start; i < tokens[t].End; i++)
                bytes += CodePoints.Utf8Length(piece[i]);
            tokens[t] = tokens[t] with { Start = owners[at], End = owners[at + bytes - 1] + 1 };
            at += bytes;
        }
    }
}

/// <summary>The symbols of one word while they merge: a linked list in arrays.</summary>
internal sealed class BpeSymbols(int capacity)
{
    private const int ScanLimit = 32;

    private int[] _ids = new int[capacity], _starts = new int[capacity], _ends = new int[capacity];
    private int[] _next = [], _previous = [];
    private int _count;

    public void Add(int id, int start, int end)
    {
        if (_count == _ids.Length)
        {
            int size = Math.Max(4, _count * 2);
            Array.Resize(ref _ids, size);
            Array.Resize(ref _starts, size);
            Array.Resize(ref _ends, size);
        }
        (_ids[_count], _starts[_count], _ends[_count]) = (id, start, end);
        _count++;
    }

    public void Merge(Dictionary<ulong, (int Rank, int Id)> merges)
    {
        _next = new int[_count];
        _previous = new int[_count];
        for (int i = 0; i < _count; i++)
            (_next[i], _previous[i]) = (i + 1 < _count ? i + 1 : -1, i - 1);
        if (_count <= ScanLimit)
            MergeByScan(merges);
        else
            MergeByQueue(merges);
    }

    public void CopyTo(Vocabulary vocabulary, List<PieceToken> tokens)
    {
        for (int i = _count > 0 ? 0 : -1; i >= 0; i = _next[i])
            tokens.Add(new(_ids[i], vocabulary.TokenOf(_ids[i])!, _starts[i], _ends[i]));
    }

    private void MergeByScan(Dictionary<ulong, (int Rank, int Id)> merges)
    {
        Span<int> ranks = stackalloc int[ScanLimit], merged = stackalloc int[ScanLimit];
        void Rate(int i, Span<int> r, Span<int> m) =>
            (r[i], m[i]) = _next[i] >= 0 && merges.TryGetValue(BpeModel.Pair(_ids[i], _ids[_next[i]]), out (int Rank, int Id) merge) ? merge : (int.MaxValue, -1);
        for (int i = 0; i < _count; i++)
            Rate(i, ranks, merged);
        while (true)
        {
            int best = -1;
            for (int i = _count > 0 ? 0 : -1; i >= 0; i = _next[i])
                if (merged[i] >= 0 && (best < 0 || ranks[i] < ranks[best]))
                    best = i;
            if (best < 0)
                return;
            Join(best, merged[best]);
            Rate(best, ranks, merged);
            if (_previous[best] >= 0)
                Rate(_previous[best], ranks, merged);
        }
    }

    private void MergeByQueue(Dictionary<ulong, (int Rank, int Id)> merges)
    {
        PriorityQueue<(int At, int Id), long> queue = new(_count);
        void Offer(int i)
        {
            if (i >= 0 && _next[i] >= 0 && merges.TryGetValue(BpeModel.Pair(_ids[i], _ids[_next[i]]), out (int Rank, int Id) merge))
                queue.Enqueue((i, merge.Id), (long)merge.Rank << 32 | (uint)i);
        }
        for (int i = 0; i < _count; i++)
            Offer(i);
        while (queue.TryDequeue(out (int At, int Id) top, out _))
        {
            int i = top.At;
            // Stale: one of the two has merged with something else since.
            if (_ids[i] < 0 || _next[i] < 0 || !merges.TryGetValue(BpeModel.Pair(_ids[i], _ids[_next[i]]), out (int Rank, int Id) merge) || merge.Id != top.Id)
                continue;
            Join(i, top.Id);
            Offer(_previous[i]);
            Offer(i);
        }
    }

    private void Join(int left, int id)
    {
        int right = _next[left];
        (_ids[left], _ends[left], _next[left]) = (id, _ends[right], _next[right]);
        if (_next[right] >= 0)
            _previous[_next[right]] = left;
        _ids[right] = -1;
    }
}
