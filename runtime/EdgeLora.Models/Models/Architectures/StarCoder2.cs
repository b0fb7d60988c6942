using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>StarCoder2: LayerNorm, a plain feed-forward by tanh GELU, biases everywhere, a window. arXiv:2402.19173.</summary>
public sealed class StarCoder2 : Llama
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["starcoder2"];

    /// <inheritdoc/>
    protected override bool TiedByDefault => true;

    /// <inheritdoc/>
    protected override int DefaultContext => 4096;

    /// <inheritdoc/>
    protected override (string Field, float Absent) NormEpsilon => ("norm_epsilon", 1e-5f);

    /// <inheritdoc/>
    protected override bool LayerNorms => true;

    /// <inheritdoc/>
    protected override bool NormBias => true;

    /// <inheritdoc/>
    protected override bool UsesWindow(HfConfig config) => true;

    /// <inheritdoc/>
    protected override Activation ReadActivation(HfConfig config) => HfActivation.Read(config, "hidden_act", "gelu_pytorch_tanh");

    /// <inheritdoc/>
    protected override DecoderLayer LoadLayer(LayerSites sites)
    {
        int d = sites.Config.HiddenSize, f = sites.Config.FeedForward;
        bool bias = sites.Hf.GetBool("use_bias", true);
        return new()
        {
            AttentionNorm = sites.Norm("input_layernorm", d, bias: true),
            Q = sites.Linear("self_attn.q_proj", sites.Query, d, bias, sites.Config.Heads),
            K = sites.Linear("self_attn.k_proj", sites.KeyValue, d, bias, sites.Config.KvHeads),
            V = sites.Linear("self_attn.v_proj", sites.KeyValue, d, bias),
            O = sites.Linear("self_attn.o_proj", d, sites.Query, bias),
            FeedForwardNorm = sites.Norm("post_attention_layernorm", d, bias: true),
            Up = sites.Linear("mlp.c_fc", f, d, bias),
            Down = sites.Linear("mlp.c_proj", d, f, bias),
        };
    }
}
