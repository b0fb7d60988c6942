using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>A copy of some rows with a dropout's factors on it.</summary>
internal unsafe struct MaskedRows
{
    /// <summary>The factors.</summary>
    public Dropout Dropout;

    /// <summary>First row of the path's run: row 0 of the mask.</summary>
    public float* X;

    /// <summary>Floats from one row of X to the next.</summary>
    public long XStride;

    /// <summary>Rows.</summary>
    public int Rows;

    /// <summary>Columns.</summary>
    public int Columns;

    /// <summary>The copy, [Rows, Columns].</summary>
    public float* To;

    /// <summary>Writes rows [<paramref name="start"/>, <paramref name="end"/>).</summary>
    public readonly void Write(int start, int end)
    {
        for (int t = start; t < end; t++)
            Dropout.Apply(t, new ReadOnlySpan<float>(X + t * XStride, Columns), new Span<float>(To + (long)t * Columns, Columns));
    }
}
