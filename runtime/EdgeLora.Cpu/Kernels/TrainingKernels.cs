using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>The training kernels of one tier, picked once.</summary>
internal sealed unsafe class TrainingKernels
{
    /// <summary>Fills a plan; see <see cref="LinearBackward{O, V}.Prepare"/>.</summary>
    public delegate*<BackwardPlan, BatchLayout, LinearSite, DeviceTensor, DeviceTensor, DeviceTensor?, Gradients, long> LinearPrepare;

    /// <summary>Regions of LinearBackward.</summary>
    public delegate*<object, int, int, void> LinearBefore, LinearRows, LinearParameters;

    /// <summary>Fills a plan; see <see cref="EmbedBackward{O, V}.Prepare"/>.</summary>
    public delegate*<BackwardPlan, BatchLayout, EmbeddingSite, DeviceTensor, Gradients, long> EmbedPrepare;

    /// <summary>Regions of EmbedBackward.</summary>
    public delegate*<object, int, int, void> EmbedBefore, EmbedLowRanks, EmbedParameters;

    /// <summary>First regions of RmsNormBackward and LayerNormBackward, and the second of both.</summary>
    public delegate*<object, int, int, void> RmsNorm, LayerNorm, NormParameters;

    /// <summary>AttentionBackward.</summary>
    public delegate*<object, int, int, void> Attention;

    /// <summary>Floats of scratch that AttentionBackward needs in each part.</summary>
    public delegate*<int, int, long> AttentionScratch;

    /// <summary>GatedActivationBackward, as ActivateBackward.</summary>
    public delegate*<object, int, int, void> GatedGelu, GatedGeluTanh, GatedRelu, GatedSilu, GatedTanh;

    /// <summary>ActivateBackward: GELU exact, GELU by tanh, ReLU, SiLU, tanh.</summary>
    public delegate*<object, int, int, void> Gelu, GeluTanh, Relu, Silu, Tanh;

    /// <summary>RouteBackward, GatherRowsBackward, AddRowsBackward.</summary>
    public delegate*<object, int, int, void> Route, GatherRows, AddRows;

    /// <summary>CrossEntropy.</summary>
    public delegate*<object, int, int, void> CrossEntropy;

    /// <summary>Optimizer steps.</summary>
    public delegate*<object, int, int, void> AdamW, Sgd;

    /// <summary>The kernel of an activation's backward.</summary>
    public delegate*<object, int, int, void> Activate(Activation kind) => kind switch
    {
        Activation.Gelu => Gelu,
        Activation.GeluTanh => GeluTanh,
        Activation.Relu => Relu,
        Activation.Silu => Silu,
        _ => Tanh,
    };

    /// <summary>The kernel of a gated activation's backward.</summary>
    public delegate*<object, int, int, void> Gated(Activation kind) => kind switch
    {
        Activation.Gelu => GatedGelu,
        Activation.GeluTanh => GatedGeluTanh,
        Activation.Relu => GatedRelu,
        Activation.Silu => GatedSilu,
        _ => GatedTanh,
    };

    /// <summary>The kernels of a tier.</summary>
    public static TrainingKernels Create<O, V>() where O : struct, ILanes<V> where V : unmanaged => new()
    {
        LinearPrepare = &LinearBackward<O, V>.Prepare,
        LinearBefore = &LinearBackward<O, V>.Before,
        LinearRows = &LinearBackward<O, V>.Rows,
        LinearParameters = &LinearBackward<O, V>.Parameters,
        EmbedPrepare = &EmbedBackward<O, V>.Prepare,
        EmbedBefore = &EmbedBackward<O, V>.Before,
        EmbedLowRanks = &EmbedBackward<O, V>.LowRanks,
        EmbedParameters = &EmbedBackward<O, V>.Parameters,
        RmsNorm = &NormBackward<O, V>.Rms,
        LayerNorm = &NormBackward<O, V>.Layer,
        NormParameters = &NormBackward<O, V>.Parameters,
        Attention = &AttentionBackward<O, V>.Run,
        AttentionScratch = &AttentionBackward<O, V>.ScratchFloats,
        GatedGelu = &GatedActivationBackward<O, V, GeluExact<O, V>, GeluExactSlope<O, V>>.Run,
        GatedGeluTanh = &GatedActivationBackward<O, V, GeluByTanh<O, V>, GeluByTanhSlope<O, V>>.Run,
        GatedRelu = &GatedActivationBackward<O, V, Relu<O, V>, ReluSlope<O, V>>.Run,
        GatedSilu = &GatedActivationBackward<O, V, Silu<O, V>, SiluSlope<O, V>>.Run,
        GatedTanh = &GatedActivationBackward<O, V, HyperbolicTangent<O, V>, HyperbolicTangentSlope<O, V>>.Run,
        Gelu = &ElementwiseBackward<O, V, GeluExactSlope<O, V>>.Run,
        GeluTanh = &ElementwiseBackward<O, V, GeluByTanhSlope<O, V>>.Run,
        Relu = &ElementwiseBackward<O, V, ReluSlope<O, V>>.Run,
        Silu = &ElementwiseBackward<O, V, SiluSlope<O, V>>.Run,
        Tanh = &ElementwiseBackward<O, V, HyperbolicTangentSlope<O, V>>.Run,
        Route = &Route<O, V>.Backward,
        GatherRows = &RowMoves<O, V>.GatherBackward,
        AddRows = &RowMoves<O, V>.AddBackward,
        CrossEntropy = &CrossEntropy<O, V>.Run,
        AdamW = &Optimizers<O, V>.AdamW,
        Sgd = &Optimizers<O, V>.Sgd,
    };
}
