using System.Text.Json.Nodes;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>The hyper-parameters in a GGUF file's metadata, spelled as a Hugging Face config. Source of the keys: docs/gguf.md of ggml.</summary>
internal sealed partial class GgufConfig
{
    private readonly GgufFile _file;
    private readonly string _architecture;

    private GgufConfig(GgufFile file, string architecture) => (_file, _architecture) = (file, architecture);

    /// <summary>The config. Throws <see cref="ModelFileException"/> naming the key that is missing, mistyped or asks for what the engine does not do.</summary>
    public static JsonObject Read(GgufFile file, string architecture)
    {
        GgufConfig config = new(file, architecture);
        config.RefuseWhatIsNotRun();
        return architecture switch
        {
            "gpt2" => config.Gpt2(),
            "gptneox" => config.GptNeoX(),
            "falcon" => config.Falcon(),
            _ => config.Llama(),
        };
    }

    private JsonObject Llama()
    {
        long hidden = Int("embedding_length"), heads = PerLayer("attention.head_count"), layers = Int("block_count");
        long headSize = Int("attention.key_length", heads > 0 ? hidden / heads : 0);
        Expect("attention.value_length", headSize);
        long rotated = Rotated(headSize);
        float theta = Float("rope.freq_base", 10000);
        JsonObject rope = Rope(theta, rotated, headSize);
        JsonObject config = Start(s_classes.GetValueOrDefault(_architecture, "Llama") + "ForCausalLM");
        config["hidden_size"] = hidden;
        config["num_hidden_layers"] = layers;
        config["num_attention_heads"] = heads;
        config["num_key_value_heads"] = PerLayer("attention.head_count_kv", heads);
        config["head_dim"] = headSize;
        config["intermediate_size"] = PerLayer("feed_forward_length");
        config["hidden_act"] = "silu";
        if (LayerNormField is { } field)
            config[field] = Float("attention.layer_norm_epsilon");
        else
            config["rms_norm_eps"] = Float("attention.layer_norm_rms_epsilon");
        config["max_position_embeddings"] = Int("context_length");
        config["rope_theta"] = theta;
        config["rope_parameters"] = rope;
        config["attention_bias"] = _architecture == "qwen2" || _file.Contains("blk.0.attn_q.bias");
        config["mlp_bias"] = _file.Contains("blk.0.ffn_up.bias");
        AddOwn(config, rope, hidden, heads, layers, headSize);
        AddExperts(config, layers);
        AddWindows(config, (int)Math.Clamp(layers, 0, 4096));
        return Finish(config);
    }

    private JsonObject Gpt2()
    {
        JsonObject config = Start("GPT2LMHeadModel");
        config["n_embd"] = Int("embedding_length");
        config["n_layer"] = Int("block_count");
        config["n_head"] = PerLayer("attention.head_count");
        config["n_positions"] = Int("context_length");
        config["n_inner"] = PerLayer("feed_forward_length");
        config["layer_norm_epsilon"] = Float("attention.layer_norm_epsilon");
        config["activation_function"] = "gelu_new";
        return Finish(config);
    }

    private JsonObject Start(string className) => new()
    {
        ["architectures"] = new JsonArray(JsonValue.Create(className)),
        ["model_type"] = GgufNames.ModelTypeOf(_architecture),
    };

    private JsonObject Finish(JsonObject config)
    {
        // The table decides: vocab_size is optional in the metadata.
        config["vocab_size"] = _file.TryGetInfo("token_embd.weight", out GgufTensorInfo? table) && table.Shape.Rank == 2 ? table.Shape[0] : Int("vocab_size");
        config["tie_word_embeddings"] = !_file.Contains("output.weight");
        const string ids = "tokenizer.ggml.";
        if (_file.Metadata.ContainsKey(ids + "bos_token_id"))
            config["bos_token_id"] = _file.GetInt(ids + "bos_token_id");
        long[] ends = [.. new[] { "eos_token_id", "eot_token_id", "eom_token_id" }.Where(k => _file.Metadata.ContainsKey(ids + k)).Select(k => _file.GetInt(ids + k)).Distinct()];
        if (ends.Length > 0)
            config["eos_token_id"] = ends.Length == 1 ? JsonValue.Create(ends[0]) : new JsonArray([.. ends.Select(e => JsonValue.Create(e))]);
        // Parsed again, the numbers convert to any type that they fit.
        return JsonNode.Parse(config.ToJsonString())!.AsObject();
    }

