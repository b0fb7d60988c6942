using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What a vocabulary file gives: the whole pipeline from text to ids and back.</summary>
internal sealed record TokenizerParts(string Path, TokenModel Model)
{
    public TextNormalizer? Normalizer { get; init; }

    public PreTokenizer? PreTokenizer { get; init; }

    public PostProcessor? PostProcessor { get; init; }

    public TokenDecoder Decoder { get; init; } = new SpaceDecoder();

    public IReadOnlyList<AddedToken> AddedTokens { get; init; } = [];

    public Truncation? Truncation { get; init; }

    public Padding? Padding { get; init; }

    public string? UnknownToken { get; init; }

    public TokenizerConfig Config { get; init; } = new();

    /// <summary>End tokens that the file itself knows of, beside eos.</summary>
    public IReadOnlyList<int> EndIds { get; init; } = [];
}

/// <summary>
/// Text to token ids and back. Reads tokenizer.json, tokenizer.model, vocab.json with merges.txt, vocab.txt, tiktoken ranks and GGUF vocabularies;
/// each follows the reference of its own format. Safe for concurrent use.
/// </summary>
public sealed class Tokenizer
{
    private readonly TokenizerParts _parts;
    private readonly AddedVocabulary _added;

    internal Tokenizer(TokenizerParts parts)
    {
        _parts = parts;
        _added = new(parts.AddedTokens, parts.Normalizer);
        VocabularySize = parts.Model.Vocabulary.Count + _added.Tokens.Count(t => parts.Model.Vocabulary.IdOf(t.Content) is null);
        SpecialTokens = parts.Config.SpecialTokens;
        BosId = Special("bos_token");
        EosId = Special("eos_token");
        PadId = Special("pad_token");
        UnknownId = Special("unk_token") ?? (parts.UnknownToken is null ? null : TokenId(parts.UnknownToken));
        List<int> ends = [];
        if (EosId is { } eos)
            ends.Add(eos);
        ends.AddRange(parts.EndIds.Concat(parts.Config.EndIds).Where(id => TokenText(id) is not null));
        EndIds = [.. ends.Distinct()];
    }

    /// <summary>Number of tokens, added ones included.</summary>
    public int VocabularySize { get; }

    /// <summary>Beginning of a text; null where the files name none.</summary>
    public int? BosId { get; }

    /// <summary>End of a text; null where the files name none.</summary>
    public int? EosId { get; }

    /// <summary>Stands for what the vocabulary lacks; null where it lacks nothing.</summary>
    public int? UnknownId { get; }

    /// <summary>Padding; null where the files name none.</summary>
    public int? PadId { get; }

    /// <summary>Every token that ends a generation: eos, and what generation_config.json or the GGUF adds.</summary>
    public IReadOnlyList<int> EndIds { get; }

    /// <summary>The chat template, a Jinja text; null where the files hold none.</summary>
    public string? ChatTemplate => _parts.Config.ChatTemplate;

    /// <summary>Texts of the special tokens by role: <c>bos_token</c>, <c>eos_token</c>, …</summary>
    public IReadOnlyDictionary<string, string> SpecialTokens { get; }

    /// <summary>
    /// Reads a folder (tokenizer.json, tokenizer.model, vocab.json + merges.txt or vocab.txt, the first that is there) or one such file.
    /// tokenizer_config.json, special_tokens_map.json, generation_config.json and chat_template.jinja beside it are heeded.
    /// </summary>
    /// <exception cref="ModelFileException">The file is broken or of an unknown kind.</exception>
    public static Tokenizer Load(string path) => TokenizerFiles.Load(path);

    /// <summary>Copies the files that make a tokenizer, its settings and chat template from one model folder into another. Throws <see cref="IOException"/> as the file system does.</summary>
    public static void CopyFiles(string folder, string target) => TokenizerFiles.Copy(folder, target);

    /// <summary>Reads the <c>tokenizer.ggml.*</c> metadata of a GGUF file; <paramref name="file"/> names it in errors.</summary>
    /// <exception cref="ModelFileException">The metadata is broken or of an unknown kind.</exception>
    public static Tokenizer FromGguf(IReadOnlyDictionary<string, object> metadata, string file) => GgufVocabulary.Read(metadata, file);

    /// <summary>
    /// Writes the vocabulary in a GGUF file's metadata as the files of a model folder: tokenizer.json, or tokenizer.model for SentencePiece, and tokenizer_config.json. Gives false, and writes nothing, where the
    /// file has none.
    /// </summary>
    /// <exception cref="ModelFileException">The metadata is broken or of a kind that is not written.</exception>
    public static bool WriteGgufAsFiles(IReadOnlyDictionary<string, object> metadata, string file, string folder) => GgufTokenizerFiles.Write(metadata, file, folder);

    /// <summary>Encodes one text. Truncation and padding sections of tokenizer.json apply, as in the reference library.</summary>
    /// <param name="text">Any text; a lone surrogate counts as U+FFFD.</param>
    /// <param name="addSpecialTokens">Lets the post-processor add its tokens.</param>
    /// <param name="specialsAsText">Takes special tokens that stand in the text as plain text: for text that a user typed.</param>
    public Encoding Encode(string text, bool addSpecialTokens = true, bool specialsAsText = false) =>
        Finish(EncodeText(text, 0, specialsAsText), null, addSpecialTokens);

