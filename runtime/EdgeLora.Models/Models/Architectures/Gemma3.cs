using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Gemma 3's text model: Gemma 2 with an RMSNorm on every q and k head, rotary bases of windowed and full layers apart, and no caps unless named. arXiv:2503.19786.</summary>
public sealed class Gemma3 : Gemma2
{
    private const double GlobalTheta = 1e6, LocalTheta = 1e4;

    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["gemma3_text"];

    /// <inheritdoc/>
    protected override int DefaultContext => 131072;

    /// <inheritdoc/>
    protected override bool NormsHeads => true;

    /// <inheritdoc/>
    protected override (float Score, float Logit) DefaultCaps => (0, 0);

    /// <inheritdoc/>
    protected override bool IsWindowed(HfConfig config, int layer) => (layer + 1) % config.GetInt("sliding_window_pattern", 1, int.MaxValue, 6) != 0;

    /// <inheritdoc/>
    public override ModelConfig ReadConfig(BaseCheckpoint checkpoint)
    {
        ModelConfig config = base.ReadConfig(checkpoint);
        return config with { WindowRope = ReadWindowRope(checkpoint.Config, config.HeadSize, config.ContextLength) };
    }

    /// <inheritdoc/>
    protected override RopeFrequencies ReadRope(HfConfig config, int headSize, int context)
    {
        if (config.TryGetObject("rope_parameters", out HfConfig? sets))
            return RopeFrequencies.Read(config, sets.TryGetObject("full_attention", out HfConfig? full) ? full : sets, headSize, context, GlobalTheta);
        if (!config.TryGetObject("rope_scaling", out HfConfig? scaling))
            return RopeFrequencies.Read(config, config, headSize, context, GlobalTheta);
        // The reference library would leave such a scaling out without a word.
        return scaling.Has("rope_type") ? RopeFrequencies.Read(config, scaling, headSize, context, GlobalTheta) : throw scaling.Refusal("rope_type", "the kind of scaling under this name");
    }

    private static RopeFrequencies ReadWindowRope(HfConfig config, int headSize, int context) =>
        config.TryGetObject("rope_parameters", out HfConfig? sets) && sets.TryGetObject("sliding_attention", out HfConfig? windowed)
            ? RopeFrequencies.Read(config, windowed, headSize, context, LocalTheta)
            : new(RopeFrequencies.Powers(config.GetDouble("rope_local_base_freq", 1, 1e12, LocalTheta), headSize), 1);
}
