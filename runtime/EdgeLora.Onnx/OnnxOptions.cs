namespace EdgeLora.Onnx;

/// <summary>How graphs compute, and what is kept.</summary>
public sealed record OnnxOptions
{
    /// <summary>F16 activations, keys and values, for GPUs; false: F32. On the CPU most operators then run in F32 between conversions.</summary>
    public bool Half { get; init; }

    /// <summary>
    /// On the CPU, whether quantised weights are multiplied with activations rounded to 8 bits: fast, from blocks as small as the file's, and right to two digits. False: exact, as on the other devices; Q8_0 is then
    /// widened to F32 in memory, four bytes a weight, because ONNX Runtime multiplies 8-bit blocks with F32 activations some twenty times as slowly. Q4_0 stays blocks either way.
    /// </summary>
    public bool Int8Activations { get; init; }

    /// <summary>
    /// Whether every linear layer below the head has inputs for an adapter, so that one graph serves the base and all plain LoRA paths, also together in one step. False: a graph has them where its paths do, the
    /// base has none and pays nothing; each set of layers needs a graph of its own, and rows on different paths run by themselves.
    /// </summary>
    public bool AdapterInputs { get; init; } = true;

    internal OnnxType Activations => Half ? OnnxType.Float16 : OnnxType.Float;

    /// <summary>Graphs that are kept; the one unused longest goes. One graph serves all paths of one shape.</summary>
    public int Graphs { get; init; } = 12;

    /// <summary>Paths (and mixtures of paths) whose inputs stay bound.</summary>
    public int Bindings { get; init; } = 64;

    /// <summary>Bytes that bound paths may take together, beside the adapters themselves: a path's products are joined by rank, in a copy. The one unused longest goes; the last one bound may exceed it.</summary>
    public long BoundBytes { get; init; } = 512L << 20;
}
