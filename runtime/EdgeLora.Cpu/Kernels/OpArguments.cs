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

    /// <summary>T.</summary>
    public int Rows;

    /// <summary>Width of a row of the activations.</summary>
    public int Columns;

    /// <summary>Rope: Hd. Norms: width of a piece.</summary>
    public int Width;

    /// <summary>Rope: n, rotated pairs.</summary>
    public int Pairs;

    /// <summary>Attention: layer of the caches.</summary>
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
}
