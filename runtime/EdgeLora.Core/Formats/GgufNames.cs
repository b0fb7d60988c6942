using System.Globalization;

namespace EdgeLora.Core;

/// <summary>Tensor names of GGUF and of Hugging Face checkpoints, both ways. Source: gguf-py/gguf/tensor_mapping.py of llama.cpp.</summary>
public static class GgufNames
{
    private const string BlockPrefix = "blk.";

    private sealed record Family(string LayerPrefix, (string Gguf, string HuggingFace)[] Model, (string Gguf, string HuggingFace)[] Layer);

    private static readonly Family s_llama = new("model.layers.",
        [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")],
        [
            ("attn_norm", "input_layernorm"), ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"), ("attn_output", "self_attn.o_proj"),
            ("attn_q_norm", "self_attn.q_norm"), ("attn_k_norm", "self_attn.k_norm"),
            ("ffn_norm", "post_attention_layernorm"), ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj"),
            // Mixtral is a llama too.
            ("ffn_gate_inp", "block_sparse_moe.gate"),
        ]);

    private static readonly Family s_qwenMoe = s_llama with
    {
        Layer =
        [
            .. s_llama.Layer[..^1], ("ffn_gate_inp", "mlp.gate"), ("ffn_gate_inp_shexp", "mlp.shared_expert_gate"),
            ("ffn_gate_shexp", "mlp.shared_expert.gate_proj"), ("ffn_up_shexp", "mlp.shared_expert.up_proj"), ("ffn_down_shexp", "mlp.shared_expert.down_proj"),
        ],
    };

    private static readonly (string, string)[] s_attention =
        [("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"), ("attn_output", "self_attn.o_proj"), ("attn_q_norm", "self_attn.q_norm"), ("attn_k_norm", "self_attn.k_norm")];

    private static readonly (string, string)[] s_gated = [("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj")];

    private static readonly (string, string)[] s_after = [("post_attention_norm", "post_attention_layernorm"), ("post_ffw_norm", "post_feedforward_layernorm")];

    private static readonly Family s_gemma = s_llama with { Layer = [("attn_norm", "input_layernorm"), ("ffn_norm", "pre_feedforward_layernorm"), .. s_attention, .. s_after, .. s_gated] };

    private static readonly Family s_olmo2 = s_llama with { Layer = [.. s_attention, .. s_after, .. s_gated] };

    private static readonly Family s_phi3 = s_llama with
    {
        Layer =
        [
            ("attn_norm", "input_layernorm"), ("attn_qkv", "self_attn.qkv_proj"), ("attn_output", "self_attn.o_proj"),
            ("ffn_norm", "post_attention_layernorm"), ("ffn_up", "mlp.gate_up_proj"), ("ffn_down", "mlp.down_proj"),
        ],
    };

    private static readonly Family s_starCoder2 = s_llama with
    {
        Layer = [("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"), .. s_attention, ("ffn_up", "mlp.c_fc"), ("ffn_down", "mlp.c_proj")],
    };

    private static readonly Family s_stableLm = s_llama with
    {
        Layer =
        [
            ("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"), ("attn_q_norm", "self_attn.q_layernorm"), ("attn_k_norm", "self_attn.k_layernorm"), .. s_attention[..4], .. s_gated,
        ],
    };

    private static readonly Family s_gptNeoX = new("gpt_neox.layers.",
        [("token_embd", "gpt_neox.embed_in"), ("output_norm", "gpt_neox.final_layer_norm"), ("output", "embed_out")],
        [
            ("attn_norm", "input_layernorm"), ("attn_qkv", "attention.query_key_value"), ("attn_output", "attention.dense"),
            ("ffn_norm", "post_attention_layernorm"), ("ffn_up", "mlp.dense_h_to_4h"), ("ffn_down", "mlp.dense_4h_to_h"),
        ]);

    // Where there are two norms, attn_norm is the feed-forward's, ln_mlp: the checkpoint knows.
    private static readonly Family s_falcon = new("transformer.h.",
        [("token_embd", "transformer.word_embeddings"), ("output_norm", "transformer.ln_f"), ("output", "lm_head")],
        [
            ("attn_norm", "input_layernorm"), ("attn_norm", "ln_mlp"), ("attn_norm_2", "ln_attn"), ("attn_qkv", "self_attention.query_key_value"), ("attn_output", "self_attention.dense"),
            ("ffn_up", "mlp.dense_h_to_4h"), ("ffn_down", "mlp.dense_4h_to_h"),
        ]);

    private static readonly Family s_gpt2 = new("transformer.h.",
        [("token_embd", "transformer.wte"), ("position_embd", "transformer.wpe"), ("output_norm", "transformer.ln_f"), ("output", "lm_head")],
        [
            ("attn_norm", "ln_1"), ("attn_qkv", "attn.c_attn"), ("attn_output", "attn.c_proj"),
            ("ffn_norm", "ln_2"), ("ffn_up", "mlp.c_fc"), ("ffn_down", "mlp.c_proj"),
        ]);

    private static readonly Dictionary<string, Family> s_families = new(StringComparer.Ordinal)
    {
        ["llama"] = s_llama,
        ["qwen2"] = s_llama,
        ["qwen3"] = s_llama,
        ["smollm3"] = s_llama,
        ["qwen2moe"] = s_qwenMoe,
        ["qwen3moe"] = s_qwenMoe,
        ["gpt2"] = s_gpt2,
        ["granite"] = s_llama,
        ["command-r"] = s_llama,
        ["gemma2"] = s_gemma,
        ["gemma3"] = s_gemma,
        ["olmo2"] = s_olmo2,
        ["phi3"] = s_phi3,
        ["starcoder2"] = s_starCoder2,
        ["stablelm"] = s_stableLm,
        ["gptneox"] = s_gptNeoX,
        ["falcon"] = s_falcon,
    };

    private static readonly (string Architecture, string ModelType)[] s_otherwise = [("gemma3", "gemma3_text"), ("gptneox", "gpt_neox"), ("command-r", "cohere"), ("qwen2moe", "qwen2_moe"), ("qwen3moe", "qwen3_moe")];

    /// <summary>Architectures whose names are known: the values of <c>general.architecture</c>.</summary>
    public static IReadOnlyList<string> Architectures { get; } = [.. s_families.Keys];

    /// <summary>The architecture of a Hugging Face model type: <c>mistral</c> and <c>mixtral</c> are <c>llama</c>; most are spelled alike.</summary>
    public static string ArchitectureOf(string modelType) => modelType is "mistral" or "mixtral" ? "llama" : Array.Find(s_otherwise, o => o.ModelType == modelType).Architecture ?? modelType;

    /// <summary>The Hugging Face model type of an architecture.</summary>
    public static string ModelTypeOf(string architecture) => Array.Find(s_otherwise, o => o.Architecture == architecture).ModelType ?? architecture;

    /// <summary>Whether the rows of q and k are stored as <see cref="QueryKeyPermutation.ToAdjacent"/> orders them.</summary>
    public static bool PermutesQueryKeyRows(string architecture) => architecture is "llama" or "granite" or "smollm3";

    /// <summary>Whether fused q, k and v, which a checkpoint has head by head, are stored as all q, all k, all v.</summary>
    public static bool SplitsQueryKeyValue(string architecture) => architecture is "gptneox" or "falcon";

    /// <summary>Whether norms' gains are stored with the 1 that the architecture adds to them.</summary>
    public static bool ShiftsGains(string architecture) => architecture is "gemma2" or "gemma3";

    /// <summary><c>blk.0.attn_q.weight</c> → <c>model.layers.0.self_attn.q_proj.weight</c>; null for a name that the architecture does not have.</summary>
    public static string? ToHuggingFace(string architecture, string name)
    {
        if (FamilyOf(architecture) is not { } family || !Split(name, out string stem, out string leaf))
            return null;
        if (!stem.StartsWith(BlockPrefix, StringComparison.Ordinal))
            return Find(family.Model, m => m.Gguf == stem) is { } model ? model.HuggingFace + leaf : null;
        return SplitLayer(stem, BlockPrefix, out int layer, out string site) && Find(family.Layer, m => m.Gguf == site) is { } part
            ? string.Create(CultureInfo.InvariantCulture, $"{family.LayerPrefix}{layer}.{part.HuggingFace}{leaf}") : null;
    }

    /// <summary><c>model.layers.0.self_attn.q_proj.weight</c> → <c>blk.0.attn_q.weight</c>; null for a name that the architecture does not have.</summary>
    public static string? ToGguf(string architecture, string name)
    {
        if (FamilyOf(architecture) is not { } family || !Split(name, out string stem, out string leaf))
            return null;
        if (!stem.StartsWith(family.LayerPrefix, StringComparison.Ordinal))
            return Find(family.Model, m => m.HuggingFace == stem) is { } model ? model.Gguf + leaf : null;
        return SplitLayer(stem, family.LayerPrefix, out int layer, out string site) && Find(family.Layer, m => m.HuggingFace == site) is { } part
            ? string.Create(CultureInfo.InvariantCulture, $"{BlockPrefix}{layer}.{part.Gguf}{leaf}") : null;
    }

    /// <summary>What names lack in a checkpoint that was saved from the bare model (<c>wte.weight</c> for <c>transformer.wte.weight</c>): the prefix, or "" for a checkpoint that has it.</summary>
    /// <param name="architecture">In GGUF's spelling; of one that is not known nothing is said.</param>
    /// <param name="isStored">Whether the checkpoint has a tensor of a name.</param>
    public static string MissingPrefix(string architecture, Func<string, bool> isStored)
    {
        if (ToHuggingFace(architecture, "token_embd.weight") is not { } table)
            return "";
        string bare = table[(table.IndexOf('.') + 1)..];
        return isStored(bare) ? table[..^bare.Length] : "";
    }

    private static Family? FamilyOf(string architecture) => s_families.GetValueOrDefault(architecture);

    private static (string Gguf, string HuggingFace)? Find((string Gguf, string HuggingFace)[] table, Predicate<(string Gguf, string HuggingFace)> match) =>
        Array.FindIndex(table, match) is int at and >= 0 ? table[at] : null;

    private static bool Split(string name, out string stem, out string leaf)
    {
        int dot = name.LastIndexOf('.');
        (stem, leaf) = dot < 0 ? (name, "") : (name[..dot], name[dot..]);
        return leaf is ".weight" or ".bias";
    }

    private static bool SplitLayer(string stem, string prefix, out int layer, out string site)
    {
        ReadOnlySpan<char> rest = stem.AsSpan(prefix.Length);
        int dot = rest.IndexOf('.');
        site = dot < 0 ? "" : rest[(dot + 1)..].ToString();
        layer = 0;
        return dot > 0 && int.TryParse(rest[..dot], NumberStyles.None, CultureInfo.InvariantCulture, out layer);
    }
}
