using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Qwen3-MoE: Qwen3 with a mixture of experts as Qwen2-MoE has, without the shared one. arXiv:2505.09388.</summary>
public sealed class Qwen3Moe : Qwen3
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["qwen3_moe"];

    /// <inheritdoc/>
    protected override DecoderLayer LoadFeedForward(LayerSites sites, DecoderLayer layer) =>
        Qwen2Moe.LoadMixture(sites) is { } mixture ? layer with { Experts = mixture } : base.LoadFeedForward(sites, layer);
}
