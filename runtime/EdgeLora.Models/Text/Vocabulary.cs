namespace EdgeLora.Models;

/// <summary>Tokens and their ids, both ways. Ids may have gaps.</summary>
internal sealed class Vocabulary
{
    private readonly Dictionary<string, int> _ids;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private readonly Dictionary<int, string>? _sparse;
    private readonly string?[] _tokens = [];

    /// <summary>The last of several tokens with one id names it.</summary>
    public Vocabulary(Dictionary<string, int> ids)
    {
        _ids = ids;
        _lookup = ids.GetAlternateLookup<ReadOnlySpan<char>>();
        int maximum = -1;
        foreach (int id in ids.Values)
            maximum = Math.Max(maximum, id);
        // A lone huge id must not cost memory.
        if (maximum < 4L * ids.Count + 1024)
        {
            _tokens = new string?[maximum + 1];
            foreach ((string token, int id) in ids)
                _tokens[id] = token;
            return;
        }
        _sparse = new(ids.Count);
        foreach ((string token, int id) in ids)
            _sparse[id] = token;
    }

    public int Count => _ids.Count;

    public int? IdOf(string token) => _ids.TryGetValue(token, out int id) ? id : null;

    public bool TryGetId(ReadOnlySpan<char> token, out int id) => _lookup.TryGetValue(token, out id);

    public string? TokenOf(int id) => _sparse is not null ? _sparse.GetValueOrDefault(id) : (uint)id < (uint)_tokens.Length ? _tokens[id] : null;
}
