using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// The weights of one decoder layer; what an architecture lacks is null. Sequential: <c>h ← h + after(attention(norm(h)))</c>, then <c>h ← h + after(feedForward(norm(h)))</c>, each sum normed
/// where the layer says so. Parallel: both read the same h, and a feed-forward without a norm of its own reads attention's.
/// </summary>
public sealed record DecoderLayer
{
    /// <summary>Norm before attention; null: none.</summary>
    public NormSite? AttentionNorm { get; init; }
    /// <summary>q, k, v in one layer [H·Hd + 2·K·Hd, D]; null where they are separate.</summary>
    public LinearSite? Qkv { get; init; }
    /// <summary>1: all q, then k, then v. Else the fused rows are so many equal pieces, each of its q, its k, its v: the heads (GPT-NeoX), or the key/value heads with their groups of queries (Falcon).</summary>
    public int QkvPieces { get; init; } = 1;
    /// <summary>q [H·Hd, D].</summary>
    public LinearSite? Q { get; init; }
    /// <summary>k [K·Hd, D].</summary>
    public LinearSite? K { get; init; }
    /// <summary>v [K·Hd, D].</summary>
    public LinearSite? V { get; init; }
    /// <summary>Norm of q before rope: of each head [Hd] or [H, Hd], or of all [H·Hd].</summary>
    public NormSite? QNorm { get; init; }
    /// <summary>Norm of k before rope, as <see cref="QNorm"/>.</summary>
    public NormSite? KNorm { get; init; }
    /// <summary>Attention output [D, H·Hd].</summary>
    public required LinearSite O { get; init; }
    /// <summary>Norm of what attention gives, before it is added.</summary>
    public NormSite? AfterAttention { get; init; }
    /// <summary>Norm of the sum after attention (post-norm).</summary>
    public NormSite? AttentionSumNorm { get; init; }
    /// <summary>Whether the feed-forward reads what attention read, not its sum.</summary>
    public bool Parallel { get; init; }
    /// <summary>Norm before the feed-forward; null: none, or in a parallel layer attention's.</summary>
    public NormSite? FeedForwardNorm { get; init; }
    /// <summary>Gate [F, D] of a gated feed-forward; null for a plain one.</summary>
    public LinearSite? Gate { get; init; }
    /// <summary>Up [F, D]; null where it is fused with the gate.</summary>
    public LinearSite? Up { get; init; }
    /// <summary>Gate, then up, in one layer [2·F, D]; null where they are separate.</summary>
    public LinearSite? GateUp { get; init; }
    /// <summary>Down [D, F].</summary>
    public LinearSite? Down { get; init; }
    /// <summary>A mixture of experts in place of gate, up and down; null: none.</summary>
    public ExpertWeights? Experts { get; init; }
    /// <summary>Norm of what the feed-forward gives, before it is added.</summary>
    public NormSite? AfterFeedForward { get; init; }
    /// <summary>Norm of the sum after the feed-forward (post-norm).</summary>
    public NormSite? FeedForwardSumNorm { get; init; }
}

/// <summary>All weights of a decoder.</summary>
/// <param name="Tokens">Token table [V, E].</param>
/// <param name="Positions">Learned positions, or null.</param>
/// <param name="Layers">The layers in order.</param>
/// <param name="FinalNorm">Norm before the head; null: none.</param>
/// <param name="Head">Output head [V, E].</param>
/// <param name="LayerNorm">LayerNorm instead of RMSNorm.</param>
/// <param name="Activation">The feed-forward's nonlinearity: of its gate, where it has one.</param>
public sealed record DecoderWeights(EmbeddingSite Tokens, EmbeddingSite? Positions, DecoderLayer[] Layers, NormSite? FinalNorm, LinearSite Head, bool LayerNorm, Activation Activation)
{
    /// <summary>Row of <see cref="Positions"/> that position 0 has.</summary>
    public int FirstPosition { get; init; }
    /// <summary>Slopes of attention's biases by position [H]; null: none.</summary>
    public DeviceTensor? Slopes { get; init; }
    /// <summary>From embeddings to the residual stream [D, E]; null where E is D.</summary>
    public LinearSite? ProjectIn { get; init; }
    /// <summary>From the residual stream to the head [E, D]; null where E is D.</summary>
    public LinearSite? ProjectOut { get; init; }
}
