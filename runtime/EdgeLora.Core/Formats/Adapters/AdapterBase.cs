namespace EdgeLora.Core;

/// <summary>What an adapter's format may have to know of the base.</summary>
/// <param name="Config">Its config in Hugging Face spelling.</param>
/// <param name="Weights">Shapes of its tensors under Hugging Face names, as they are stored.</param>
/// <param name="TransposedConv1D">True where GPT-2's Conv1D weights are stored [out, in] (GGUF).</param>
/// <param name="Types">How its tensors are stored, where that is known.</param>
public sealed record AdapterBase(HfConfig Config, IReadOnlyDictionary<string, Shape> Weights, bool TransposedConv1D = false, IReadOnlyDictionary<string, DType>? Types = null)
{
    /// <summary>Its key/value heads, where its fused q, k and v are told apart by them.</summary>
    public int? KvHeads { get; init; }
}
