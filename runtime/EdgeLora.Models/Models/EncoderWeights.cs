using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>The weights of one encoder layer. <see cref="EncoderWeights.NormsFirst"/> says whether a norm stands before its block or after its residual sum.</summary>
/// <param name="Q">q [D, D].</param>
/// <param name="K">k [D, D].</param>
/// <param name="V">v [D, D].</param>
/// <param name="O">Attention output [D, D].</param>
/// <param name="AttentionNorm">LayerNorm of attention.</param>
/// <param name="Up">[F, D].</param>
/// <param name="Down">[D, F].</param>
/// <param name="FeedForwardNorm">LayerNorm of the feed-forward.</param>
public sealed record EncoderLayer(LinearSite Q, LinearSite K, LinearSite V, LinearSite O, NormSite AttentionNorm, LinearSite Up, LinearSite Down, NormSite FeedForwardNorm);

/// <summary>How an image becomes rows: patches in row order, each through one linear layer, behind a class token.</summary>
/// <param name="Projection">[D, C·p·p]: a convolution with stride p, seen as a linear layer over a patch's values in channel, row, column order.</param>
/// <param name="ClassToken">[D]: what stands first.</param>
/// <param name="Channels">C.</param>
/// <param name="ImageSize">Height and width.</param>
/// <param name="PatchSize">p.</param>
public sealed record PatchWeights(LinearSite Projection, float[] ClassToken, int Channels, int ImageSize, int PatchSize)
{
    /// <summary>Patches in a row of the image.</summary>
    public int PatchesAcross => ImageSize / PatchSize;

    /// <summary>Rows of an image: the class token and all patches.</summary>
    public int Rows => 1 + PatchesAcross * PatchesAcross;

    /// <summary>Values of an image, [C, H, W].</summary>
    public int Pixels => Channels * ImageSize * ImageSize;
}

/// <summary>All weights of an encoder that classifies.</summary>
public sealed record EncoderWeights
{
    /// <summary>Token table [V, D]; null for images.</summary>
    public EmbeddingSite? Tokens { get; init; }
    /// <summary>Patches of images; null for tokens.</summary>
    public PatchWeights? Patches { get; init; }
    /// <summary>Learned positions [C, D].</summary>
    public required EmbeddingSite Positions { get; init; }
    /// <summary>Token types [types, D], or null.</summary>
    public EmbeddingSite? Types { get; init; }
    /// <summary>LayerNorm of the embeddings' sum, or null.</summary>
    public NormSite? EmbeddingNorm { get; init; }
    /// <summary>The layers in order.</summary>
    public required EncoderLayer[] Layers { get; init; }
    /// <summary>True for pre-norm: the norm stands before the block. False: after the residual sum.</summary>
    public bool NormsFirst { get; init; }
    /// <summary>The feed-forward's nonlinearity.</summary>
    public required Activation Activation { get; init; }
    /// <summary>LayerNorm after the last layer, or null.</summary>
    public NormSite? FinalNorm { get; init; }
    /// <summary>What a sequence's first row goes through before the classifier, [D, D], or null.</summary>
    public LinearSite? Pooler { get; init; }
    /// <summary>The nonlinearity after the pooler.</summary>
    public Activation PoolerActivation { get; init; }
    /// <summary>[classes, D].</summary>
    public required LinearSite Classifier { get; init; }
    /// <summary>RoBERTa: positions count from this id + 1, and this id itself takes it as its position. Null: a token's position is its index.</summary>
    public int? PaddingId { get; init; }
}
