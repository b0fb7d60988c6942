namespace EdgeLora.Models;

/// <summary>Decodes ids as they come. No character is ever split: what may still change is held back. Pieces and tail together are the whole text.</summary>
public sealed class TokenStream
{
    private readonly Tokenizer _tokenizer;
    private readonly bool _skipSpecialTokens;
    private readonly List<int> _ids = [];
    private string _shown = "";
    private int _shownIds, _previousIds;

    internal TokenStream(Tokenizer tokenizer, bool skipSpecialTokens) => (_tokenizer, _skipSpecialTokens) = (tokenizer, skipSpecialTokens);

    /// <summary>The text that <paramref name="id"/> completes, or null if there is nothing new to show yet.</summary>
    public string? Push(int id)
    {
        if (_skipSpecialTokens && _tokenizer.IsSkipped(id))
            return null;
        _ids.Add(id);
        string text = Decode();
        if (text.Length <= _shown.Length || text.EndsWith('\uFFFD'))
            return null;
        string piece = Rest(text);
        // Two pieces stay as context: a decoder may look at the token before, and strips the first one.
        int kept = _ids.Count - _shownIds;
        _ids.RemoveRange(0, _previousIds);
        _previousIds = _ids.Count - kept;
        _shownIds = _ids.Count;
        _shown = Decode();
        return piece;
    }

    /// <summary>What was held back. The stream starts anew.</summary>
    public string Flush()
    {
        string text = Decode();
        string tail = text.Length > _shown.Length ? Rest(text) : "";
        _ids.Clear();
        (_shown, _shownIds, _previousIds) = ("", 0, 0);
        return tail;
    }

    private string Decode() => _tokenizer.Decode(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_ids), _skipSpecialTokens);

    private string Rest(string text)
    {
        int common = 0;
        // Where a byte run turned out to be broken, what was shown already cannot be taken back.
        while (common < _shown.Length && text[common] == _shown[common])
            common++;
        return common == _shown.Length ? text[common..] : text[_shown.Length..];
    }
}
