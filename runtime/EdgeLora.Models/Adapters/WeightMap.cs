using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What IA3, OFT and BOFT do to a linear layer: <c>y ← gain ∘ (W·T·x)</c>, with all low-rank steps before it. At a strength t: T is I + t·(T − I), a gain 1 + t·(gain − 1).</summary>
/// <param name="Inputs">T, or null. It costs a weight of the layer's size, F32, for every path that has another weight beneath.</param>
/// <param name="Gain">[O] F32 in the stored row order, or null.</param>
/// <param name="ScalesBias">Whether the bias is scaled with the outputs.</param>
/// <param name="ForNext">Whether the gain scales the inputs of the layer behind (IA3's feed-forward): what a later adapter would add here is scaled too, so none may.</param>
public sealed record WeightMap(InputMap? Inputs, Tensor? Gain, bool ScalesBias, bool ForNext = false)
{
    /// <summary>Bytes at <paramref name="site"/> on a device: the gain, and the weight that <see cref="Inputs"/> makes.</summary>
    public long BytesAt(ModelSite site) => (Gain?.ByteLength ?? 0) + (Inputs is null ? 0 : sizeof(float) * AdapterMerge.StoredWeight(site).Shape.Elements);
}
