using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>StableLM 2: Llama with LayerNorm, a part of each head rotated, and by choice a parallel residual and a LayerNorm on every q and k head. arXiv:2402.17834.</summary>
public sealed class StableLm : Llama
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["stablelm"];

    /// <inheritdoc/>
    protected override int DefaultContext => 4096;

    /// <inheritdoc/>
    protected override (string Field, float Absent) NormEpsilon => ("layer_norm_eps", 1e-5f);

    /// <inheritdoc/>
    protected override bool LayerNorms => true;

    /// <inheritdoc/>
    protected override bool NormBias => true;

    /// <inheritdoc/>
    protected override bool QkvBias(HfConfig config) => config.GetBool("use_qkv_bias", false);

    /// <inheritdoc/>
    protected override bool OutputBias(HfConfig config) => false;

    /// <inheritdoc/>
    protected override RopeFrequencies ReadRope(HfConfig config, int headSize, int context) => RopeFrequencies.Read(config, RopeFrequencies.RotatedSize(config, headSize, 0.25), context);

    /// <inheritdoc/>
    protected override DecoderLayer LoadLayer(LayerSites sites)
    {
        ModelConfig config = sites.Config;
        bool norms = sites.Hf.GetBool("qk_layernorm", false), parallel = sites.Hf.GetBool("use_parallel_residual", false);
        NormSite before = StreamNorm(sites, "input_layernorm");
        return LoadFeedForward(sites, LoadAttention(sites) with
        {
            AttentionNorm = before,
            QNorm = norms ? sites.HeadNorms("self_attn.q_layernorm", config.HeadSize, config.Heads) : null,
            KNorm = norms ? sites.HeadNorms("self_attn.k_layernorm", config.HeadSize, config.KvHeads) : null,
            Parallel = parallel,
            FeedForwardNorm = parallel ? null : StreamNorm(sites, "post_attention_layernorm"),
        });
    }
}
