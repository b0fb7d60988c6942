using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>A low-rank change of one site: <c>y ← gain ∘ (y + Scale·B·(A·x) + Scale·OutputBias)</c>.</summary>
/// <param name="A">[R, I]; for an embedding [R, V].</param>
/// <param name="B">[O, R]; for an embedding [D, R].</param>
/// <param name="Rank">R.</param>
/// <param name="Scale">alpha/r or alpha/√r, without the path's strength.</param>
/// <param name="OutputBias">lora_bias [O], or null.</param>
/// <param name="Magnitude">DoRA's m [O], or null.</param>
public sealed record LowRankDelta(Tensor A, Tensor B, int Rank, float Scale, Tensor? OutputBias, Tensor? Magnitude)
{
    /// <summary>Bytes of its tensors.</summary>
    public long ByteLength => A.ByteLength + B.ByteLength + (OutputBias?.ByteLength ?? 0) + (Magnitude?.ByteLength ?? 0);
}

/// <summary>Rows in place of the weight's own.</summary>
/// <param name="Ids">Ascending.</param>
/// <param name="Values">[n, columns], row i for Ids[i].</param>
public sealed record RowsDelta(int[] Ids, Tensor Values);

/// <summary>All that one adapter does at one site, in the base's stored row order. Taken in the order of the properties.</summary>
/// <param name="Site">Where.</param>
public sealed record SiteDelta(ModelSite Site)
{
    /// <summary>A whole weight in place of the base's, in its layout; or null.</summary>
    public Tensor? Weight { get; init; }

    /// <summary>Rows in place of the weight's; or null.</summary>
    public RowsDelta? Rows { get; init; }

    /// <summary>A scaling or rotation of the weight; or null.</summary>
    public WeightMap? Map { get; init; }

    /// <summary>A low-rank change; or null.</summary>
    public LowRankDelta? LowRank { get; init; }

    /// <summary>A bias in place of the base's; or null.</summary>
    public Tensor? Bias { get; init; }
}
