using System.Text.Json.Nodes;
using EdgeLora.Core;

namespace EdgeLora.Models;

// What single architectures have of their own. Constants that a file does not hold are llama.cpp's: src/llama-model.cpp, load_hparams; what its converter leaves out: convert_hf_to_gguf.py.
internal sealed partial class GgufConfig
{
    // Layers of the models whose scores are scaled by another head size than theirs.
    private const int Gemma2Large = 46, Gemma3Large = 62;

    private static readonly Dictionary<string, string> s_classes = new(StringComparer.Ordinal)
    {
        ["qwen2"] = "Qwen2",
        ["qwen3"] = "Qwen3",
        ["qwen2moe"] = "Qwen2Moe",
        ["qwen3moe"] = "Qwen3Moe",
        ["smollm3"] = "SmolLM3",
        ["granite"] = "Granite",
        ["gemma2"] = "Gemma2",
        ["gemma3"] = "Gemma3",
        ["phi3"] = "Phi3",
        ["olmo2"] = "Olmo2",
        ["starcoder2"] = "Starcoder2",
        ["stablelm"] = "StableLm",
        ["command-r"] = "Cohere",
    };

    // What a LayerNorm's epsilon is called; null: the norms are RMSNorms.
    private string? LayerNormField => _architecture switch
    {
        "stablelm" or "command-r" => "layer_norm_eps",
        "starcoder2" => "norm_epsilon",
        _ => null,
    };

    private long Rotated(long headSize)
    {
        if (_architecture is "stablelm" or "phi3" or "gptneox")
            return Int("rope.dimension_count", headSize);
        Expect("rope.dimension_count", headSize);
        return headSize;
    }

    private JsonObject Rope(float theta, long rotated, long headSize)
    {
        JsonObject rope = new() { ["rope_type"] = "default", ["rope_theta"] = theta };
        // Where the share's product, which is cut to whole dimensions, is one less, a little more.
        if (rotated != headSize)
            rope["partial_rotary_factor"] = (long)((double)rotated / headSize * headSize) == rotated ? (double)rotated / headSize : (rotated + 0.25) / headSize;
        else if (_architecture is "stablelm" or "gptneox")
            rope["partial_rotary_factor"] = 1;
        int pairs = (int)Math.Clamp(rotated / 2, 0, 1 << 16);
        if (_architecture == "phi3" && _file.Contains("rope_factors_long.weight"))
            AddLongRope(rope, pairs);
        else
            AddRopeScaling(rope, pairs);
        return rope;
    }

    private void AddLongRope(JsonObject rope, int pairs)
    {
        rope["rope_type"] = "longrope";
        rope["long_factor"] = Numbers(Divisors("rope_factors_long.weight", pairs));
        rope["short_factor"] = Numbers(Divisors("rope_factors_short.weight", pairs));
        rope["original_max_position_embeddings"] = Int("rope.scaling.original_context_length");
        rope["attention_factor"] = Float("rope.scaling.attn_factor", 1);
    }

    private void AddOwn(JsonObject config, JsonObject rope, long hidden, long heads, long layers, long headSize)
    {
        switch (_architecture)
        {
            case "granite":
                config["embedding_multiplier"] = Float("embedding_scale");
                config["residual_multiplier"] = Float("residual_scale");
                config["logits_scaling"] = Float("logit_scale");
                config["attention_multiplier"] = Float("attention.scale") is not 0 and float scale ? scale : 1 / Math.Sqrt(headSize);
                if (!_file.GetBool(Key("rope.scaling.finetuned"), true))
                    throw Refusal("rope.scaling.finetuned", "true", "false");
                break;
            case "gemma2":
                AddGemma(config, ScoreScalar(_architecture, layers, hidden, heads, headSize));
                config["attn_logit_softcapping"] = Float("attn_logit_softcapping", 50);
                config["final_logit_softcapping"] = Float("final_logit_softcapping", 30) is not 0 and float cap ? cap : null;
                break;
            case "gemma3":
                AddGemma(config, ScoreScalar(_architecture, layers, hidden, heads, headSize));
                config["final_logit_softcapping"] = Float("final_logit_softcapping", 0) is not 0 and float most ? most : null;
                // Layers with a window turn by a base of their own, unscaled.
                config["rope_parameters"] = new JsonObject { ["full_attention"] = rope.DeepClone(), ["sliding_attention"] = new JsonObject { ["rope_type"] = "default", ["rope_theta"] = Float("rope.freq_base_swa", 10000) } };
                break;
            case "phi3":
                // Its reference looks for it here first.
                if (_file.Metadata.ContainsKey(Key("rope.scaling.original_context_length")))
                    config["original_max_position_embeddings"] = Int("rope.scaling.original_context_length");
                break;
            case "smollm3":
                config["no_rope_layer_interval"] = 4;
                config["no_rope_layers"] = new JsonArray([.. Enumerable.Range(0, (int)Math.Clamp(layers, 0, 4096)).Select(i => JsonValue.Create((i + 1) % 4 == 0 ? 0 : 1))]);
                break;
            case "starcoder2":
                config["hidden_act"] = "gelu_pytorch_tanh";
                config["use_bias"] = _file.Contains("blk.0.attn_q.bias");
                break;
            case "stablelm":
                config["use_qkv_bias"] = _file.Contains("blk.0.attn_q.bias");
                config["qk_layernorm"] = _file.Contains("blk.0.attn_q_norm.weight");
                // llama.cpp goes by the norm that a parallel layer lacks.
                config["use_parallel_residual"] = !_file.Contains("blk.0.ffn_norm.weight");
                break;
            case "command-r":
                config["logit_scale"] = Float("logit_scale");
                config["use_qk_norm"] = _file.Contains("blk.0.attn_q_norm.weight");
                break;
        }
    }

