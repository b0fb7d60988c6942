namespace EdgeLora.Benchmarks;

/// <summary>The sizes of a Llama with a tied head.</summary>
/// <param name="Hidden">D.</param>
/// <param name="FeedForward">F.</param>
/// <param name="Layers">Decoder layers.</param>
/// <param name="Heads">H.</param>
/// <param name="KvHeads">K.</param>
/// <param name="Vocabulary">V.</param>
/// <param name="Context">Longest context.</param>
internal sealed record LlamaSizes(int Hidden, int FeedForward, int Layers, int Heads, int KvHeads, int Vocabulary, int Context)
{
    /// <summary>134.5 million parameters.</summary>
    public static LlamaSizes Of135M { get; } = new(576, 1536, 30, 9, 3, 49152, 2048);

    /// <summary>Every linear layer: Hugging Face name, GGUF name, outputs, inputs.</summary>
    public IEnumerable<(string Name, string Gguf, int Outputs, int Inputs)> Linears()
    {
        int kv = Hidden / Heads * KvHeads;
        for (int layer = 0; layer < Layers; layer++)
        {
            string name = FormattableString.Invariant($"model.layers.{layer}."), gguf = FormattableString.Invariant($"blk.{layer}.");
            yield return (name + "self_attn.q_proj", gguf + "attn_q", Hidden, Hidden);
            yield return (name + "self_attn.k_proj", gguf + "attn_k", kv, Hidden);
            yield return (name + "self_attn.v_proj", gguf + "attn_v", kv, Hidden);
            yield return (name + "self_attn.o_proj", gguf + "attn_output", Hidden, Hidden);
            yield return (name + "mlp.gate_proj", gguf + "ffn_gate", FeedForward, Hidden);
            yield return (name + "mlp.up_proj", gguf + "ffn_up", FeedForward, Hidden);
            yield return (name + "mlp.down_proj", gguf + "ffn_down", Hidden, FeedForward);
        }
    }

    /// <summary>Every norm: Hugging Face name, GGUF name.</summary>
    public IEnumerable<(string Name, string Gguf)> Norms()
    {
        for (int layer = 0; layer < Layers; layer++)
        {
            string name = FormattableString.Invariant($"model.layers.{layer}."), gguf = FormattableString.Invariant($"blk.{layer}.");
            yield return (name + "input_layernorm", gguf + "attn_norm");
            yield return (name + "post_attention_layernorm", gguf + "ffn_norm");
        }
        yield return ("model.norm", "output_norm");
    }
}
