using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Granite: Llama with four multipliers, on embeddings, scores, residual branches and logits. arXiv:2408.13359.</summary>
public sealed class Granite : Llama
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["granite"];

    /// <inheritdoc/>
    public override ModelConfig ReadConfig(BaseCheckpoint checkpoint)
    {
        HfConfig c = checkpoint.Config;
        ModelConfig config = base.ReadConfig(checkpoint);
        return config with
        {
            EmbeddingScale = c.GetFloat("embedding_multiplier", -1e12f, 1e12f, 1),
            ResidualScale = c.GetFloat("residual_multiplier", -1e12f, 1e12f, 1),
            AttentionScales = Enumerable.Repeat(c.GetFloat("attention_multiplier", -1e12f, 1e12f, 1), config.Layers).ToArray(),
            LogitScale = 1 / c.GetFloat("logits_scaling", 1e-12f, 1e12f, 1),
        };
    }
}
