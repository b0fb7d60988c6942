using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// The tokenizer of a Hugging Face folder as <c>tokenizer.ggml.*</c> metadata: what <see cref="GgufVocabulary"/> reads back, and llama.cpp's converter writes. A byte-level BPE's rules of splitting have
/// names only: the name is found by trying them on a text made to tell them apart.
/// </summary>
internal sealed class GgufVocabularyWriter
{
    // Letters, digits, blanks, contractions, marks, scripts and byte sequences on which the named rules differ.
    private const string Probe = "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) 😶‍🌫️ (multiple emojis concatenated) ✅ 🦙🦙 3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3 កាន់តែពិសេសអាច😁 ?我想在apple工作1314151天～ "
        + "------======= нещо на Български ''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, 'D you like some tea? We'Ve a'lL x_y != z/w <= HTTPServer camelCase Ünïcödé e\u0301 ½ Ⅷ ١٢٣ line\r\nnext/\r\n//  end  ";

    private static readonly string[] s_names =
        ["gpt-2", "llama-bpe", "dbrx", "qwen2", "stablelm2", "smollm", "deepseek-v3", "gpt-4o", "tekken", "deepseek-llm", "deepseek-coder", "falcon", "bloom", "viking", "default"];

    private readonly List<KeyValuePair<string, object>> _metadata;
    private readonly string _folder;
    private readonly HfConfig _config;
    private readonly TokenizerConfig _settings;
    private readonly Tokenizer _tokenizer;
    private readonly string[] _tokens;
    private readonly int[] _kinds;

    private GgufVocabularyWriter(string folder, HfConfig config, int size, List<KeyValuePair<string, object>> metadata)
    {
        (_folder, _config, _metadata) = (folder, config, metadata);
        _settings = TokenizerConfig.Read(folder);
        _tokenizer = Tokenizer.Load(folder);
        _tokens = [.. Enumerable.Range(0, size).Select(i => $"[PAD{i}]")];
        _kinds = [.. Enumerable.Repeat((int)PieceKind.Unused, size)];
    }

    /// <summary>Adds the keys. A folder without a tokenizer gets none, and a note. Throws <see cref="ModelFileException"/> for a tokenizer that GGUF cannot say.</summary>
    public static void Add(string folder, HfConfig config, int size, string? preTokenizer, List<KeyValuePair<string, object>> metadata, List<string> notes)
    {
        bool pieces = File.Exists(Path.Combine(folder, "tokenizer.model")), json = File.Exists(Path.Combine(folder, "tokenizer.json"));
        if (!pieces && !json && !File.Exists(Path.Combine(folder, "vocab.json")))
        {
            metadata.Add(new("tokenizer.ggml.model", "no_vocab"));
            foreach (string field in (ReadOnlySpan<string>)["bos_token_id", "eos_token_id"])
                if (config.KindOf(field) == JsonValueKind.Number && config.TryGetInt(field, 0, size - 1, out int id))
                    metadata.Add(new("tokenizer.ggml." + field, (uint)id));
            notes.Add("the folder holds no tokenizer: the file has no vocabulary");
            return;
        }
        GgufVocabularyWriter writer = new(folder, config, size, metadata);
        if (pieces)
            writer.SentencePieces(notes);
        else
            writer.Json(json ? "tokenizer.json" : "vocab.json", preTokenizer, notes);
    }

    private void SentencePieces(List<string> notes)
    {
        SentencePieceVocabulary pieces = SentencePieceFile.Read(Path.Combine(_folder, "tokenizer.model"), new()).Model is SentencePieceModel model ? model.Pieces : throw new InvalidOperationException("no pieces");
        if (pieces.Kind is not (SentencePieceKind.Bpe or SentencePieceKind.Unigram))
            throw new ModelFileException(Path.Combine(_folder, "tokenizer.model"), $"GGUF has BPE and unigram models of pieces, found {pieces.Kind}");
        float[] scores = [.. Enumerable.Repeat(-10000f, _tokens.Length)];
        for (int id = 0; id < Math.Min(_tokens.Length, pieces.Pieces.Count); id++)
        {
            SentencePiece piece = pieces.Pieces[id];
            (_tokens[id], scores[id], _kinds[id]) = (piece.Text, piece.Score, (int)piece.Kind);
        }
        foreach (AddedToken token in Added())
            if (_tokens[token.Id] != token.Content || _kinds[token.Id] is not ((int)PieceKind.Unknown or (int)PieceKind.Byte or (int)PieceKind.Control))
                (_tokens[token.Id], scores[token.Id], _kinds[token.Id]) = (token.Content, -1000, (int)(token.Special ? PieceKind.Control : PieceKind.UserDefined));
        Pieces(pieces.Kind == SentencePieceKind.Bpe ? "llama" : "t5", scores);
        Put("add_space_prefix", pieces.AddDummyPrefix);
        if (pieces.Kind == SentencePieceKind.Unigram)
        {
            Put("remove_extra_whitespaces", pieces.RemoveExtraWhitespaces);
            if (!pieces.Map.IsEmpty)
                Put("precompiled_charsmap", pieces.Map.ToBytes());
        }
        Rest();
        Compare(notes);
    }

