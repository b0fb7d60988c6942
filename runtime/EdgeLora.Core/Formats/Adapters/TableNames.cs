namespace EdgeLora.Core;

/// <summary>Which modules are tables of embeddings, for formats whose tensors do not say it: by the base where it is known, else by the names that checkpoints give them.</summary>
internal static class TableNames
{
    private static readonly string[] s_leaves = ["embed_tokens", "wte", "wpe", "word_embeddings", "position_embeddings", "token_type_embeddings", "embed_in", "tok_embeddings", "embed_positions"];

    private static readonly string[] s_heads = ["lm_head", "embed_out", "output"];

    /// <summary>Whether <paramref name="module"/> is one.</summary>
    public static bool Contains(string module) => s_leaves.Contains(module[(module.LastIndexOf('.') + 1)..]);

    /// <summary>Whether the base's head is its table of tokens: its config says so, or it stores no head.</summary>
    public static bool IsTied(AdapterBase model) =>
        model.Config.GetBool("tie_word_embeddings", false) || model.Weights.Count > 0 && !s_heads.Any(h => model.Weights.ContainsKey(h + ".weight"));
}