    /// <summary>Whose root Gemma's scores are divided by: the head's size, but in the largest of each. Source: src/models/gemma2.cpp and gemma3.cpp of llama.cpp.</summary>
    public static long ScoreScalar(string architecture, long layers, long hidden, long heads, long headSize) => layers == (architecture == "gemma2" ? Gemma2Large : Gemma3Large) ? hidden / heads : headSize;

    private static void AddGemma(JsonObject config, long scalar)
    {
        config.Remove("hidden_act");
        config["hidden_activation"] = "gelu_pytorch_tanh";
        config["query_pre_attn_scalar"] = scalar;
    }

    private JsonObject GptNeoX()
    {
        JsonObject config = Plain("GPTNeoXForCausalLM", out long headSize);
        config["intermediate_size"] = PerLayer("feed_forward_length");
        config["layer_norm_eps"] = Float("attention.layer_norm_epsilon");
        config["hidden_act"] = "gelu";
        AddRope(config, headSize);
        config["rotary_pct"] = config["rope_parameters"]!["partial_rotary_factor"]!.DeepClone();
        config["rotary_emb_base"] = config["rope_theta"]!.DeepClone();
        config["attention_bias"] = _file.Contains("blk.0.attn_qkv.bias");
        config["use_parallel_residual"] = _file.GetBool(Key("use_parallel_residual"), true);
        return Finish(config);
    }

    private JsonObject Falcon()
    {
        JsonObject config = Plain("FalconForCausalLM", out long headSize);
        long groups = PerLayer("attention.head_count_kv", 1);
        bool twoNorms = _file.Contains("blk.0.attn_norm_2.weight");
        config["ffn_hidden_size"] = PerLayer("feed_forward_length");
        config["layer_norm_epsilon"] = Float("attention.layer_norm_epsilon");
        config["activation"] = "gelu";
        AddRope(config, headSize);
        // What the file says of its rows and norms is the new architecture's, of which the 7b's is a case.
        config["new_decoder_architecture"] = twoNorms || groups > 1;
        config["multi_query"] = true;
        config["parallel_attn"] = true;
        config["num_kv_heads"] = groups;
        config["num_ln_in_parallel_attn"] = twoNorms ? 2 : 1;
        config["bias"] = _file.Contains("blk.0.attn_qkv.bias");
        return Finish(config);
    }

    private void AddRope(JsonObject config, long headSize)
    {
        float theta = Float("rope.freq_base", 10000);
        config["rope_theta"] = theta;
        config["rope_parameters"] = Rope(theta, Rotated(headSize), headSize);
    }

    private JsonObject Plain(string className, out long headSize)
    {
        long hidden = Int("embedding_length"), heads = PerLayer("attention.head_count");
        headSize = heads > 0 ? hidden / heads : 0;
        JsonObject config = Start(className);
        config["hidden_size"] = hidden;
        config["num_hidden_layers"] = Int("block_count");
        config["num_attention_heads"] = heads;
        config["max_position_embeddings"] = Int("context_length");
        return config;
    }

    private static JsonArray Numbers(float[] values) => new([.. values.Select(v => JsonValue.Create(v))]);
}
