using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// y = W·x for many rows of x and a <see cref="PackedWeight"/>: blocks of 256 inputs of a few outputs are widened to floats and used for all rows by <see cref="OuterTile{O, V}"/>. Every (row, output)
/// adds its inputs in order, block by block (of 32 with their factor where a type has some): the sums of <see cref="PackedProduct{O, V}"/>, bit for bit.
/// </summary>
internal static unsafe class PackedPanels<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int Block = OuterProduct<O, V>.BlockDepth;
    private const int FactorBlock = 96;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats => (Block + 8L + Block / ScaledTile<O, V>.Depth) * OuterTile<O, V>.Columns;

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
        float* tile = scratch, part = tile + Block * width, factors = part + 8 * width;
        for (int t = 0; t < p.Rows; t++)
            new Span<float>(p.Y + t * p.YStride + start, end - start).Clear();
        for (int o = start; o < end; o += width)
        {
            int outputs = Math.Min(width, end - o);
            // A tile of fewer inputs stays in the first cache; blocks with factors are added one by one anyway.
            int block = W.HasScales ? FactorBlock : Block;
            for (int k = 0; k < p.Inputs; k += block)
            {
                int depth = Math.Min(block, p.Inputs - k);
                Widen<W>(p.Packed!, o, k, depth, tile, factors);
                for (int t = 0; t < p.Rows; t += rows)
                {
                    int count = Math.Min(rows, p.Rows - t);
                    float* x = p.X + t * p.XStride + k, y = p.Y + t * p.YStride + o;
                    if (outputs == width)
                    {
                        Multiply<W>(x, p.XStride, count, tile, factors, depth, y, p.YStride);
                        continue;
                    }
                    for (int r = 0; r < count; r++)
                        new Span<float>(y + r * p.YStride, outputs).CopyTo(new Span<float>(part + r * width, outputs));
                    Multiply<W>(x, p.XStride, count, tile, factors, depth, part, width);
                    for (int r = 0; r < count; r++)
                        new Span<float>(part + r * width, outputs).CopyTo(new Span<float>(y + r * p.YStride, outputs));
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Multiply<W>(float* x, long xStride, int rows, float* tile, float* factors, int depth, float* y, long yStride) where W : struct, IPackedType
    {
        if (W.HasScales)
            ScaledTile<O, V>.Run(x, xStride, rows, tile, factors, depth / ScaledTile<O, V>.Depth, y, yStride);
        else
            OuterTile<O, V>.Run(x, xStride, 1, rows, tile, OuterTile<O, V>.Columns, depth, y, yStride, chain: false);
    }

    // [depth][outputs of a tile], and the factors [depth / 32][outputs]; up to a whole group past depth is written where the weight was filled up.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Widen<W>(PackedWeight weight, int o, int k, int depth, float* tile, float* factors) where W : struct, IPackedType
    {
        int width = OuterTile<O, V>.Columns;
        for (int j = 0; j < width; j += O.Count)
        {
            byte* w = PackedProduct<O, V>.Start<W>(weight, (o + j) / O.Count, out ushort* scales, out int turns) + (long)(k / PackedWeight.Group) * turns * W.GroupBytes;
            scales += (long)(k / 32) * turns * PackedWeight.Panel;
            float* to = tile + j;
            if (W.HasScales)
                for (int b = 0; b < depth / 32; b++)
                    O.Store(O.LoadF16(scales + (long)b * turns * PackedWeight.Panel), factors + b * width + j);
            for (int d = 0; d < depth; d += PackedWeight.Group, w += turns * W.GroupBytes, to += PackedWeight.Group * width)
            {
                PackedProduct<O, V>.Prefetch<W>(w);
                O.Store(W.Load<O, V>(w, 0), to);
                O.Store(W.Load<O, V>(w, 1), to + width);
                O.Store(W.Load<O, V>(w, 2), to + 2 * width);
                O.Store(W.Load<O, V>(w, 3), to + 3 * width);
                O.Store(W.Load<O, V>(w, 4), to + 4 * width);
                O.Store(W.Load<O, V>(w, 5), to + 5 * width);
                O.Store(W.Load<O, V>(w, 6), to + 6 * width);
                O.Store(W.Load<O, V>(w, 7), to + 7 * width);
            }
        }
    }
}