    private void Json(string name, string? preTokenizer, List<string> notes)
    {
        string path = Path.Combine(_folder, name);
        using JsonDocument document = JsonFields.Parse(path, name);
        JsonFields fields = new(path);
        JsonElement? model = JsonFields.Get(document.RootElement, "model");
        bool whole = model is { ValueKind: JsonValueKind.Object };
        if (whole && model!.Value.TryGetProperty("type", out JsonElement type) && type.GetString() is not "BPE")
            throw fields.Fault($"model: GGUF's decoders have BPE or SentencePiece vocabularies, found {type.GetString()}");
        Dictionary<string, int> ids = whole && model!.Value.TryGetProperty("vocab", out JsonElement list) && list.ValueKind == JsonValueKind.Object ? TokenizerJson.Ids(fields, list, "model.vocab")
            : whole ? throw fields.Fault("model: GGUF of this kind needs a BPE with a table of merges; give the folder its tokenizer.model")
            : TokenizerJson.Ids(fields, document.RootElement, "vocab");
        List<string> merges = whole ? Merges(fields, model!.Value) : [.. File.ReadLines(Path.Combine(_folder, "merges.txt")).Where(l => l.Length > 0 && !l.StartsWith("#version", StringComparison.Ordinal))];
        foreach ((string token, int id) in ids)
            if (id < _tokens.Length)
                (_tokens[id], _kinds[id]) = (token, (int)PieceKind.Normal);
        foreach (AddedToken token in Added())
            (_tokens[token.Id], _kinds[token.Id]) = (token.Content, (int)(token.Special ? PieceKind.Control : PieceKind.UserDefined));
        if (whole && fields.Flag(model!.Value, "byte_fallback", "model", false))
        {
            Scored(ids, merges);
            Compare(notes);
            return;
        }
        int at = _metadata.Count;
        void Write(string pre)
        {
            _metadata.RemoveRange(at, _metadata.Count - at);
            Put("model", "gpt2");
            Put("pre", pre);
            Put("tokens", _tokens);
            Put("token_type", _kinds);
            Put("merges", merges.ToArray());
            Rest();
        }
        if (preTokenizer is not null)
        {
            if (PreTokenizerNames.Find(preTokenizer) is null)
                throw new ModelFileException(path, $"pre_tokenizer: \"{preTokenizer}\" is no name that is known");
            Write(preTokenizer);
            Compare(notes);
            return;
        }
        // Small vocabularies leave rules alike: those that the file spells out come first.
        List<string> rules = [];
        if (JsonFields.Get(document.RootElement, "pre_tokenizer") is { } section)
            AddRules(section, rules);
        bool wholeFirst = whole && fields.Flag(model!.Value, "ignore_merges", "model", false);
        foreach (string pre in s_names.OrderByDescending(n => Likeness(n, rules)).ThenBy(n => PreTokenizerNames.IgnoresMerges(n) == wholeFirst ? 0 : 1))
        {
            Write(pre);
            if (Same(Probe))
                return;
        }
        throw new ModelFileException(path, $"pre_tokenizer: none of the rules that GGUF has names for splits as it does ({string.Join(", ", s_names)}); a name can be given, and the text it changes is then its own");
    }

    private static double Likeness(string name, List<string> rules)
    {
        string[] patterns = PreTokenizerNames.Patterns(name)!;
        return patterns.Count(rules.Contains) / (double)Math.Max(patterns.Length, rules.Count);
    }

    // The patterns that a pre-tokenizer splits by, in order.
    private static void AddRules(JsonElement section, List<string> rules)
    {
        switch (JsonFields.Get(section, "type")?.GetString())
        {
            case "Sequence" when JsonFields.Get(section, "pretokenizers") is { ValueKind: JsonValueKind.Array } parts:
                foreach (JsonElement part in parts.EnumerateArray())
                    AddRules(part, rules);
                break;
            case "Split" when JsonFields.Get(section, "pattern") is { ValueKind: JsonValueKind.Object } pattern && JsonFields.Get(pattern, "Regex")?.GetString() is { } regex:
                rules.Add(regex);
                break;
            case "Digits":
                rules.Add(@"\p{N}");
                break;
            case "ByteLevel" when JsonFields.Get(section, "use_regex") is not { ValueKind: JsonValueKind.False }:
                rules.Add(ByteLevelPreTokenizer.Gpt2Pattern);
                break;
        }
    }

