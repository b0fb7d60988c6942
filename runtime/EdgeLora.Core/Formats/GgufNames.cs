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
        ]);

    private static readonly Family s_gpt2 = new("transformer.h.",
        [("token_embd", "transformer.wte"), ("position_embd", "transformer.wpe"), ("output_norm", "transformer.ln_f"), ("output", "lm_head")],
        [
            ("attn_norm", "ln_1"), ("attn_qkv", "attn.c_attn"), ("attn_output", "attn.c_proj"),
            ("ffn_norm", "ln_2"), ("ffn_up", "mlp.c_fc"), ("ffn_down", "mlp.c_proj"),
        ]);

    /// <summary>Architectures whose names are known: the values of <c>general.architecture</c>, which are also the model types.</summary>
    public static IReadOnlyList<string> Architectures { get; } = ["llama", "qwen2", "qwen3", "gpt2"];

    /// <summary>The architecture of a Hugging Face model type: <c>mistral</c> is <c>llama</c>; most are spelled alike.</summary>
    public static string ArchitectureOf(string modelType) => modelType is "mistral" ? "llama" : modelType;

    /// <summary>Whether the rows of q and k are stored as <see cref="QueryKeyPermutation.ToAdjacent"/> orders them.</summary>
    public static bool PermutesQueryKeyRows(string architecture) => architecture == "llama";

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

    private static Family? FamilyOf(string architecture) => architecture == "gpt2" ? s_gpt2 : Architectures.Contains(architecture) ? s_llama : null;

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
