namespace EdgeLora.Models;

/// <summary>OLMo 2: nothing is normed before a block but its result is, and q and k over all their heads together. arXiv:2501.00656.</summary>
public sealed class Olmo2 : Llama
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["olmo2"];

    /// <inheritdoc/>
    protected override (string Field, float Absent) NormEpsilon => ("rms_norm_eps", 1e-5f);

    /// <inheritdoc/>
    protected override DecoderLayer LoadLayer(LayerSites sites) => LoadFeedForward(sites, LoadAttention(sites) with
    {
        QNorm = sites.Norm("self_attn.q_norm", sites.Query),
        KNorm = sites.Norm("self_attn.k_norm", sites.KeyValue),
        AfterAttention = StreamNorm(sites, "post_attention_layernorm"),
        AfterFeedForward = StreamNorm(sites, "post_feedforward_layernorm"),
    });
}
