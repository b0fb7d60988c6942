using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Makes a Hugging Face folder of a llama2.c checkpoint and its tokenizer.bin: config.json, model.safetensors (F32; q and k in Hugging Face's row order),
/// tokenizer.json and tokenizer_config.json.
/// </summary>
public static class Llama2cConvert
{
    private const int Unknown = 0, Bos = 1, Eos = 2, FirstByte = 3, FirstPiece = FirstByte + 256;
    private static readonly UTF8Encoding s_strictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>
    /// Writes <paramref name="folder"/>, creating it. Throws <see cref="ModelFileException"/> for a broken file or a vocabulary of another size than the model's.
    /// </summary>
    /// <param name="checkpointPath">A checkpoint of version 0, 1 or 2.</param>
    /// <param name="tokenizerPath">Its tokenizer.bin.</param>
    /// <param name="folder">Where the model is written.</param>
    /// <param name="cancellation">Stops between two tensors.</param>
    public static void ToHuggingFace(string checkpointPath, string tokenizerPath, string folder, CancellationToken cancellation = default)
    {
        using Llama2c checkpoint = Llama2c.Open(checkpointPath);
        Llama2cVocabulary vocabulary = Llama2cVocabulary.Read(tokenizerPath);
        if (vocabulary.Pieces.Count != checkpoint.Vocabulary)
            throw new ModelFileException(tokenizerPath, $"expected {checkpoint.Vocabulary} pieces, the model's vocabulary, found {vocabulary.Pieces.Count}");
        JsonObject tokenizer = Tokenizer(vocabulary);
        using TensorFile weights = checkpoint.ToTensorFile();
        Directory.CreateDirectory(folder);
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), weights.Tensors.Values.Select(t => InHalves(t, checkpoint)), new Dictionary<string, string> { ["format"] = "pt" }, cancellation);
        WriteJson(folder, "tokenizer.json", tokenizer);
        WriteJson(folder, "tokenizer_config.json", TokenizerConfig(checkpoint));
        WriteJson(folder, "config.json", Config(checkpoint));
    }

    private static Tensor InHalves(Tensor tensor, Llama2c checkpoint)
    {
        bool query = tensor.Name.EndsWith("q_proj.weight", StringComparison.Ordinal);
        if (!query && !tensor.Name.EndsWith("k_proj.weight", StringComparison.Ordinal))
            return tensor;
        int heads = query ? checkpoint.Heads : checkpoint.KvHeads;
        return new(tensor.Name, DType.F32, tensor.Shape, new ComputedStorage(tensor.ByteLength, () => InHalves(tensor, heads)));
    }

    private static Tensor InHalves(Tensor tensor, int heads)
    {
        int rows = (int)tensor.Shape.Rows, width = tensor.Shape.Columns * sizeof(float);
        int[] stored = QueryKeyPermutation.ToAdjacent(rows, heads);
        ArrayStorage storage = new((int)tensor.ByteLength);
        for (int row = 0; row < rows; row++)
            tensor.Bytes.Slice(stored[row] * width, width).CopyTo(storage.Writable[(row * width)..]);
        return new(tensor.Name, DType.F32, tensor.Shape, storage);
    }

    // llama2.c fixes epsilon and theta, and stops at either of <s> (stories follow one another with it) and </s>.
    private static JsonObject Config(Llama2c c) => new()
    {
        ["architectures"] = new JsonArray(JsonValue.Create("LlamaForCausalLM")),
        ["attention_bias"] = false,
        ["bos_token_id"] = Bos,
        ["eos_token_id"] = new JsonArray(JsonValue.Create(Eos), JsonValue.Create(Bos)),
        ["head_dim"] = c.HiddenSize / c.Heads,
        ["hidden_act"] = "silu",
        ["hidden_size"] = c.HiddenSize,
        ["intermediate_size"] = c.FeedForward,
        ["max_position_embeddings"] = c.ContextLength,
        ["mlp_bias"] = false,
        ["model_type"] = "llama",
        ["num_attention_heads"] = c.Heads,
        ["num_hidden_layers"] = c.Layers,
        ["num_key_value_heads"] = c.KvHeads,
        ["rms_norm_eps"] = 1e-5,
        ["rope_theta"] = 10000.0,
        ["tie_word_embeddings"] = c.SharesHead,
        ["torch_dtype"] = "float32",
        ["vocab_size"] = c.Vocabulary,
    };

    private static JsonObject TokenizerConfig(Llama2c c) => new()
    {
        ["add_bos_token"] = true,
        ["add_eos_token"] = false,
        ["bos_token"] = "<s>",
        ["clean_up_tokenization_spaces"] = false,
        ["eos_token"] = "</s>",
        ["legacy"] = true,
        ["model_max_length"] = c.ContextLength,
        ["tokenizer_class"] = "LlamaTokenizer",
        ["unk_token"] = "<unk>",
    };

    // SentencePiece BPE in the terms of the tokenizers library: a merge's rank is the order of its result's score.
    private static JsonObject Tokenizer(Llama2cVocabulary vocabulary)
    {
        Dictionary<string, int> ids = Texts(vocabulary);
        JsonObject vocab = [];
        foreach ((string text, int id) in ids)
            vocab.Add(text, id);
        JsonArray merges = [];
        foreach ((string left, string right) in Merges(ids, vocabulary.Scores))
            merges.Add((JsonNode)new JsonArray(JsonValue.Create(left), JsonValue.Create(right)));
        return new()
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = new JsonArray(Added(Unknown, "<unk>"), Added(Bos, "<s>"), Added(Eos, "</s>")),
            ["normalizer"] = Sequence("normalizers",
                new() { ["type"] = "Prepend", ["prepend"] = "▁" },
                Replace(" ", "▁")),
            ["pre_tokenizer"] = null,
            ["post_processor"] = new JsonObject
            {
                ["type"] = "TemplateProcessing",
                ["single"] = new JsonArray(Special("<s>"), Text("A", 0)),
                ["pair"] = new JsonArray(Special("<s>"), Text("A", 0), Special("<s>", 1), Text("B", 1)),
                ["special_tokens"] = new JsonObject
                {
                    ["<s>"] = new JsonObject { ["id"] = "<s>", ["ids"] = new JsonArray(JsonValue.Create(Bos)), ["tokens"] = new JsonArray(JsonValue.Create("<s>")) },
                },
            },
            ["decoder"] = Sequence("decoders",
                Replace("▁", " "),
                new() { ["type"] = "ByteFallback" },
                new() { ["type"] = "Fuse" },
                new() { ["type"] = "Strip", ["content"] = " ", ["start"] = 1, ["stop"] = 0 }),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["dropout"] = null,
                ["unk_token"] = "<unk>",
                ["continuing_subword_prefix"] = null,
                ["end_of_word_suffix"] = null,
                ["fuse_unk"] = true,
                ["byte_fallback"] = true,
                ["ignore_merges"] = false,
                ["vocab"] = vocab,
                ["merges"] = merges,
            },
        };
    }

    private static Dictionary<string, int> Texts(Llama2cVocabulary vocabulary)
    {
        Dictionary<string, int> ids = [];
        for (int id = 0; id < vocabulary.Pieces.Count; id++)
        {
            string text;
            try
            {
                text = id switch { Unknown => "<unk>", Bos => "<s>", Eos => "</s>", _ => s_strictUtf8.GetString(vocabulary.Pieces[id]).Replace(' ', '▁') };
            }
            catch (DecoderFallbackException e)
            {
                throw new ModelFileException(vocabulary.FilePath, $"piece {id} is not UTF-8", e);
            }
            if (id is >= FirstByte and < FirstPiece && text != string.Create(CultureInfo.InvariantCulture, $"<0x{id - FirstByte:X2}>"))
                throw new ModelFileException(vocabulary.FilePath, $"piece {id}: expected <0x{id - FirstByte:X2}>, found {text}");
            if (!ids.TryAdd(text, id))
                throw new ModelFileException(vocabulary.FilePath, $"piece {id}: '{text}' is piece {ids[text]} already");
        }
        return ids.Count >= FirstPiece ? ids : throw new ModelFileException(vocabulary.FilePath, $"expected at least {FirstPiece} pieces, found {ids.Count}");
    }

    private static IEnumerable<(string Left, string Right)> Merges(Dictionary<string, int> ids, IReadOnlyList<float> scores)
    {
        List<(float Score, int Left, int Right, string LeftText, string RightText)> found = [];
        foreach ((string text, int id) in ids)
        {
            for (int at = 1; id >= FirstPiece && at < text.Length; at++)
                if (!char.IsLowSurrogate(text[at]) && ids.TryGetValue(text[..at], out int left) && ids.TryGetValue(text[at..], out int right))
                    found.Add((scores[id], left, right, text[..at], text[at..]));
        }
        return found.OrderByDescending(m => m.Score).ThenBy(m => m.Left).ThenBy(m => m.Right).Select(m => (m.LeftText, m.RightText));
    }

    private static JsonObject Added(int id, string text) => new()
    {
        ["id"] = id,
        ["content"] = text,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = true,
    };

    private static JsonObject Sequence(string field, params JsonObject[] parts) => new() { ["type"] = "Sequence", [field] = new JsonArray([.. parts]) };

    private static JsonObject Replace(string from, string to) => new() { ["type"] = "Replace", ["pattern"] = new JsonObject { ["String"] = from }, ["content"] = to };

    private static JsonObject Special(string token, int type = 0) => new() { ["SpecialToken"] = new JsonObject { ["id"] = token, ["type_id"] = type } };

    private static JsonObject Text(string id, int type) => new() { ["Sequence"] = new JsonObject { ["id"] = id, ["type_id"] = type } };

    private static void WriteJson(string folder, string name, JsonObject value) => AtomicFile.Write(Path.Combine(folder, name), stream =>
    {
        using Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true });
        value.WriteTo(writer);
    });
}
