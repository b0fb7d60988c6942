using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// y = W·x for many rows of x and a <see cref="PackedWeight"/>: blocks of 256 inputs of a few outputs are widened to floats and used for all rows by <see cref="OuterTile{O, V}"/>. Every (row, output)
/// adds its inputs in order, block by block: the sums of <see cref="PackedProduct{O, V}"/>, bit for bit.
/// </summary>
internal static unsafe class PackedPanels<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int Block = OuterProduct<O, V>.BlockDepth;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats => (Block + 8L) * OuterTile<O, V>.Columns;

    /// <summary>Outputs [<paramref name="start"/>, <paramref name="end"/>) of all rows; start a multiple of 16.</summary>
    public static void Run(in Product product, int start, int end, float* scratch)
    {
        switch (product.Type)
        {
            case DType.F16:
                Run<PackedF16>(product, start, end, scratch);
                break;
            case DType.BF16:
                Run<PackedBF16>(product, start, end, scratch);
                break;
            case DType.Q8_0:
                Run<PackedQ8_0>(product, start, end, scratch);
                break;
            case DType.Q4_0:
                Run<PackedQ4_0>(product, start, end, scratch);
                break;
            default:
                throw new NotSupportedException($"{product.Type} is never packed");
        }
    }

    private static void Run<W>(in Product p, int start, int end, float* scratch) where W : struct, IPackedType
    {
        int width = OuterTile<O, V>.Columns, rows = OuterTile<O, V>.Rows;
        float* tile = scratch, part = tile + Block * width;
        for (int t = 0; t < p.Rows; t++)
            new Span<float>(p.Y + t * p.YStride + start, end - start).Clear();
        for (int o = start; o < end; o += width)
        {
            int outputs = Math.Min(width, end - o);
            for (int k = 0; k < p.Inputs; k += Block)
            {
                int depth = Math.Min(Block, p.Inputs - k);
                Widen<W>(p.Packed!, o, k, depth, tile);
                for (int t = 0; t < p.Rows; t += rows)
                {
                    int count = Math.Min(rows, p.Rows - t);
                    float* x = p.X + t * p.XStride + k, y = p.Y + t * p.YStride + o;
                    if (outputs == width)
                    {
                        OuterTile<O, V>.Run(x, p.XStride, 1, count, tile, width, depth, y, p.YStride, chain: false);
                        continue;
                    }
                    for (int r = 0; r < count; r++)
                        new Span<float>(y + r * p.YStride, outputs).CopyTo(new Span<float>(part + r * width, outputs));
                    OuterTile<O, V>.Run(x, p.XStride, 1, count, tile, width, depth, part, width, chain: false);
                    for (int r = 0; r < count; r++)
                        new Span<float>(part + r * width, outputs).CopyTo(new Span<float>(y + r * p.YStride, outputs));
                }
            }
        }
    }

    // [depth][outputs of a tile]; up to a whole group past depth is written where the weight was filled up.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Widen<W>(PackedWeight weight, int o, int k, int depth, float* tile) where W : struct, IPackedType
    {
        int width = OuterTile<O, V>.Columns;
        for (int j = 0; j < width; j += O.Count)
        {
            byte* w = PackedProduct<O, V>.Start<W>(weight, (o + j) / O.Count, out ushort* scales) + (long)(k / PackedWeight.Group) * W.GroupBytes;
            scales += k / 32 * PackedWeight.Panel;
            float* to = tile + j;
            V factor = O.Zero;
            for (int d = 0; d < depth; d += PackedWeight.Group, w += W.GroupBytes, to += PackedWeight.Group * width)
            {
                if (W.HasScales && d % 32 == 0)
                {
                    factor = O.LoadF16(scales);
                    scales += PackedWeight.Panel;
                }
                O.Store(W.Load<O, V>(w, 0, factor), to);
                O.Store(W.Load<O, V>(w, 1, factor), to + width);
                O.Store(W.Load<O, V>(w, 2, factor), to + 2 * width);
                O.Store(W.Load<O, V>(w, 3, factor), to + 3 * width);
                O.Store(W.Load<O, V>(w, 4, factor), to + 4 * width);
                O.Store(W.Load<O, V>(w, 5, factor), to + 5 * width);
                O.Store(W.Load<O, V>(w, 6, factor), to + 6 * width);
                O.Store(W.Load<O, V>(w, 7, factor), to + 7 * width);
            }
        }
    }
}
