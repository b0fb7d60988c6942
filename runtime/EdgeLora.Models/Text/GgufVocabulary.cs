using System.Collections;
using System.Globalization;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>The vocabulary in a GGUF file's metadata: tokenizer.ggml.model gpt2 (byte-level BPE), llama (SentencePiece BPE), bert (WordPiece), t5 (Unigram).</summary>
internal sealed class GgufVocabulary
{
    private static readonly string[] s_endTexts = ["<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>", "<｜end▁of▁sentence｜>"];

    private readonly IReadOnlyDictionary<string, object> _metadata;
    private readonly string _file;
    private readonly string[] _tokens;
    private readonly PieceKind[] _kinds;

    private GgufVocabulary(IReadOnlyDictionary<string, object> metadata, string file)
    {
        (_metadata, _file) = (metadata, file);
        IList tokens = List("tokens") ?? throw Fault("tokenizer.ggml.tokens is missing");
        _tokens = new string[tokens.Count];
        for (int i = 0; i < _tokens.Length; i++)
            _tokens[i] = tokens[i] as string ?? throw Fault($"tokenizer.ggml.tokens[{i}]: expected a string");
        _kinds = new PieceKind[_tokens.Length];
        Array.Fill(_kinds, PieceKind.Normal);
        if (List("token_type") is not { } types)
            return;
        if (types.Count != _tokens.Length)
            throw Fault($"tokenizer.ggml.token_type: expected {_tokens.Length} entries, found {types.Count}");
        for (int i = 0; i < _kinds.Length; i++)
            // As files have them: numbers that are not put into objects one by one.
            _kinds[i] = (types is int[] whole ? whole[i] : Integer(types[i]!, "token_type")) is >= 0 and <= 6 and long kind ? (PieceKind)Math.Max(1, kind) : throw Fault($"tokenizer.ggml.token_type[{i}]: unknown type {types[i]}");
    }

    public static Tokenizer Read(IReadOnlyDictionary<string, object> metadata, string file)
    {
        GgufVocabulary vocabulary = new(metadata, file);
        string model = vocabulary.Text("model") ?? throw vocabulary.Fault("tokenizer.ggml.model is missing");
        try
        {
            TokenizerParts parts = model switch
            {
                "gpt2" => vocabulary.BytePairs(),
                "llama" => vocabulary.SentencePieces(SentencePieceKind.Bpe),
                "t5" => vocabulary.SentencePieces(SentencePieceKind.Unigram),
                "bert" => vocabulary.WordPieces(),
                _ => throw vocabulary.Fault($"tokenizer.ggml.model: unknown model \"{model}\""),
            };
            return new(parts with { Config = vocabulary.Config(), EndIds = vocabulary.EndIds() });
        }
        catch (Exception e) when (e is InvalidDataException or FormatException)
        {
            throw new ModelFileException(file, e.Message, e);
        }
    }

    private TokenizerParts BytePairs()
    {
        string pre = Text("pre") ?? "default";
        PreTokenizer preTokenizer = PreTokenizerNames.Find(pre) ?? throw Fault($"tokenizer.ggml.pre: unknown pre-tokenizer \"{pre}\"");
        Vocabulary vocabulary = new(Ids());
        IList lines = List("merges") ?? throw Fault("tokenizer.ggml.merges is missing");
        Dictionary<ulong, (int, int)> merges = new(lines.Count);
        for (int rank = 0; rank < lines.Count; rank++)
        {
            ReadOnlySpan<char> line = lines[rank] as string ?? "";
            if (line.Count(' ') != 1)
                throw Fault($"tokenizer.ggml.merges[{rank}]: a merge has two parts, found {line.Count(' ') + 1}");
            int space = line.IndexOf(' ');
            TokenizerJson.AddMerge(_file, merges, vocabulary, line[..space], line[(space + 1)..], "", rank);
        }
        return new(_file, new BpeModel(vocabulary, merges, new(IgnoreMerges: PreTokenizerNames.IgnoresMerges(pre))))
        {
            // The format holds no normalizer; Qwen's is known.
            Normalizer = pre is "qwen2" ? new FormNormalizer(compatibility: false, compose: true) : null,
            PreTokenizer = preTokenizer,
            PostProcessor = Frame(PreTokenizerNames.AddsBos(pre), false),
            Decoder = new ByteLevelDecoder(),
            AddedTokens = Added(k => k is PieceKind.Control or PieceKind.UserDefined),
        };
    }

    private TokenizerParts SentencePieces(SentencePieceKind kind)
    {
        IList scores = List("scores") ?? throw Fault("tokenizer.ggml.scores is missing");
        if (scores.Count != _tokens.Length)
            throw Fault($"tokenizer.ggml.scores: expected {_tokens.Length} entries, found {scores.Count}");
        SentencePiece[] pieces = new SentencePiece[_tokens.Length];
        for (int i = 0; i < pieces.Length; i++)
        {
            float score = scores is float[] given ? given[i] : Convert.ToSingle(scores[i], CultureInfo.InvariantCulture);
            pieces[i] = float.IsFinite(score) ? new(_tokens[i], score, _kinds[i]) : throw Fault($"tokenizer.ggml.scores[{i}]: the score of \"{_tokens[i]}\" is not finite");
        }
        bool isUnigram = kind == SentencePieceKind.Unigram;
        SentencePieceVocabulary vocabulary = new(pieces)
        {
            Kind = kind,
            ByteFallback = Array.IndexOf(_kinds, PieceKind.Byte) >= 0,
            AddDummyPrefix = Flag("add_space_prefix") ?? true,
            RemoveExtraWhitespaces = Flag("remove_extra_whitespaces") ?? false,
            Map = new(CharacterMapBytes()),
        };
        TokenizerParts parts = SentencePieceFile.Parts(_file, vocabulary, new());
        return parts with { PostProcessor = Frame(!isUnigram, isUnigram) };
    }

