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
    /// <summary>Rows of b whose products are summed before they are added to c.</summary>
    public const int BlockDepth = 256;
    private const int BlockColumns = 384;

    /// <summary>Floats of scratch that one part needs, for any shape.</summary>
    public static long ScratchFloats => BlockDepth * BlockColumns + 8 * 16 + 96;

    /// <summary>Rows [<paramref name="firstRow"/>, <paramref name="lastRow"/>) of columns [<paramref name="start"/>, <paramref name="end"/>); start a multiple of 32.</summary>
    public static void Run(in OuterArguments p, int firstRow, int lastRow, int start, int end, float* scratch)
    {
        if (firstRow >= lastRow)
            return;
        float* packed = scratch, tile = packed + BlockDepth * BlockColumns;
        // Whole vectors of floats are read where they lie.
        bool direct = p.BType == DType.F32;
        bool large = p.BType.Bytes(p.Depth * p.BStride) > Lanes.SecondCache;
        for (int n = start; n < end; n += BlockColumns)
        {
            int columns = Math.Min(BlockColumns, end - n), read = direct ? columns / O.Count * O.Count : 0;
            for (int k = 0; k < p.Depth; k += BlockDepth)
            {
                int depth = Math.Min(BlockDepth, p.Depth - k);
                if (read < columns)
                    Pack(p, k, depth, n + read, columns - read, packed);
                // The next block of b is fetched while this one is used.
                int next = large ? Math.Min(BlockDepth, p.Depth - k - depth) : 0, fetched = 0;
                float* b = direct ? (float*)p.B + k * p.BStride + n : packed;
                for (int m = firstRow; m < lastRow; m += OuterTile<O, V>.Rows)
                {
                    for (int until = (int)((long)next * (m + OuterTile<O, V>.Rows - firstRow) / (lastRow - firstRow)); fetched < Math.Min(next, until); fetched++)
                        Prefetch(p, k + depth + fetched, n, columns);
                    RowsTimesPanels(p, m, Math.Min(OuterTile<O, V>.Rows, lastRow - m), k, depth, b, packed, n, columns, read, tile);
                }
            }
        }
    }

    private static void Prefetch(in OuterArguments p, int row, int column, int columns)
    {
        byte* from = p.B + p.BType.Bytes(row * p.BStride + column), end = from + p.BType.Bytes(columns);
        for (; from < end; from += 64)
            Lanes.Prefetch(from);
    }

    // Whole tiles, then single vectors, then what is left of one.
    private static void RowsTimesPanels(in OuterArguments p, int m, int rows, int k, int depth, float* b, float* packed, int n, int columns, int read, float* tile)
    {
        int width = OuterTile<O, V>.Columns, j = 0;
        float* a = p.A + m * p.ARow + k * p.ADepth, c = p.C + m * p.CStride + n;
        for (; j + width <= columns; j += width)
            if (read > 0)
                OuterTile<O, V>.Run(a, p.ARow, p.ADepth, rows, b + j, p.BStride, depth, c + j, p.CStride, p.Chain);
            else
                OuterTile<O, V>.Run(a, p.ARow, p.ADepth, rows, packed + (long)j * depth, width, depth, c + j, p.CStride, p.Chain);
        for (; j + O.Count <= columns; j += O.Count)
            if (read > 0)
                OuterColumn<O, V>.Run(a, p.ARow, p.ADepth, rows, b + j, p.BStride, depth, c + j, p.CStride, p.Chain);
            else
                OuterColumn<O, V>.Run(a, p.ARow, p.ADepth, rows, packed + (long)j * depth, O.Count, depth, c + j, p.CStride, p.Chain);
        if (j == columns)
            return;
        int rest = columns - j;
        for (int r = 0; r < rows; r++)
            O.Store(Partial<O, V>.Load(c + r * p.CStride + j, rest), tile + r * O.Count);
        OuterColumn<O, V>.Run(a, p.ARow, p.ADepth, rows, packed + (long)(j - read) * depth, O.Count, depth, tile, O.Count, p.Chain);
        for (int r = 0; r < rows; r++)
            new Span<float>(tile + r * O.Count, rest).CopyTo(new Span<float>(c + r * p.CStride + j, rest));
    }

    // Panels [panel][k][column] of whole tiles, then of single vectors, the last one filled up with zeros. 96 columns are whole panels in every tier and whole quantised blocks.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Pack(in OuterArguments p, int k, int depth, int n, int columns, float* packed)
    {
        const int unit = 96;
        bool blocks = !p.BType.HasKernels();
        int width = OuterTile<O, V>.Columns;
        float* row = packed + BlockDepth * BlockColumns + 8 * 16;
        for (int d = 0; d < depth; d++)
        {
            byte* source = p.B + p.BType.Bytes((k + d) * p.BStride + n);
            for (int j = 0; j < columns; j += unit)
            {
                int count = Math.Min(unit, columns - j), i = 0;
                float* from = row;
                if (p.BType == DType.F32 && count == unit)
                {
                    from = (float*)source + j;
                }
                else
                {
                    // Blocks of 256 do not begin and end where 96 columns do.
                    if (blocks)
                        WidenBlocks.Run(p.BType, p.B + p.BType.Bytes((k + d) * p.BStride), n + j, count, row);
                    else
                        Widen<O, V>.Run(p.BType, source + p.BType.Bytes(j), row, count);
                    new Span<float>(row + count, unit - count).Clear();
                }
                for (; i + width <= count; i += width)
                {
                    float* to = packed + (long)(j + i) * depth + d * width;
                    O.Store(O.Load(from + i), to);
                    O.Store(O.Load(from + i + O.Count), to + O.Count);
                    O.Store(O.Load(from + i + 2 * O.Count), to + 2 * O.Count);
                }
                for (; i < count; i += O.Count)
                    O.Store(O.Load(from + i), packed + (long)(j + i) * depth + d * O.Count);
            }
        }
    }
}
