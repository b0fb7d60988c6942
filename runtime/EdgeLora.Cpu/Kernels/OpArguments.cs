using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>Arguments of the op that runs now, as the pool's threads see them. One object, refilled for every op.</summary>
internal sealed unsafe class OpArguments
{
    /// <summary>First input.</summary>
    public float* X;

    /// <summary>Second input, or the destination of ops with one input.</summary>
    public float* Y;

    /// <summary>Destination of ops with two inputs.</summary>
    public float* Z;

    /// <summary>Backward: gradient of the output.</summary>
    public float* Dy;

    /// <summary>Backward: gradient of the first input (attention: of q), added to; may be null where the op says so.</summary>
    public float* Dx;

    /// <summary>Backward: gradient of the second input (attention: of k), added to.</summary>
    public float* Dx2;

    /// <summary>Backward: gradient of the third input (attention: of v), added to.</summary>
    public float* Dx3;

    /// <summary>Norms, backward: mean (two floats) and factor of every piece.</summary>
    public float* Statistics;

    /// <summary>Cross-entropy: labels of the rows. Rows gathered and added: their numbers.</summary>
    public int* Labels;

    /// <summary>Sum of squares: one sum for each block.</summary>
    public double* Sums;

    /// <summary>Optimizers: elements. TopK, Route: k.</summary>
    public long Count;

    /// <summary>Optimizers: what a step is made of, folded into factors.</summary>
    public StepFactors Factors;

    /// <summary>Backward: what trains.</summary>
    public Gradients? Gradients;

    /// <summary>Scale: the factor.</summary>
    public float Factor;

    /// <summary>Rope: -1 for the inverse rotation, else 1.</summary>
    public float Sign;

    /// <summary>T.</summary>
    public int Rows;

    /// <summary>Width of a row of the activations.</summary>
    public int Columns;

    /// <summary>Rope: Hd. Norms: width of a piece. TopK: width of a row of the destination. AddRows: of the weights. Route: 1 where weights are renormalised.</summary>
    public int Width;

    /// <summary>Rope: n, rotated pairs.</summary>
    public int Pairs;

    /// <summary>Attention: layer of the caches. AddRows: column of the weights.</summary>
    public int Layer;

    /// <summary>Attention: heads, scale, window.</summary>
    public AttentionShape Shape;

    /// <summary>Rope: how pairs lie.</summary>
    public RopePairs PairLayout;

    /// <summary>Rows and paths, for ops that read them.</summary>
    public BatchLayout? Batch;

    /// <summary>Site of a norm.</summary>
    public NormSite? Norm;

    /// <summary>Site of an embedding.</summary>
    public EmbeddingSite? Embedding;

    /// <summary>Scratch of every part.</summary>
    public required Scratch[] Scratch;

    /// <summary>Forgets the call, so that adapters may be collected.</summary>
    public void Forget() => (Batch, Norm, Embedding, Gradients, Shape) = (null, null, null, null, default);
}
