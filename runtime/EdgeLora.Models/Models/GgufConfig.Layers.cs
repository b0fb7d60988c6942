using System.Text.Json.Nodes;
using EdgeLora.Core;

namespace EdgeLora.Models;

// What layers differ in, or have in place of a feed-forward.
internal sealed partial class GgufConfig
{
    // Layers of which the last has no window; zero: all have one. Source: load_swa_pattern, src/models of llama.cpp.
    private static int UsualPeriod(string architecture) => architecture switch
    {
        "gemma2" => 2,
        "gemma3" => 6,
        _ => 0,
    };

    /// <summary>Which layers have a window where a file names its size alone.</summary>
    public static bool[] UsualWindows(string architecture, int layers) => Windows(UsualPeriod(architecture), layers);

    private static bool[] Windows(long period, int layers) => [.. Enumerable.Range(0, layers).Select(i => period == 0 || i % period < period - 1)];

    private void AddWindows(JsonObject config, int layers)
    {
        bool gemma = _architecture is "gemma2" or "gemma3", qwen = _architecture is "qwen2" or "qwen3" or "qwen2moe" or "qwen3moe";
        long window = Int("attention.sliding_window", _architecture == "gemma2" ? 4096 : 0);
        bool[] windowed = window > 0 ? WindowPattern(layers) : new bool[layers];
        if (qwen)
            config["use_sliding_window"] = window > 0;
        if (gemma || window > 0)
            config["sliding_window"] = Math.Max(window, 1);
        if (gemma || windowed.Distinct().Count() > 1)
            config["layer_types"] = new JsonArray([.. windowed.Select(w => JsonValue.Create(w ? "sliding_attention" : "full_attention"))]);
        // Older libraries go by the first of them.
        if (qwen && window > 0)
            config["max_window_layers"] = Math.Max(Array.IndexOf(windowed, true), 0);
        if (_architecture == "gemma3" && windowed.SequenceEqual(UsualWindows(_architecture, layers)))
            config["sliding_window_pattern"] = UsualPeriod(_architecture);
        if (_architecture != "llama" || window == 0 || config.ContainsKey("num_local_experts"))
            return;
        // Of what shares the architecture, Mistral has windows.
        config["model_type"] = "mistral";
        config["architectures"] = new JsonArray(JsonValue.Create("MistralForCausalLM"));
    }

    private bool[] WindowPattern(int layers)
    {
        const string Name = "attention.sliding_window_pattern";
        if (_file.Metadata.GetValueOrDefault(Key(Name)) is not Array array)
            return Windows(Int(Name, UsualPeriod(_architecture)), layers);
        bool[] pattern = array as bool[] ?? Array.ConvertAll(_file.GetInts(Key(Name)), v => v != 0);
        return pattern.Length >= layers ? pattern[..layers] : throw Refusal(Name, $"one entry for each of {layers} layers", $"{pattern.Length}");
    }

    private void AddExperts(JsonObject config, long layers)
    {
        long experts = Int("expert_count", 0);
        bool qwen = _architecture is "qwen2moe" or "qwen3moe";
        if (experts == 0 && !qwen)
            return;
        if (Int("expert_gating_func", 1) is not 1 and long gate)
            throw Refusal("expert_gating_func", "1, softmax", $"{gate}");
        if (Float("expert_weights_scale", 0) is not (0 or 1) and float scale)
            throw Refusal("expert_weights_scale", "1", $"{scale}");
        Expect("expert_group_count", 0);
        long chosen = Int("expert_used_count");
        config["num_experts_per_tok"] = chosen;
        if (!qwen)
        {
            Expect("expert_shared_feed_forward_length", 0);
            config["model_type"] = "mixtral";
            config["architectures"] = new JsonArray(JsonValue.Create("MixtralForCausalLM"));
            config["num_local_experts"] = experts;
            return;
        }
        long width = PerLayer("feed_forward_length");
        config["num_experts"] = experts;
        config["moe_intermediate_size"] = PerLayer("expert_feed_forward_length", chosen > 0 ? width / chosen : width);
        config["norm_topk_prob"] = _architecture == "qwen3moe";
        config["decoder_sparse_step"] = 1;
        // Layers without a router are dense.
        config["mlp_only_layers"] = new JsonArray([.. Enumerable.Range(0, (int)Math.Clamp(layers, 0, 4096)).Where(i => !_file.Contains($"blk.{i}.ffn_gate_inp.weight")).Select(i => JsonValue.Create(i))]);
        if (_architecture != "qwen2moe")
            return;
        config["qkv_bias"] = _file.Contains("blk.0.attn_q.bias");
        config["shared_expert_intermediate_size"] = Int("expert_shared_feed_forward_length", width);
    }
}
