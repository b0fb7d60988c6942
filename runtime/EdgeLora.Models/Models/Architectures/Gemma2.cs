using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Gemma 2: gains are 1+w, norms before and after each block, embeddings by √D, soft caps on scores and logits, a window in every other layer, GeGLU. arXiv:2408.00118.</summary>
public class Gemma2 : Llama
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["gemma2"];

    /// <inheritdoc/>
    protected override bool TiedByDefault => true;

    /// <inheritdoc/>
    protected override int DefaultContext => 8192;

    /// <inheritdoc/>
    protected override float NormOffset => 1;

    /// <inheritdoc/>
    protected override bool UsesWindow(HfConfig config) => true;

    /// <inheritdoc/>
    protected override Activation ReadActivation(HfConfig config) => HfActivation.Read(config, "hidden_activation", "gelu_pytorch_tanh");

    /// <summary>What absent caps mean, on scores and on logits; null in a file is none.</summary>
    protected virtual (float Score, float Logit) DefaultCaps => (50, 30);

    /// <summary>Whether a layer has a window where layer_types does not say.</summary>
    protected virtual bool IsWindowed(HfConfig config, int layer) => layer % 2 == 0;

    /// <inheritdoc/>
    public override ModelConfig ReadConfig(BaseCheckpoint checkpoint)
    {
        HfConfig c = checkpoint.Config;
        if (c.GetBool("use_bidirectional_attention", false))
            throw c.Refusal("use_bidirectional_attention", "false");
        ModelConfig config = base.ReadConfig(checkpoint);
        return config with
        {
            EmbeddingScale = (float)Math.Sqrt(config.HiddenSize),
            AttentionScales = Enumerable.Repeat((float)(1 / Math.Sqrt(c.GetDouble("query_pre_attn_scalar", 1e-6, 1e12, 256))), config.Layers).ToArray(),
            ScoreCap = Cap(c, "attn_logit_softcapping", DefaultCaps.Score),
            LogitCap = Cap(c, "final_logit_softcapping", DefaultCaps.Logit),
        };
    }

    /// <inheritdoc/>
    protected override int[] ReadWindows(HfConfig c, int layers)
    {
        int window = c.GetInt("sliding_window", 1, int.MaxValue, 4096);
        bool typed = c.TryGetStrings("layer_types", out IReadOnlyList<string> types);
        return [.. Enumerable.Range(0, layers).Select(i => (typed ? types[i] == "sliding_attention" : IsWindowed(c, i)) ? window : 0)];
    }

    /// <inheritdoc/>
    protected override DecoderLayer LoadLayer(LayerSites sites)
    {
        NormSite before = StreamNorm(sites, "input_layernorm");
        return LoadFeedForward(sites, LoadAttention(sites) with
        {
            AttentionNorm = before,
            AfterAttention = StreamNorm(sites, "post_attention_layernorm"),
            FeedForwardNorm = StreamNorm(sites, "pre_feedforward_layernorm"),
            AfterFeedForward = StreamNorm(sites, "post_feedforward_layernorm"),
        });
    }

    private static float Cap(HfConfig c, string field, float absent) =>
        c.TryGetDouble(field, 1e-6, 1e12, out double cap) ? (float)cap : c.Fields.Contains(field) ? 0 : absent;
}