    private void AddRopeScaling(JsonObject rope, int pairs)
    {
        // llama.cpp stores llama3's scaling as one divisor a frequency; any other scaling comes on top.
        if (RopeDivisors(pairs) is { } divisors)
            rope["frequency_divisors"] = Numbers(divisors);
        float factor = Float("rope.scaling.factor", Float("rope.scale_linear", 1));
        // Without a type, a factor means linear.
        string type = _file.GetString(Key("rope.scaling.type"), factor is 0 or 1 ? "none" : "linear");
        switch (type)
        {
            case "none":
            case "linear" when factor == 1:
                break;
            case "linear":
                rope["rope_type"] = "linear";
                rope["factor"] = factor;
                break;
            case "yarn":
                rope["rope_type"] = "yarn";
                rope["factor"] = factor;
                rope["original_max_position_embeddings"] = Int("rope.scaling.original_context_length", Int("context_length"));
                rope["beta_fast"] = Float("rope.scaling.yarn_beta_fast", 32);
                rope["beta_slow"] = Float("rope.scaling.yarn_beta_slow", 1);
                if (Float("rope.scaling.attn_factor", 1) is not 1 and float attention)
                    rope["attention_factor"] = attention * (0.1 * Math.Log(factor) + 1);
                break;
            default:
                throw Refusal("rope.scaling.type", "none, linear or yarn", $"\"{type}\"");
        }
    }

    private float[]? RopeDivisors(int pairs) => _file.Contains("rope_freqs.weight") ? Divisors("rope_freqs.weight", pairs) : null;

    private float[] Divisors(string name, int pairs)
    {
        Tensor tensor = _file.Tensor(name);
        if (tensor.Type != DType.F32 || tensor.Shape != new Shape(pairs))
            throw new ModelFileException(_file.FilePath, $"tensor '{name}': expected F32 [{pairs}], found {tensor.Type} {tensor.Shape}");
        float[] divisors = tensor.ToFloats();
        return Array.TrueForAll(divisors, d => float.IsFinite(d) && d > 0) ? divisors
            : throw new ModelFileException(_file.FilePath, $"tensor '{name}': expected positive numbers");
    }

    private void RefuseWhatIsNotRun()
    {
        if (_architecture is not ("llama" or "qwen2moe" or "qwen3moe"))
            Expect("expert_count", 0);
        if (_architecture is not ("llama" or "qwen2" or "qwen3" or "qwen2moe" or "qwen3moe" or "gemma2" or "gemma3" or "phi3" or "starcoder2"))
            Expect("attention.sliding_window", 0);
        if (!_file.GetBool(Key("attention.causal"), true))
            throw Refusal("attention.causal", "true", "false");
        if (Float("attention.clamp_kqv", 0) is not 0 and float clamp)
            throw Refusal("attention.clamp_kqv", "0", $"{clamp}");
    }

    private string Key(string name) => $"{_architecture}.{name}";

    private long Int(string name, long? absent = null) => _file.GetInt(Key(name), absent);

    private float Float(string name, float? absent = null)
    {
        float value = (float)_file.GetFloat(Key(name), absent);
        return float.IsFinite(value) ? value : throw Refusal(name, "a finite number", $"{value}");
    }

    // Some files give one number a layer; ours are alike in all.
    private long PerLayer(string name, long? absent = null)
    {
        if (_file.Metadata.GetValueOrDefault(Key(name)) is not Array)
            return Int(name, absent);
        long[] values = _file.GetInts(Key(name));
        return values.Length > 0 && Array.TrueForAll(values, v => v == values[0]) ? values[0]
            : throw Refusal(name, "one number, the same for every layer", $"[{string.Join(", ", values.Take(8))}{(values.Length > 8 ? ", …" : "")}]");
    }

    private void Expect(string name, long expected)
    {
        long found = Int(name, expected);
        if (found != expected)
            throw Refusal(name, $"{expected}", $"{found}");
    }

    private ModelFileException Refusal(string name, string expected, string found) => new(_file.FilePath, $"key '{Key(name)}': expected {expected}, found {found}");
}
