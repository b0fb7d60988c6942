using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Cohere's Command R: one LayerNorm without bias feeds attention and feed-forward in parallel, rotary pairs are neighbours, logits have a factor.</summary>
public sealed class Cohere : Llama
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["cohere"];

    /// <inheritdoc/>
    protected override bool TiedByDefault => true;

    /// <inheritdoc/>
    protected override int DefaultContext => 8192;

    /// <inheritdoc/>
    protected override (string Field, float Absent) NormEpsilon => ("layer_norm_eps", 1e-5f);

    /// <inheritdoc/>
    protected override bool LayerNorms => true;

    /// <inheritdoc/>
    public override ModelConfig ReadConfig(BaseCheckpoint checkpoint) =>
        base.ReadConfig(checkpoint) with { LogitScale = checkpoint.Config.GetFloat("logit_scale", -1e12f, 1e12f, 0.0625f), Pairs = RopePairs.Adjacent };

    /// <inheritdoc/>
    protected override DecoderLayer LoadLayer(LayerSites sites)
    {
        ModelConfig config = sites.Config;
        bool norms = sites.Hf.GetBool("use_qk_norm", false);
        NormSite before = StreamNorm(sites, "input_layernorm");
        return LoadFeedForward(sites, LoadAttention(sites) with
        {
            AttentionNorm = before,
            QNorm = norms ? sites.Norm("self_attn.q_norm", config.HeadSize, heads: config.Heads) : null,
            KNorm = norms ? sites.Norm("self_attn.k_norm", config.HeadSize, heads: config.KvHeads) : null,
            Parallel = true,
        });
    }
}
