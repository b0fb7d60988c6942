using System.Text.Encodings.Web;
using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>tokenizer.json of the Hugging Face tokenizers library: normalizer, pre-tokenizer, model, post-processor, decoder, added tokens, truncation, padding.</summary>
internal static class TokenizerJson
{
    /// <summary>How the library's own writer sets JSON: two blanks, nothing escaped that need not be.</summary>
    public static JsonWriterOptions WriterOptions => new() { Indented = true, IndentSize = 2, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static TokenizerParts Read(string path)
    {
        using JsonDocument document = JsonFields.Parse(path, "tokenizer.json");
        JsonElement root = document.RootElement;
        JsonFields fields = new(path);
        TokenizerComponents components = new(fields);
        (TokenModel model, string? unknown) = Model(fields, fields.Required(root, "model", "model", JsonValueKind.Object));
        return new(path, model)
        {
            Normalizer = JsonFields.Get(root, "normalizer") is { } normalizer ? components.Normalizer(normalizer, "normalizer") : null,
            PreTokenizer = JsonFields.Get(root, "pre_tokenizer") is { } preTokenizer ? components.PreTokenizer(preTokenizer, "pre_tokenizer") : null,
            PostProcessor = JsonFields.Get(root, "post_processor") is { } postProcessor ? components.PostProcessor(postProcessor, "post_processor") : null,
            Decoder = JsonFields.Get(root, "decoder") is { } decoder ? components.Decoder(decoder, "decoder") : new SpaceDecoder(),
            AddedTokens = AddedTokens(fields, root, model.Vocabulary),
            Truncation = JsonFields.Get(root, "truncation") is { } truncation ? Truncation(fields, truncation) : null,
            Padding = JsonFields.Get(root, "padding") is { } padding ? Padding(fields, padding) : null,
            UnknownToken = unknown,
        };
    }

    private static (TokenModel, string?) Model(JsonFields fields, JsonElement e)
    {
        JsonElement? merges = JsonFields.Get(e, "merges");
        // Old files leave the type out.
        string type = fields.Text(e, "type", "model", merges is not null ? "BPE" : JsonFields.Get(e, "unk_id") is not null ? "Unigram" : JsonFields.Get(e, "continuing_subword_prefix") is not null ? "WordPiece" : "WordLevel");
        string? unknown = JsonFields.Get(e, "unk_token") is { } token ? fields.Text(token, "model.unk_token") : null;
        switch (type)
        {
            case "BPE":
                Dictionary<string, int> ids = VocabularyIds(fields, e);
                Vocabulary vocabulary = new(ids);
                BpeOptions options = new(
                    unknown,
                    fields.Text(e, "continuing_subword_prefix", "model", ""),
                    fields.Text(e, "end_of_word_suffix", "model", ""),
                    fields.Flag(e, "fuse_unk", "model", false),
                    fields.Flag(e, "byte_fallback", "model", false),
                    fields.Flag(e, "ignore_merges", "model", false));
                return (new BpeModel(vocabulary, Merges(fields, fields.Required(e, "merges", "model.merges", JsonValueKind.Array), vocabulary, options.Prefix), options), unknown);
            case "WordPiece":
                ids = VocabularyIds(fields, e);
                return (new WordPieceModel(new(ids), ids.Keys, unknown ?? "[UNK]", fields.Text(e, "continuing_subword_prefix", "model", "##"), fields.Count(e, "max_input_chars_per_word", "model", 100)), unknown ?? "[UNK]");
            case "WordLevel":
                return (new WordLevelModel(new(VocabularyIds(fields, e)), unknown), unknown);
            case "Unigram":
                return Unigram(fields, e);
            default:
                throw fields.Fault($"model: unknown type \"{type}\"");
        }
    }

    private static Dictionary<string, int> VocabularyIds(JsonFields fields, JsonElement model)
    {
        JsonElement vocab = fields.Required(model, "vocab", "model.vocab", JsonValueKind.Object);
        return Ids(fields, vocab, "model.vocab");
    }

    /// <summary>An object of tokens and ids.</summary>
    public static Dictionary<string, int> Ids(JsonFields fields, JsonElement vocab, string where)
    {
        Dictionary<string, int> ids = new(vocab.GetPropertyCount());
        foreach (JsonProperty entry in vocab.EnumerateObject())
        {
            string token;
            try
            {
                token = entry.Name;
            }
            catch (InvalidOperationException e)
            {
                throw fields.Fault($"{where}: a token is not a valid Unicode text", e);
            }
            ids[token] = entry.Value.ValueKind == JsonValueKind.Number && entry.Value.TryGetInt32(out int id) && id >= 0
                ? id
                : throw fields.Fault($"{where}: the id of \"{token}\": expected a whole number from 0 to {int.MaxValue}, found {entry.Value.GetRawText()}");
        }
        return ids;
    }

    private static Dictionary<ulong, (int, int)> Merges(JsonFields fields, JsonElement array, Vocabulary vocabulary, string prefix)
    {
        Dictionary<ulong, (int, int)> merges = new(array.GetArrayLength());
        int rank = 0;
        foreach (JsonElement entry in array.EnumerateArray())
        {
            ReadOnlySpan<char> left, right;
            if (entry.ValueKind == JsonValueKind.Array)
            {
                if (entry.GetArrayLength() != 2)
                    throw fields.Fault($"model.merges[{rank}]: a merge has two parts, found {entry.GetArrayLength()}");
                (string first, string second) = (fields.Text(entry[0], "model.merges", rank), fields.Text(entry[1], "model.merges", rank));
                left = first;
                right = second;
            }
            else
            {
                ReadOnlySpan<char> line = fields.Text(entry, "model.merges", rank);
                if (line.Count(' ') != 1)
                    throw fields.Fault($"model.merges[{rank}]: a merge has two parts, found {line.Count(' ') + 1}");
                left = line[..line.IndexOf(' ')];
                right = line[(left.Length + 1)..];
            }
            AddMerge(fields.Path, merges, vocabulary, left, right, prefix, rank++);
        }
        return merges;
    }

    /// <summary>Adds a merge after checking that the vocabulary holds its parts and its result.</summary>
    public static void AddMerge(string path, Dictionary<ulong, (int, int)> merges, Vocabulary vocabulary, ReadOnlySpan<char> left, ReadOnlySpan<char> right, string prefix, int rank)
    {
        ReadOnlySpan<char> end = prefix.Length > 0 && right.StartsWith(prefix, StringComparison.Ordinal) ? right[prefix.Length..] : right;
        Span<char> joined = left.Length + end.Length <= 256 ? stackalloc char[left.Length + end.Length] : new char[left.Length + end.Length];
        left.CopyTo(joined);
        end.CopyTo(joined[left.Length..]);
        static int IdOf(string path, Vocabulary vocabulary, ReadOnlySpan<char> token, ReadOnlySpan<char> left, ReadOnlySpan<char> right, int rank) =>
            vocabulary.TryGetId(token, out int id) ? id : throw new ModelFileException(path, $"merges[{rank}] \"{left} {right}\": the vocabulary lacks \"{token}\"");
        merges[BpeModel.Pair(IdOf(path, vocabulary, left, left, right, rank), IdOf(path, vocabulary, right, left, right, rank))] = (rank, IdOf(path, vocabulary, joined, left, right, rank));
    }

    private static (TokenModel, string?) Unigram(JsonFields fields, JsonElement e)
    {
        JsonElement vocab = fields.Required(e, "vocab", "model.vocab", JsonValueKind.Array);
        int count = vocab.GetArrayLength();
        List<string> pieces = new(count);
        double[] scores = new double[count];
        Dictionary<string, int> ids = new(count);
        foreach (JsonElement entry in vocab.EnumerateArray())
        {
            int id = pieces.Count;
            if (entry.ValueKind != JsonValueKind.Array || entry.GetArrayLength() != 2)
                throw fields.Fault($"model.vocab[{id}]: expected a piece and its score");
            string piece = fields.Text(entry[0], "model.vocab", id);
            if (entry[1].ValueKind != JsonValueKind.Number || !entry[1].TryGetDouble(out scores[id]) || !double.IsFinite(scores[id]))
                throw fields.Fault($"model.vocab[{id}]: the score of \"{piece}\" is not a finite number");
            pieces.Add(piece);
            ids[piece] = id;
        }
        int? unknownId = JsonFields.Get(e, "unk_id") is { } unk ? fields.Count(unk, "model.unk_id") : null;
        if (unknownId >= count)
            throw fields.Fault($"model.unk_id: {unknownId} is not one of {count} pieces");
        return (new UnigramModel(new(ids), pieces, scores, unknownId, fields.Flag(e, "byte_fallback", "model", false)), unknownId is { } u ? pieces[u] : null);
    }

    private static List<AddedToken> AddedTokens(JsonFields fields, JsonElement root, Vocabulary vocabulary)
    {
        List<AddedToken> tokens = [];
        if (JsonFields.Get(root, "added_tokens") is not { } array)
            return tokens;
        if (array.ValueKind != JsonValueKind.Array)
            throw fields.Fault($"added_tokens: expected an array, found {array.ValueKind}");
        foreach (JsonElement entry in array.EnumerateArray())
        {
            string where = $"added_tokens[{tokens.Count}]";
            AddedToken token = AddedToken(fields, entry, fields.Count(entry, "id", where), where);
            // What the model knows keeps the model's id.
            tokens.Add(vocabulary.IdOf(token.Content) is { } id ? token with { Id = id } : token);
        }
        return tokens;
    }

    /// <summary>One entry of added_tokens, or of added_tokens_decoder in tokenizer_config.json.</summary>
    public static AddedToken AddedToken(JsonFields fields, JsonElement entry, int id, string where)
    {
        bool special = fields.Flag(entry, "special", where, false);
        return new(
            id,
            fields.Text(entry, "content", where),
            fields.Flag(entry, "single_word", where, false),
            fields.Flag(entry, "lstrip", where, false),
            fields.Flag(entry, "rstrip", where, false),
            fields.Flag(entry, "normalized", where, !special),
            special);
    }

    private static Truncation Truncation(JsonFields fields, JsonElement e)
    {
        string strategy = fields.Text(e, "strategy", "truncation", "LongestFirst");
        return new(
            fields.Count(e, "max_length", "truncation"),
            fields.Count(e, "stride", "truncation", 0),
            strategy switch
            {
                "LongestFirst" => TruncationStrategy.LongestFirst,
                "OnlyFirst" => TruncationStrategy.OnlyFirst,
                "OnlySecond" => TruncationStrategy.OnlySecond,
                _ => throw fields.Fault($"truncation.strategy: unknown strategy \"{strategy}\""),
            },
            IsLeft(fields, e, "truncation"));
    }

    private static Padding Padding(JsonFields fields, JsonElement e)
    {
        JsonElement strategy = JsonFields.Get(e, "strategy") ?? throw fields.Fault("padding.strategy is missing");
        int? length = strategy.ValueKind == JsonValueKind.Object ? fields.Count(strategy, "Fixed", "padding.strategy") : null;
        if (length is null && fields.Text(strategy, "padding.strategy") != "BatchLongest")
            throw fields.Fault($"padding.strategy: unknown strategy {strategy.GetRawText()}");
        return new(
            length,
            IsLeft(fields, e, "padding"),
            JsonFields.Get(e, "pad_to_multiple_of") is { } multiple ? fields.Count(multiple, "padding.pad_to_multiple_of") : null,
            fields.Count(e, "pad_id", "padding", 0),
            fields.Count(e, "pad_type_id", "padding", 0),
            fields.Text(e, "pad_token", "padding", "[PAD]"));
    }

    private static bool IsLeft(JsonFields fields, JsonElement e, string where)
    {
        string direction = fields.Text(e, "direction", where, "Right");
        return direction switch
        {
            "Left" => true,
            "Right" => false,
            _ => throw fields.Fault($"{where}.direction: unknown direction \"{direction}\""),
        };
    }

    /// <summary>Writes a byte-level BPE, byte for byte as the library saves one that it trained.</summary>
    public static void Write(Stream stream, ByteLevelBpe bpe)
    {
        using Utf8JsonWriter json = new(stream, WriterOptions);
        json.WriteStartObject();
        json.WriteString("version", "1.0");
        json.WriteNull("truncation");
        json.WriteNull("padding");
        json.WriteStartArray("added_tokens");
        for (int id = 0; id < bpe.SpecialTokens.Count; id++)
        {
            json.WriteStartObject();
            json.WriteNumber("id", id);
            json.WriteString("content", bpe.SpecialTokens[id]);
            foreach (string flag in (string[])["single_word", "lstrip", "rstrip", "normalized"])
                json.WriteBoolean(flag, false);
            json.WriteBoolean("special", true);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteNull("normalizer");
        WriteByteLevel(json, "pre_tokenizer", addPrefixSpace: false);
        json.WriteNull("post_processor");
        WriteByteLevel(json, "decoder", addPrefixSpace: true);
        json.WriteStartObject("model");
        json.WriteString("type", "BPE");
        foreach (string absent in (string[])["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"])
            json.WriteNull(absent);
        foreach (string flag in (string[])["fuse_unk", "byte_fallback", "ignore_merges"])
            json.WriteBoolean(flag, false);
        json.WriteStartObject("vocab");
        for (int id = 0; id < bpe.Tokens.Count; id++)
            json.WriteNumber(bpe.Tokens[id], id);
        json.WriteEndObject();
        json.WriteStartArray("merges");
        foreach ((string left, string right) in bpe.Merges)
        {
            json.WriteStartArray();
            json.WriteStringValue(left);
            json.WriteStringValue(right);
            json.WriteEndArray();
        }
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WriteByteLevel(Utf8JsonWriter json, string name, bool addPrefixSpace)
    {
        json.WriteStartObject(name);
        json.WriteString("type", "ByteLevel");
        json.WriteBoolean("add_prefix_space", addPrefixSpace);
        json.WriteBoolean("trim_offsets", true);
        json.WriteBoolean("use_regex", true);
        json.WriteEndObject();
    }
}