    private byte[] CharacterMapBytes()
    {
        if (List("precompiled_charsmap") is not { } list)
            return [];
        byte[] bytes = new byte[list.Count];
        for (int i = 0; i < bytes.Length; i++)
            bytes[i] = unchecked((byte)Integer(list[i]!, $"precompiled_charsmap[{i}]"));
        return bytes;
    }

    private TokenizerParts WordPieces()
    {
        // The file marks the beginnings of words where BERT marks continuations.
        for (int i = 0; i < _tokens.Length; i++)
        {
            if (_kinds[i] is not (PieceKind.Normal or PieceKind.UserDefined))
                continue;
            _tokens[i] = _tokens[i].StartsWith('\u2581') ? _tokens[i][1..] : "##" + _tokens[i];
        }
        Dictionary<string, int> ids = Ids();
        (int Id, string Token) Special(string key, string absent)
        {
            int id = Id(key) ?? (ids.TryGetValue(absent, out int known) ? known : throw Fault($"tokenizer.ggml.{key} is missing"));
            return (id, _tokens[id]);
        }
        (int, string) begin = Special(Id("cls_token_id") is null ? "bos_token_id" : "cls_token_id", "[CLS]");
        (int, string) separator = Special(Id("seperator_token_id") is null && Id("separator_token_id") is not null ? "separator_token_id" : "seperator_token_id", "[SEP]");
        string unknown = Special("unknown_token_id", "[UNK]").Token;
        // Case is not recorded: a vocabulary without capitals lowers its text.
        bool lower = !ids.Keys.Any(t => t.Length > 0 && char.IsAsciiLetterUpper(t[0]));
        return new(_file, new WordPieceModel(new(ids), ids.Keys, unknown, "##", 100))
        {
            Normalizer = new BertNormalizer(true, true, lower, lower),
            PreTokenizer = new BertPreTokenizer(),
            PostProcessor = new PairPostProcessor(false, begin, separator, false, false),
            Decoder = new WordPieceDecoder("##", true),
            AddedTokens = Added(k => k is PieceKind.Control or PieceKind.Unknown or PieceKind.UserDefined),
            UnknownToken = unknown,
        };
    }

    private Dictionary<string, int> Ids()
    {
        Dictionary<string, int> ids = new(_tokens.Length);
        for (int i = 0; i < _tokens.Length; i++)
            ids.TryAdd(_tokens[i], i);
        return ids;
    }

    private List<AddedToken> Added(Func<PieceKind, bool> isAdded)
    {
        List<AddedToken> added = [];
        for (int i = 0; i < _tokens.Length; i++)
            if (isAdded(_kinds[i]))
                added.Add(new(i, _tokens[i], Special: _kinds[i] != PieceKind.UserDefined));
        return added;
    }

    private TemplatePostProcessor Frame(bool addBos, bool addEos)
    {
        (int, string)? Token(bool wanted, string key) => wanted && Id(key) is { } id ? (id, _tokens[id]) : null;
        return TemplatePostProcessor.Around(Token(Flag("add_bos_token") ?? addBos, "bos_token_id"), Token(Flag("add_eos_token") ?? addEos, "eos_token_id"));
    }

    private TokenizerConfig Config()
    {
        Dictionary<string, string> specials = [];
        foreach ((string role, string key) in (ReadOnlySpan<(string, string)>)[
            ("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"), ("unk_token", "unknown_token_id"), ("pad_token", "padding_token_id"),
            ("cls_token", "cls_token_id"), ("sep_token", "seperator_token_id"), ("mask_token", "mask_token_id")])
            if (Id(key) is { } id)
                specials[role] = _tokens[id];
        return new() { SpecialTokens = specials, ChatTemplate = _metadata.TryGetValue("tokenizer.chat_template", out object? template) ? template as string : null };
    }

    private List<int> EndIds()
    {
        List<int> ends = [];
        foreach (string key in (string[])["eot_token_id", "eom_token_id"])
            if (Id(key) is { } id)
                ends.Add(id);
        for (int i = 0; i < _tokens.Length; i++)
            if (_kinds[i] == PieceKind.Control && Array.IndexOf(s_endTexts, _tokens[i]) >= 0)
                ends.Add(i);
        return ends;
    }

    private object? Value(string key) => _metadata.TryGetValue("tokenizer.ggml." + key, out object? value) ? value : null;

    private string? Text(string key) => Value(key) switch
    {
        null => null,
        string text => text,
        _ => throw Fault($"tokenizer.ggml.{key}: expected a string"),
    };

    private bool? Flag(string key) => Value(key) switch
    {
        null => null,
        bool flag => flag,
        _ => throw Fault($"tokenizer.ggml.{key}: expected true or false"),
    };

    private IList? List(string key) => Value(key) switch
    {
        null => null,
        IList list => list,
        _ => throw Fault($"tokenizer.ggml.{key}: expected an array"),
    };

    private int? Id(string key)
    {
        if (Value(key) is not { } value)
            return null;
        long id = Integer(value, key);
        return id >= 0 && id < _tokens.Length ? (int)id : throw Fault($"tokenizer.ggml.{key}: {id} is not one of {_tokens.Length} tokens");
    }

    private long Integer(object value, string key) => value switch
    {
        byte or sbyte or short or ushort or int or uint or long => Convert.ToInt64(value, CultureInfo.InvariantCulture),
        ulong number when number <= long.MaxValue => (long)number,
        _ => throw Fault($"tokenizer.ggml.{key}: expected a whole number, found {value}"),
    };

    private ModelFileException Fault(string fault) => new(_file, fault);
}
