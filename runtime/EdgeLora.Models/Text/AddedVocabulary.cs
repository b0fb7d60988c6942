namespace EdgeLora.Models;

/// <summary>A token that is found in the text before the model sees it.</summary>
internal sealed record AddedToken(int Id, string Content, bool SingleWord = false, bool LStrip = false, bool RStrip = false, bool Normalized = false, bool Special = false);

/// <summary>A stretch of text, or (Id ≥ 0) an added token.</summary>
internal readonly record struct TextSection(NormalizedText Text, int Id);

/// <summary>Finds added tokens: those with normalized = false before the text is normalized, the others, themselves normalized, after it.</summary>
internal sealed class AddedVocabulary
{
    private readonly Dictionary<int, AddedToken> _byId = [];
    private readonly Dictionary<string, AddedToken> _byContent = [];
    private readonly HashSet<string> _special = [];
    private readonly Dictionary<int, string> _decoded = [];
    private readonly AddedToken[] _tokens;
    private readonly PieceTrie? _raw, _normalized;
    private readonly TextNormalizer? _normalizer;

    public AddedVocabulary(IEnumerable<AddedToken> tokens, TextNormalizer? normalizer)
    {
        _normalizer = normalizer;
        foreach (AddedToken token in tokens)
        {
            if (token.Content.Length == 0)
                continue;
            _byId[token.Id] = token;
            _byContent[token.Content] = token;
            if (token.Special)
                _special.Add(token.Content);
        }
        _tokens = [.. _byContent.Values];
        string[] contents = [.. _tokens.Select(Normalize)];
        for (int i = 0; i < contents.Length; i++)
            _decoded[_tokens[i].Id] = contents[i];
        _raw = Build(contents, normalized: false);
        _normalized = Build(contents, normalized: true);
    }

    public IReadOnlyList<AddedToken> Tokens => _tokens;

    public bool IsSpecial(string token) => _special.Contains(token);

    public AddedToken? Find(int id) => _byId.GetValueOrDefault(id);

    public AddedToken? Find(string content) => _byContent.GetValueOrDefault(content);

    /// <summary>Normalized sections in order, added tokens apart.</summary>
    public List<TextSection> Extract(NormalizedText text, bool specialsAsText)
    {
        List<TextSection> result = [];
        foreach (TextSection section in Split(text, _raw, specialsAsText))
        {
            if (section.Id >= 0)
            {
                result.Add(section);
                continue;
            }
            _normalizer?.Apply(section.Text);
            foreach (TextSection part in Split(section.Text, _normalized, specialsAsText))
                result.Add(part);
        }
        return result;
    }

    /// <summary>What a decoder sees: the content as it is found in the text, thus normalized where the token says so. Null for no added token.</summary>
    public string? Decoded(int id) => _decoded.GetValueOrDefault(id);

    private string Normalize(AddedToken token)
    {
        if (!token.Normalized || _normalizer is null)
            return token.Content;
        NormalizedText content = new(token.Content);
        _normalizer.Apply(content);
        return content.ToString();
    }

    private PieceTrie? Build(string[] contents, bool normalized)
    {
        List<(string, int)> found = [];
        for (int i = 0; i < contents.Length; i++)
            if (_tokens[i].Normalized == normalized && contents[i].Length > 0)
                found.Add((contents[i], i));
        return found.Count == 0 ? null : new(found);
    }

    private List<TextSection> Split(NormalizedText text, PieceTrie? trie, bool specialsAsText)
    {
        if (text.Length == 0)
            return [];
        if (trie is null)
            return [new(text, -1)];
        List<TextSection> sections = [];
        ReadOnlySpan<int> chars = text.Chars;
        int last = 0;
        for (int at = 0; at < chars.Length;)
        {
            (int value, int length) = trie.Longest(chars[at..]);
            if (value < 0)
            {
                at++;
                continue;
            }
            AddedToken token = _tokens[value];
            int start = at, stop = at += length;
            if (specialsAsText && token.Special)
                continue;
            if (token.SingleWord && ((start > 0 && CodePoints.IsWordOrJoiner(chars[start - 1])) || (stop < chars.Length && CodePoints.IsWordOrJoiner(chars[stop]))))
                continue;
            if (token.LStrip)
            {
                while (start > 0 && CodePoints.IsWhiteSpace(chars[start - 1]))
                    start--;
                start = Math.Max(start, last);
            }
            while (token.RStrip && stop < chars.Length && CodePoints.IsWhiteSpace(chars[stop]))
                stop++;
            if (last < start)
                sections.Add(new(text.Slice(last, start), -1));
            sections.Add(new(text.Slice(start, stop), token.Id));
            last = stop;
        }
        if (last < chars.Length)
            sections.Add(new(text.Slice(last, chars.Length), -1));
        return sections;
    }
}
