using System.Runtime.Intrinsics;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>The kernels of one tier, picked once.</summary>
internal sealed unsafe class KernelTable
{
    private int _lanes;
    private KernelTable? _narrower;

    /// <summary>The tier.</summary>
    public required SimdTier Tier { get; init; }

    /// <summary>Adds a site to a plan; see <see cref="Linear{O, V}.Add(LinearPlan, BatchLayout, LinearSite, float*, long, float*, long)"/>.</summary>
    public delegate*<LinearPlan, BatchLayout, LinearSite, float*, long, float*, long, void> LinearAdd;

    /// <summary>Completes a plan; see <see cref="Linear{O, V}.Complete"/>.</summary>
    public delegate*<LinearPlan, long> LinearComplete;

    /// <summary>Fills a plan for a step's output before its gain; see <see cref="Linear{O, V}.PrepareBeforeGain"/>.</summary>
    public delegate*<LinearPlan, LinearSite, SiteAdapter, int, int, float*, long, float*, long> LinearBeforeGain;

    /// <summary>Region of Linear before the first, where there is dropout.</summary>
    public delegate*<object, int, int, void> LinearMasks;

    /// <summary>First region of Linear, where there are steps.</summary>
    public delegate*<object, int, int, void> LinearDowns;

    /// <summary>Second region of Linear.</summary>
    public delegate*<object, int, int, void> LinearProducts;

    /// <summary>Embed.</summary>
    public delegate*<object, int, int, void> Embed;

    /// <summary>RmsNorm.</summary>
    public delegate*<object, int, int, void> RmsNorm;

    /// <summary>LayerNorm.</summary>
    public delegate*<object, int, int, void> LayerNorm;

    /// <summary>Rope.</summary>
    public delegate*<object, int, int, void> Rope;

    /// <summary>Attention.</summary>
    public delegate*<object, int, int, void> Attention;

    /// <summary>Floats of scratch that Attention needs in each part.</summary>
    public delegate*<int, int, long> AttentionScratch;

    /// <summary>GatedActivation, as Activate.</summary>
    public delegate*<object, int, int, void> GatedGelu, GatedGeluTanh, GatedRelu, GatedSilu, GatedTanh;

    /// <summary>Activate: GELU exact, GELU by tanh, ReLU, SiLU, tanh.</summary>
    public delegate*<object, int, int, void> Gelu, GeluTanh, Relu, Silu, Tanh;

    /// <summary>Scale.</summary>
    public delegate*<object, int, int, void> Scale;

    /// <summary>Route, GatherRows, AddRows.</summary>
    public delegate*<object, int, int, void> Route, GatherRows, AddRows;

    /// <summary>Floats of scratch that Route needs in each part.</summary>
    public delegate*<int, long> RouteScratch;

    /// <summary>Add.</summary>
    public delegate*<object, int, int, void> Add;

    /// <summary>Floats of scratch that Embed needs in each part.</summary>
    public delegate*<BatchLayout, EmbeddingSite, long> EmbedScratch;

    /// <summary>The kernels of training.</summary>
    public required TrainingKernels Training { get; init; }

    /// <summary>The kernel of an activation.</summary>
    public delegate*<object, int, int, void> Activate(Activation kind) => kind switch
    {
        Activation.Gelu => Gelu,
        Activation.GeluTanh => GeluTanh,
        Activation.Relu => Relu,
        Activation.Silu => Silu,
        _ => Tanh,
    };

    /// <summary>The kernel of a gated activation.</summary>
    public delegate*<object, int, int, void> Gated(Activation kind) => kind switch
    {
        Activation.Gelu => GatedGelu,
        Activation.GeluTanh => GatedGeluTanh,
        Activation.Relu => GatedRelu,
        Activation.Silu => GatedSilu,
        _ => GatedTanh,
    };

    /// <summary>The table whose attention suits heads of <paramref name="headSize"/>: lanes past the end of a head are work for nothing, so small heads take narrower vectors.</summary>
    public KernelTable ForHeads(int headSize)
    {
        for (KernelTable table = this; ; table = table._narrower)
            if (table._narrower is null || headSize % table._lanes == 0 || (headSize % 8 != 0 && (headSize + table._lanes - 1) / table._lanes * table._lanes * 2 <= headSize * 3))
                return table;
    }

    /// <summary>The kernels of <paramref name="tier"/>.</summary>
    public static KernelTable For(SimdTier tier) => tier switch
    {
        SimdTier.Vector512 => Create<Lanes512, Vector512<float>>(tier, For(SimdTier.Vector256)),
        SimdTier.Vector256 => Create<Lanes256, Vector256<float>>(tier, For(SimdTier.Vector128)),
        SimdTier.Vector128 => Create<Lanes128, Vector128<float>>(tier, null),
        _ => Create<LanesScalar, Quad>(tier, null),
    };

    private static KernelTable Create<O, V>(SimdTier tier, KernelTable? narrower) where O : struct, ILanes<V> where V : unmanaged => new()
    {
        Tier = tier,
        _lanes = O.Count,
        _narrower = narrower,
        LinearAdd = &Linear<O, V>.Add,
        LinearComplete = &Linear<O, V>.Complete,
        LinearBeforeGain = &Linear<O, V>.PrepareBeforeGain,
        LinearMasks = &Linear<O, V>.Masks,
        LinearProducts = &Linear<O, V>.Products,
        LinearDowns = &Linear<O, V>.Downs,
        Embed = &Embed<O, V>.Run,
        RmsNorm = &Norm<O, V>.Rms,
        LayerNorm = &Norm<O, V>.Layer,
        Rope = &Rope<O, V>.Run,
        Attention = &Attention<O, V>.Run,
        AttentionScratch = &Attention<O, V>.ScratchFloats,
        GatedGelu = &GatedActivation<O, V, GeluExact<O, V>>.Run,
        GatedGeluTanh = &GatedActivation<O, V, GeluByTanh<O, V>>.Run,
        GatedRelu = &GatedActivation<O, V, Relu<O, V>>.Run,
        GatedSilu = &GatedActivation<O, V, Silu<O, V>>.Run,
        GatedTanh = &GatedActivation<O, V, HyperbolicTangent<O, V>>.Run,
        Scale = &Scale<O, V>.Run,
        Route = &Route<O, V>.Run,
        RouteScratch = &Route<O, V>.ScratchFloats,
        GatherRows = &RowMoves<O, V>.Gather,
        AddRows = &RowMoves<O, V>.Add,
        Gelu = &Elementwise<O, V, GeluExact<O, V>>.Run,
        GeluTanh = &Elementwise<O, V, GeluByTanh<O, V>>.Run,
        Relu = &Elementwise<O, V, Relu<O, V>>.Run,
        Silu = &Elementwise<O, V, Silu<O, V>>.Run,
        Tanh = &Elementwise<O, V, HyperbolicTangent<O, V>>.Run,
        Add = &Add<O, V>.Run,
        EmbedScratch = &Embed<O, V>.ScratchFloats,
        Training = TrainingKernels.Create<O, V>(),
    };
}
