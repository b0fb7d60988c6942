using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// y = W·x for many rows of x and a <see cref="PackedWeight"/>: blocks of inputs of a few outputs are widened to floats and used for all rows by <see cref="OuterTile{O, V}"/>. Where groups have minimums, their
/// products with the sums of the groups' inputs come first. Every (row, output) adds its inputs in order, block by block (of a group with its factor where it has some): the sums of
/// <see cref="PackedProduct{O, V}"/>, bit for bit.
/// </summary>
internal readonly unsafe struct PackedPanels<O, V> : IPackedKernel where O : struct, ILanes<V> where V : unmanaged
{
    private const int Block = OuterProduct<O, V>.BlockDepth;
    private const int FactorBlock = 96;
    private const int SmallestGroup = 16;
    private const int MostRows = 128;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(int inputs) => (Block + 8L + FactorBlock / SmallestGroup + 8) * OuterTile<O, V>.Columns + (long)MostRows * (inputs / SmallestGroup);

    /// <summary>Outputs [<paramref name="start"/>, <paramref name="end"/>) of all rows, 128 at most; start a multiple of 16.</summary>
    public static void Run(in Product product, int start, int end, float* scratch) => PackedKernel.Run<PackedPanels<O, V>>(product, start, end, scratch);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<W>(in Product p, int start, int end, float* scratch) where W : struct, IPackedType
    {
        PackedWeight weight = p.Packed!;
        int width = OuterTile<O, V>.Columns;
        float* tile = scratch, factors = tile + (Block + 8) * width, part = factors + FactorBlock / SmallestGroup * width, sums = part + 8 * width;
        bool minimums = weight.Layout.HasMinimums;
        for (int t = 0; t < p.Rows; t++)
        {
            new Span<float>(p.Y + t * p.YStride + start, end - start).Clear();
            if (minimums)
                GroupFactors<O, V>.Sums(p.X + t * p.XStride, p.Inputs, W.Group, sums + (long)t * weight.Groups);
        }
        for (int o = start; o < end; o += width)
        {
            int outputs = Math.Min(width, end - o);
            for (int g = 0; minimums && g < weight.Groups; g += Block)
            {
                int count = Math.Min(Block, weight.Groups - g);
                for (int j = 0; j < width; j += O.Count)
                {
                    int vector = PackedProduct<O, V>.Within(weight, (o + j) / O.Count);
                    GroupFactors<O, V>.Minimums(weight, vector, 1, vector, g, count, tile + j, width);
                }
                Multiply<W>(p, sums + g, weight.Groups, true, o, outputs, tile, factors, count, part);
            }
            // A tile of fewer inputs stays in the first cache; blocks with factors are added one by one anyway.
            int block = W.HasFactors ? FactorBlock : Block;
            for (int k = 0; k < p.Inputs; k += block)
            {
                int depth = Math.Min(block, p.Inputs - k);
                Widen<W>(weight, o, k, depth, tile, factors);
                Multiply<W>(p, p.X + k, p.XStride, false, o, outputs, tile, factors, depth, part);
            }
        }
    }

    // Adds a tile's products to all rows: one by one where chain, else in the type's blocks.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Multiply<W>(in Product p, float* x, long xStride, bool chain, int o, int outputs, float* tile, float* factors, int depth, float* part) where W : struct, IPackedType
    {
        int width = OuterTile<O, V>.Columns, rows = OuterTile<O, V>.Rows;
        for (int t = 0; t < p.Rows; t += rows, x += rows * xStride)
        {
            int count = Math.Min(rows, p.Rows - t);
            float* y = p.Y + t * p.YStride + o;
            bool whole = outputs == width;
            for (int r = 0; !whole && r < count; r++)
                new Span<float>(y + r * p.YStride, outputs).CopyTo(new Span<float>(part + r * width, outputs));
            float* to = whole ? y : part;
            long stride = whole ? p.YStride : width;
            if (W.HasFactors && !chain)
                ScaledTile<O, V>.Run(x, xStride, count, tile, factors, depth / W.Group, W.Group, to, stride);
            else
                OuterTile<O, V>.Run(x, xStride, 1, count, tile, width, depth, to, stride, chain);
            for (int r = 0; !whole && r < count; r++)
                new Span<float>(part + r * width, outputs).CopyTo(new Span<float>(y + r * p.YStride, outputs));
        }
    }

    // [depth][outputs of a tile], and the factors [groups][outputs]; up to a whole group past depth is written where the weight was filled up.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Widen<W>(PackedWeight weight, int o, int k, int depth, float* tile, float* factors) where W : struct, IPackedType
    {
        int width = OuterTile<O, V>.Columns;
        V table = O.Table(PackedTables.Of(weight.Type));
        for (int j = 0; j < width; j += O.Count)
        {
            int vector = PackedProduct<O, V>.Within(weight, (o + j) / O.Count);
            long step = (long)weight.InTurn(vector * O.Count / PackedWeight.Panel) * (W.GroupBytes / W.Steps);
            byte* w = PackedProduct<O, V>.Start<W>(weight, vector) + k / W.Group * W.Steps * step;
            float* to = tile + j;
            if (W.HasFactors)
                GroupFactors<O, V>.Factors(weight, vector, 1, vector, k / W.Group, depth / W.Group, factors + j, width);
            for (int d = 0; d < depth; d += W.Group)
            {
                for (int s = 0; s < W.Steps; s++, w += step, to += W.Fields * width)
                {
                    PackedProduct<O, V>.Prefetch<W>(w);
                    V unit = W.Unit<O, V>(w);
                    O.Store(W.Load<O, V>(w, unit, 0, table), to);
                    O.Store(W.Load<O, V>(w, unit, 1, table), to + width);
                    O.Store(W.Load<O, V>(w, unit, 2, table), to + 2 * width);
                    O.Store(W.Load<O, V>(w, unit, 3, table), to + 3 * width);
                    O.Store(W.Load<O, V>(w, unit, 4, table), to + 4 * width);
                    if (W.Fields > 5)
                    {
                        O.Store(W.Load<O, V>(w, unit, 5, table), to + 5 * width);
                    }
                    if (W.Fields > 6)
                    {
                        O.Store(W.Load<O, V>(w, unit, 6, table), to + 6 * width);
                        O.Store(W.Load<O, V>(w, unit, 7, table), to + 7 * width);
                    }
                }
                if (W.Rest > 0)
                {
                    V unit = W.RestUnit<O, V>(w - W.Steps * step, step);
                    O.Store(W.LoadRest<O, V>(unit, 0), to);
                    if (W.Rest > 1)
                        O.Store(W.LoadRest<O, V>(unit, 1), to + width);
                    to += W.Rest * width;
                }
            }
        }
    }
}
