using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Phi-3, Phi-3.5 and Phi-4, which says phi3: Llama with q|k|v and gate|up in one layer each; long contexts by longrope. arXiv:2404.14219, arXiv:2402.13753.</summary>
public sealed class Phi3 : Llama
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["phi3"];

    /// <inheritdoc/>
    protected override int DefaultContext => 4096;

    /// <inheritdoc/>
    protected override (string Field, float Absent) NormEpsilon => ("rms_norm_eps", 1e-5f);

    /// <inheritdoc/>
    protected override bool UsesWindow(HfConfig config) => true;

    /// <inheritdoc/>
    protected override RopeFrequencies ReadRope(HfConfig config, int headSize, int context) => RopeFrequencies.Read(config, RopeFrequencies.RotatedSize(config, headSize, 1), context);

    /// <inheritdoc/>
    protected override DecoderLayer LoadLayer(LayerSites sites)
    {
        int d = sites.Config.HiddenSize, f = sites.Config.FeedForward;
        return new()
        {
            AttentionNorm = sites.Norm("input_layernorm", d),
            Qkv = sites.Linear("self_attn.qkv_proj", sites.Query + 2 * sites.KeyValue, d, bias: false),
            O = sites.Linear("self_attn.o_proj", d, sites.Query, bias: false),
            FeedForwardNorm = sites.Norm("post_attention_layernorm", d),
            GateUp = sites.Linear("mlp.gate_up_proj", 2 * f, d, bias: false),
            Down = sites.Linear("mlp.down_proj", d, f, bias: false),
        };
    }
}
