namespace EdgeLora.Onnx;

/// <summary>How graphs compute, and what is kept.</summary>
public sealed record OnnxOptions
{
    /// <summary>F16 activations, keys and values, for GPUs; false: F32. On the CPU most operators then run in F32 between conversions.</summary>
    public bool Half { get; init; }

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
}
