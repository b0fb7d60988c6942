using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>The weights of one decoder layer; what an architecture lacks is null. Pre-norm, sequential residuals.</summary>
public sealed record DecoderLayer
{
    /// <summary>Norm before attention.</summary>
    public required NormSite AttentionNorm { get; init; }
    /// <summary>q, k, v side by side in one layer [H·Hd + 2·K·Hd, D]; null where they are separate.</summary>
    public LinearSite? Qkv { get; init; }
    /// <summary>q [H·Hd, D].</summary>
    public LinearSite? Q { get; init; }
    /// <summary>k [K·Hd, D].</summary>
    public LinearSite? K { get; init; }
    /// <summary>v [K·Hd, D].</summary>
    public LinearSite? V { get; init; }
    /// <summary>RMSNorm of each q head [Hd], before rope.</summary>
    public NormSite? QNorm { get; init; }
    /// <summary>RMSNorm of each k head [Hd], before rope.</summary>
    public NormSite? KNorm { get; init; }
    /// <summary>Attention output [D, H·Hd].</summary>
    public required LinearSite O { get; init; }
    /// <summary>Norm before the feed-forward.</summary>
    public required NormSite FeedForwardNorm { get; init; }
    /// <summary>Gate [F, D] of a SwiGLU; null for a plain feed-forward.</summary>
    public LinearSite? Gate { get; init; }
    /// <summary>Up [F, D].</summary>
    public required LinearSite Up { get; init; }
    /// <summary>Down [D, F].</summary>
    public required LinearSite Down { get; init; }
}

/// <summary>All weights of a decoder.</summary>
/// <param name="Tokens">Token table [V, D].</param>
/// <param name="Positions">Learned positions [C, D], or null.</param>
/// <param name="Layers">The layers in order.</param>
/// <param name="FinalNorm">Norm before the head.</param>
/// <param name="Head">Output head [V, D].</param>
/// <param name="LayerNorm">LayerNorm instead of RMSNorm.</param>
/// <param name="Activation">The plain feed-forward's nonlinearity.</param>
public sealed record DecoderWeights(EmbeddingSite Tokens, EmbeddingSite? Positions, DecoderLayer[] Layers, NormSite FinalNorm, LinearSite Head, bool LayerNorm, Activation Activation);