    /// <summary>Encodes a pair of texts.</summary>
    public Encoding EncodePair(string text, string pair, bool addSpecialTokens = true) =>
        Finish(EncodeText(text, 0, false), EncodeText(pair, 1, false), addSpecialTokens);

    /// <summary>Encodes texts that are padded to one length where tokenizer.json has a padding section.</summary>
    public IReadOnlyList<Encoding> EncodeBatch(IReadOnlyList<string> texts, bool addSpecialTokens = true)
    {
        Encoding[] batch = [.. texts.Select(t => Encode(t, addSpecialTokens))];
        return _parts.Padding?.Apply(batch) ?? batch;
    }

    /// <summary>The ids of one text, all of them: neither truncated nor padded, for a prompt must not be cut silently.</summary>
    public int[] EncodeIds(string text, bool addSpecialTokens = true, bool specialsAsText = false) => EncodeWhole(text, addSpecialTokens, specialsAsText).Ids;

    /// <summary>As <see cref="EncodeIds"/>, with the place of each token in the text.</summary>
    public Encoding EncodeWhole(string text, bool addSpecialTokens = true, bool specialsAsText = false)
    {
        Encoding encoding = EncodeText(text, 0, specialsAsText);
        return addSpecialTokens ? Process(encoding, null, true) : encoding;
    }

    /// <summary>Text of <paramref name="ids"/>. Unknown ids are left out.</summary>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = true)
    {
        List<string> tokens = new(ids.Length);
        foreach (int id in ids)
            if (DecodedToken(id) is { } token && !(skipSpecialTokens && _added.IsSpecial(token)))
                tokens.Add(token);
        return string.Concat(_parts.Decoder.Decode(tokens));
    }

    /// <summary>A decoder for ids that arrive one by one.</summary>
    public TokenStream CreateStream(bool skipSpecialTokens = true) => new(this, skipSpecialTokens);

    /// <summary>The token behind <paramref name="id"/> as the vocabulary writes it, or null.</summary>
    public string? TokenText(int id) => _added.Find(id)?.Content ?? _parts.Model.Vocabulary.TokenOf(id);

    /// <summary>The id of <paramref name="token"/> as the vocabulary writes it, or null.</summary>
    public int? TokenId(string token) => _added.Find(token)?.Id ?? _parts.Model.Vocabulary.IdOf(token);

    /// <summary>Whether <paramref name="id"/> is a special token, one that <see cref="Decode"/> leaves out.</summary>
    public bool IsSpecial(int id) => DecodedToken(id) is { } token && _added.IsSpecial(token);

    /// <summary>Tokens that are found in a text before the model sees it.</summary>
    internal IReadOnlyList<AddedToken> AddedTokens => _parts.AddedTokens;

    /// <summary>What turns pieces of text into ids.</summary>
    internal TokenModel Model => _parts.Model;

    internal bool IsSkipped(int id) => DecodedToken(id) is not { } token || _added.IsSpecial(token);

    private string? DecodedToken(int id) => _added.Decoded(id) ?? _parts.Model.Vocabulary.TokenOf(id);

    private int? Special(string role) => SpecialTokens.TryGetValue(role, out string? token) ? TokenId(token) : null;

    private Encoding EncodeText(string text, int sequence, bool specialsAsText)
    {
        List<int> ids = [];
        List<string> tokens = [];
        List<(int, int)> offsets = [];
        List<PieceToken> found = [];
        foreach (TextSection section in _added.Extract(new NormalizedText(text), specialsAsText))
        {
            if (section.Id >= 0)
            {
                ids.Add(section.Id);
                tokens.Add(section.Text.ToString());
                offsets.Add(section.Text.Original(0, section.Text.Length));
                continue;
            }
            List<NormalizedText> pieces = [section.Text];
            if (_parts.PreTokenizer is not null)
                pieces = _parts.PreTokenizer.Split(pieces);
            foreach (NormalizedText piece in pieces)
            {
                if (piece.Length == 0)
                    continue;
                found.Clear();
                _parts.Model.Encode(piece.Chars, found);
                foreach (PieceToken token in found)
                {
                    ids.Add(token.Id);
                    tokens.Add(token.Text);
                    offsets.Add(piece.Original(token.Start, token.End));
                }
            }
        }
        return Encoding.Of([.. ids], [.. tokens], [.. offsets], sequence);
    }

    private Encoding Finish(Encoding first, Encoding? second, bool addSpecialTokens)
    {
        if (_parts.Truncation is { } truncation)
            (first, second) = truncation.Apply(first, second, addSpecialTokens ? _parts.PostProcessor?.AddedCount(second is not null) ?? 0 : 0);
        Encoding result = Process(first, second, addSpecialTokens);
        return _parts.Padding?.Apply([result])[0] ?? result;
    }

    private Encoding Process(Encoding first, Encoding? second, bool addSpecialTokens)
    {
        List<Encoding> encodings = second is null ? [first] : [first, second];
        return Encoding.Merge(_parts.PostProcessor?.Process(encodings, addSpecialTokens) ?? encodings);
    }
}
