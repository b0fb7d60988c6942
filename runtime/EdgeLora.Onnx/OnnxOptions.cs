namespace EdgeLora.Onnx;

/// <summary>How graphs compute, and what is kept.</summary>
public sealed record OnnxOptions
{
    /// <summary>F16 activations, keys and values, for GPUs; false: F32. On the CPU most operators then run in F32 between conversions.</summary>
    public bool Half { get; init; }

    /// <summary>Graphs that are kept; the one unused longest goes. One graph serves all paths of one shape.</summary>
    public int Graphs { get; init; } = 12;

    /// <summary>Paths (and mixtures of paths) whose inputs stay bound.</summary>
    public int Bindings { get; init; } = 64;
}
