using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Qwen2-MoE: Qwen2 with a mixture of experts in most layers and beside it an expert that every row takes, by the sigmoid of a gate. arXiv:2407.10671.</summary>
public sealed class Qwen2Moe : Qwen2
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["qwen2_moe"];

    /// <inheritdoc/>
    protected override bool QkvBias(HfConfig config) => config.GetBool("qkv_bias", true);

    /// <inheritdoc/>
    protected override DecoderLayer LoadFeedForward(LayerSites sites, DecoderLayer layer) => LoadMixture(sites) is not { } mixture
        ? base.LoadFeedForward(sites, layer)
        : layer with
        {
            Experts = mixture with
            {
                Shared = Mixtral.LoadExpert(sites, "mlp.shared_expert.", sites.Hf.GetInt("shared_expert_intermediate_size", 1, Largest, 5632), "gate_proj", "up_proj", "down_proj"),
                SharedGate = sites.Linear("mlp.shared_expert_gate", 1, sites.Config.HiddenSize, bias: false),
            },
        };

    /// <summary>The mixture of a layer; null where the layer is dense: listed in mlp_only_layers, or not every decoder_sparse_step-th.</summary>
    internal static ExpertWeights? LoadMixture(LayerSites sites)
    {
        HfConfig c = sites.Hf;
        string field = c.FirstOf("num_experts", "num_local_experts") ?? "num_experts";
        int experts = c.GetInt(field, 0, 1 << 12), step = c.GetInt("decoder_sparse_step", 1, Largest, 1);
        bool listed = c.TryGetInts("mlp_only_layers", 0, Largest, out IReadOnlyList<int> dense) && dense.Contains(sites.Index);
        if (experts == 0 || listed || (sites.Index + 1) % step != 0)
            return null;
        LinearSite router = sites.Linear("mlp.gate", experts, sites.Config.HiddenSize, bias: false);
        ExpertSites[] all = Mixtral.LoadExperts(sites, "mlp.", experts, c.GetInt("moe_intermediate_size", 1, Largest), "gate_proj", "up_proj", "down_proj");
        return new(router, all, c.GetInt("num_experts_per_tok", 1, experts), c.GetBool("norm_topk_prob", false));
    }
}
