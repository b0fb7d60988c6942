using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>One product c += a·b, [M, K]·[K, N], with b stored by rows of N.</summary>
internal unsafe struct OuterArguments
{
    /// <summary>Element (0, 0) of a.</summary>
    public float* A;

    /// <summary>Floats from one row of a to the next.</summary>
    public long ARow;

    /// <summary>Floats from one k of a to the next.</summary>
    public long ADepth;

    /// <summary>b as stored.</summary>
    public byte* B;

    /// <summary>Type of b.</summary>
    public DType BType;

    /// <summary>Elements from one row of b to the next.</summary>
    public long BStride;

    /// <summary>K.</summary>
    public int Depth;

    /// <summary>First row of c.</summary>
    public float* C;

    /// <summary>Floats from one row of c to the next.</summary>
    public long CStride;

    /// <summary>True: c is the first summand of one long chain (gradients: how rows are cut into calls leaves no trace). False: blocks of 256 are summed, then added.</summary>
    public bool Chain;
}

/// <summary>
/// c += a·b with lanes over the columns of b: the input's gradient (b a weight of any type), a weight's gradient (b activations), and the products of attention.
/// An element's bits depend on its row of a and its column of b only.
/// </summary>
internal static unsafe class OuterProduct<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int BlockDepth = 256;
    private const int BlockColumns = 384;

    /// <summary>Floats of scratch that one part needs, for any shape.</summary>
    public static long ScratchFloats => BlockDepth * BlockColumns + 8 * 48 + 96;

    /// <summary>Rows [<paramref name="firstRow"/>, <paramref name="lastRow"/>) of columns [<paramref name="start"/>, <paramref name="end"/>); start a multiple of 32.</summary>
    public static void Run(in OuterArguments p, int firstRow, int lastRow, int start, int end, float* scratch)
    {
        if (firstRow >= lastRow)
            return;
        float* packed = scratch, tile = packed + BlockDepth * BlockColumns;
        int width = OuterTile<O, V>.Columns;
        // Few rows do not pay for a copy of b: whole panels of floats are read where they lie.
        bool direct = p.BType == DType.F32 && lastRow - firstRow <= 2 * OuterTile<O, V>.Rows;
        for (int n = start; n < end; n += BlockColumns)
        {
            int columns = Math.Min(BlockColumns, end - n), whole = direct ? columns / width * width : 0;
            for (int k = 0; k < p.Depth; k += BlockDepth)
            {
                int depth = Math.Min(BlockDepth, p.Depth - k);
                if (whole < columns)
                    Pack(p, k, depth, n + whole, columns - whole, packed);
                for (int m = firstRow; m < lastRow; m += OuterTile<O, V>.Rows)
                {
                    int rows = Math.Min(OuterTile<O, V>.Rows, lastRow - m);
                    float* a = p.A + m * p.ARow + k * p.ADepth, c = p.C + m * p.CStride + n;
                    for (int j = 0; j < whole; j += width)
                        OuterTile<O, V>.Run(a, p.ARow, p.ADepth, rows, (float*)p.B + k * p.BStride + n + j, p.BStride, depth, c + j, p.CStride, p.Chain);
                    for (int j = whole; j < columns; j += width)
                    {
                        float* b = packed + (long)(j - whole) * depth;
                        if (j + width <= columns)
                            OuterTile<O, V>.Run(a, p.ARow, p.ADepth, rows, b, width, depth, c + j, p.CStride, p.Chain);
                        else
                            Edge(p, a, rows, b, depth, c + j, columns - j, tile);
                    }
                }
            }
        }
    }

    private static void Edge(in OuterArguments p, float* a, int rows, float* b, int depth, float* c, int columns, float* tile)
    {
        int width = OuterTile<O, V>.Columns;
        for (int r = 0; r < rows; r++)
        {
            new Span<float>(c + r * p.CStride, columns).CopyTo(new Span<float>(tile + r * width, columns));
            new Span<float>(tile + r * width + columns, width - columns).Clear();
        }
        OuterTile<O, V>.Run(a, p.ARow, p.ADepth, rows, b, width, depth, tile, width, p.Chain);
        for (int r = 0; r < rows; r++)
            new Span<float>(tile + r * width, columns).CopyTo(new Span<float>(c + r * p.CStride, columns));
    }

    // Panels of tile columns: [panel][k][column], the last one filled up with zeros. 96 columns are whole panels in every tier and whole quantised blocks.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Pack(in OuterArguments p, int k, int depth, int n, int columns, float* packed)
    {
        const int unit = 96;
        int width = OuterTile<O, V>.Columns;
        float* row = packed + BlockDepth * BlockColumns + 8 * 48;
        for (int d = 0; d < depth; d++)
        {
            byte* source = p.B + p.BType.Bytes((k + d) * p.BStride + n);
            for (int j = 0; j < columns; j += unit)
            {
                int count = Math.Min(unit, columns - j);
                float* from = row;
                if (p.BType == DType.F32 && count == unit)
                {
                    from = (float*)source + j;
                }
                else
                {
                    Widen<O, V>.Run(p.BType, source + p.BType.Bytes(j), row, count);
                    new Span<float>(row + count, unit - count).Clear();
                }
                for (int i = 0; i < count; i += width)
                {
                    float* to = packed + (long)(j + i) * depth + d * width;
                    O.Store(O.Load(from + i), to);
                    O.Store(O.Load(from + i + O.Count), to + O.Count);
                    O.Store(O.Load(from + i + 2 * O.Count), to + 2 * O.Count);
                }
            }
        }
    }
}
