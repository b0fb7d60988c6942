using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Mixtral: Mistral with a mixture of experts in every layer; the chosen experts' weights sum to 1. arXiv:2401.04088.</summary>
public sealed class Mixtral : Llama
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["mixtral"];

    /// <inheritdoc/>
    protected override bool UsesWindow(HfConfig config) => true;

    /// <inheritdoc/>
    protected override DecoderLayer LoadFeedForward(LayerSites sites, DecoderLayer layer)
    {
        const string At = "block_sparse_moe.";
        int d = sites.Config.HiddenSize, f = sites.Config.FeedForward, experts = sites.Hf.GetInt("num_local_experts", 1, 1 << 12, 8);
        LinearSite router = sites.Linear(At + "gate", experts, d, bias: false);
        return layer with { Experts = new(router, LoadExperts(sites, At, experts, f, "w1", "w3", "w2"), sites.Hf.GetInt("num_experts_per_tok", 1, experts, Math.Min(2, experts)), Renormalises: true) };
    }

    /// <summary>Experts under <c>{at}experts.0</c> and on.</summary>
    internal static ExpertSites[] LoadExperts(LayerSites sites, string at, int experts, int width, string gate, string up, string down) =>
        [.. Enumerable.Range(0, experts).Select(i => LoadExpert(sites, $"{at}experts.{i}.", width, gate, up, down))];

    /// <summary>One gated feed-forward without biases.</summary>
    internal static ExpertSites LoadExpert(LayerSites sites, string at, int width, string gate, string up, string down)
    {
        int d = sites.Config.HiddenSize;
        return new(sites.Linear(at + gate, width, d, bias: false), sites.Linear(at + up, width, d, bias: false), sites.Linear(at + down, d, width, bias: false));
    }
}
