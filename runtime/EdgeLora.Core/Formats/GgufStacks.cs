using System.Globalization;

namespace EdgeLora.Core;

/// <summary>
/// Tensors that a GGUF file has in one and a checkpoint in parts, along a first axis of the parts: the matrices of a layer's experts, and StableLM's norms of single heads.
/// Source: gguf-py/gguf/tensor_mapping.py and conversion/ of llama.cpp. Files of early 2024 have Mixtral's experts one by one: <c>blk.0.ffn_gate.3.weight</c>.
/// </summary>
public static class GgufStacks
{
    private const string Block = "blk.", Layers = "model.layers.", Weight = ".weight";

    private static readonly (string Gguf, string Before, string After)[] s_mixtral =
        [("ffn_gate_exps", "block_sparse_moe.experts.", ".w1"), ("ffn_down_exps", "block_sparse_moe.experts.", ".w2"), ("ffn_up_exps", "block_sparse_moe.experts.", ".w3")];

    private static readonly (string Gguf, string Before, string After)[] s_qwen =
        [("ffn_gate_exps", "mlp.experts.", ".gate_proj"), ("ffn_down_exps", "mlp.experts.", ".down_proj"), ("ffn_up_exps", "mlp.experts.", ".up_proj")];

    private static readonly (string Gguf, string Before, string After)[] s_stableLm = [("attn_q_norm", "self_attn.q_layernorm.norms.", ""), ("attn_k_norm", "self_attn.k_layernorm.norms.", "")];

    /// <summary>Whether this tensor of a file holds experts.</summary>
    public static bool HoldsExperts(string name) => name.EndsWith("_exps.weight", StringComparison.Ordinal);

    /// <summary><c>blk.0.ffn_gate_exps.weight</c>, 3 → <c>model.layers.0.block_sparse_moe.experts.3.w1.weight</c>; null for a tensor that is no stack.</summary>
    public static string? PartToHuggingFace(string architecture, string name, int part) =>
        Split(name, Block, out string layer, out string site) && Array.Find(TableOf(architecture), t => t.Gguf == site) is { Gguf: not null } stack
            ? string.Create(CultureInfo.InvariantCulture, $"{Layers}{layer}.{stack.Before}{part}{stack.After}{Weight}") : null;

    /// <summary>The tensor of a file that a checkpoint's is a part of, and which; null where it is none.</summary>
    public static (string Name, int Part)? PartToGguf(string architecture, string name)
    {
        if (!Split(name, Layers, out string layer, out string site))
            return null;
        foreach ((string gguf, string before, string after) in TableOf(architecture))
            if (site.Length > before.Length + after.Length && site.StartsWith(before, StringComparison.Ordinal) && site.EndsWith(after, StringComparison.Ordinal)
                && int.TryParse(site.AsSpan(before.Length, site.Length - before.Length - after.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int part))
                return ($"{Block}{layer}.{gguf}{Weight}", part);
        return null;
    }

    /// <summary><c>blk.0.ffn_gate.3.weight</c>, as Mixtral's first files have it → the stack that it is a part of now; null for another.</summary>
    public static (string Name, int Part)? OfSingle(string architecture, string name)
    {
        if (architecture != "llama" || !Split(name, Block, out string layer, out string site) || site.LastIndexOf('.') is not (int dot and > 0)
            || site[..dot] is not ("ffn_gate" or "ffn_down" or "ffn_up") || !int.TryParse(site.AsSpan(dot + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int part))
            return null;
        return ($"{Block}{layer}.{site[..dot]}_exps{Weight}", part);
    }

    private static (string Gguf, string Before, string After)[] TableOf(string architecture) => architecture switch
    {
        "llama" => s_mixtral,
        "qwen2moe" or "qwen3moe" => s_qwen,
        "stablelm" => s_stableLm,
        _ => [],
    };

    // prefix, number, dot, the rest without .weight.
    private static bool Split(string name, string prefix, out string layer, out string site)
    {
        (layer, site) = ("", "");
        if (!name.StartsWith(prefix, StringComparison.Ordinal) || !name.EndsWith(Weight, StringComparison.Ordinal))
            return false;
        int dot = name.IndexOf('.', prefix.Length);
        if (dot < 0 || dot + 1 > name.Length - Weight.Length || !int.TryParse(name.AsSpan(prefix.Length, dot - prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int number))
            return false;
        layer = number.ToString(CultureInfo.InvariantCulture);
        site = name[(dot + 1)..^Weight.Length];
        return true;
    }
}