    private static List<string> Merges(JsonFields fields, JsonElement model)
    {
        List<string> merges = [];
        foreach (JsonElement entry in fields.Required(model, "merges", "model.merges", JsonValueKind.Array).EnumerateArray())
            merges.Add(entry.ValueKind == JsonValueKind.Array ? $"{entry[0].GetString()} {entry[1].GetString()}" : entry.GetString()!);
        return merges;
    }

    // SentencePiece's BPE joins the pair whose piece scores best: a piece's score is the rank of the merge that makes it.
    private void Scored(Dictionary<string, int> ids, List<string> merges)
    {
        float[] scores = [.. Enumerable.Repeat(-1e6f, _tokens.Length)];
        for (int rank = merges.Count - 1; rank >= 0; rank--)
            if (merges[rank].IndexOf(' ') is int blank and > 0 && ids.TryGetValue(merges[rank].Remove(blank, 1), out int id) && id < scores.Length)
                scores[id] = -rank;
        string? unknown = _settings.SpecialTokens.GetValueOrDefault("unk_token");
        for (int i = 0; i < _tokens.Length; i++)
            if (_tokens[i] is { Length: 6 } token && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>')
                _kinds[i] = (int)PieceKind.Byte;
            else if (_tokens[i] == unknown || (unknown is null && _tokens[i] == "<unk>"))
                _kinds[i] = (int)PieceKind.Unknown;
        Pieces("llama", scores);
        Put("add_space_prefix", _tokenizer.EncodeIds("a", addSpecialTokens: false) is { Length: > 0 } first && _tokens[first[0]].StartsWith((char)SentencePieceVocabulary.Mark));
        Rest();
    }

    private void Pieces(string model, float[] scores)
    {
        Put("model", model);
        Put("pre", "default");
        Put("tokens", _tokens);
        Put("scores", scores);
        Put("token_type", _kinds);
    }

    // Special ids, frames and the chat template.
    private void Rest()
    {
        foreach ((string role, string key) in (ReadOnlySpan<(string, string)>)[
            ("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding"), ("sep_token", "seperator"), ("cls_token", "cls"), ("mask_token", "mask")])
        {
            int? id = _tokenizer.SpecialTokens.TryGetValue(role, out string? text) ? _tokenizer.TokenId(text) : null;
            if (id is null && role is "bos_token" or "eos_token" && _config.KindOf(role + "_id") == JsonValueKind.Number)
                id = _config.GetInt(role + "_id", -1, int.MaxValue);
            if (id is >= 0 && id < _tokens.Length)
                Put(key + "_token_id", (uint)id.Value);
        }
        string[] others = ["eot_token_id", "eom_token_id"];
        foreach ((int id, int i) in Llama.ReadEndIds(_config).Concat(_tokenizer.EndIds).Where(id => id != _tokenizer.EosId && id < _tokens.Length).Distinct().Take(2).Select((id, i) => (id, i)))
            Put(others[i], (uint)id);
        int[] bare = _tokenizer.EncodeIds("a", addSpecialTokens: false), framed = _tokenizer.EncodeIds("a");
        Put("add_bos_token", framed.Length > bare.Length && framed[0] == _tokenizer.BosId);
        Put("add_eos_token", framed.Length > bare.Length && framed[^1] == _tokenizer.EosId);
        if (_tokenizer.ChatTemplate is { } template)
            _metadata.Add(new("tokenizer.chat_template", template));
    }

    private IEnumerable<AddedToken> Added() => _tokenizer.AddedTokens.Concat(_settings.AddedTokens).Where(t => t.Id >= 0 && t.Id < _tokens.Length && t.Content.Length > 0).DistinctBy(t => t.Id);

    private bool Same(string text) => Tokenizer.FromGguf(_metadata.ToDictionary(), _folder).EncodeIds(text).AsSpan().SequenceEqual(_tokenizer.EncodeIds(text));

    private void Compare(List<string> notes)
    {
        if (!Same(Probe))
            notes.Add("the file's vocabulary splits some texts otherwise than the folder's tokenizer: GGUF does not hold all of its rules");
    }

    private void Put(string key, object value) => _metadata.Add(new("tokenizer.ggml." + key, value));
}
