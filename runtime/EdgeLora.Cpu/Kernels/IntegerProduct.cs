using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// y = W·x for a <see cref="PackedWeight"/> and rows of x that were rounded to whole numbers (<see cref="RoundedRows"/>). Lanes are outputs. The products of a group of 32 inputs are added exactly; their sum as a
/// float, times the product of the group's factor and the input's, is added to those of the groups before it, and then the group's minimum times the sum of its inputs. So a row's bits are the same for any number
/// of rows, thread and tier.
/// </summary>
internal static unsafe class IntegerProduct<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Groups whose factors are made at once; a tile of as many stays in the second cache beside the rows.</summary>
    public const int Groups = 32;

    /// <summary>Vectors of outputs that one row takes at once, at most.</summary>
    public const int Vectors = 4;

    private const int TileRows = 6;
    private const int BytesAhead = 8192;

    private static int TurnVectors => PackedWeight.Together * PackedWeight.Panel / O.Count;

    private static int TileOutputs => IntegerTile<O, V>.Vectors * O.Count;

    /// <summary>Floats of scratch that one part needs: a tile, factors, minimums, sums.</summary>
    public static long ScratchFloats => Groups * 16L * TileOutputs + (2L * Groups + TileRows) * Vectors * O.Count;

    /// <summary>Outputs [<paramref name="start"/>, <paramref name="end"/>) of all rows; start a multiple of 16, end too or the last.</summary>
    public static void Run(in Product product, int start, int end, float* scratch)
    {
        switch (product.Type)
        {
            case DType.Q8_0:
                Run<IntegerBytes>(product, start, end, scratch);
                break;
            case DType.Q4_0:
                Run<IntegerNibbles>(product, start, end, scratch);
                break;
            case DType.Q4_1 or DType.Q4_K:
                Run<IntegerUnsigned4>(product, start, end, scratch);
                break;
            case DType.Q5_0:
                Run<IntegerSigned5>(product, start, end, scratch);
                break;
            case DType.Q5_1 or DType.Q5_K:
                Run<IntegerUnsigned5>(product, start, end, scratch);
                break;
            default:
                throw new NotSupportedException($"{product.Type} has no products of whole numbers");
        }
    }

    /// <summary>The total with a group's sum and, where there are some, its minimum times its inputs' sum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Add<W>(V sum, V factor, V minimum, V inputs, V total) where W : struct, IIntegerType
    {
        total = O.Fma(O.Numbers(sum), factor, total);
        return W.HasMinimums ? O.Fma(minimum, inputs, total) : total;
    }

    /// <summary>First step of a vector of outputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Start<W>(PackedWeight weight, int vector) where W : struct, IIntegerType => weight.FirstStep(vector * O.Count / PackedWeight.Panel) + vector * O.Count % PackedWeight.Panel * W.LaneBytes;

    /// <summary>First factor of a vector of outputs, of a plain type.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort* Factor(PackedWeight weight, int vector) => (ushort*)weight.FirstRecord(vector * O.Count / PackedWeight.Panel) + vector * O.Count % PackedWeight.Panel;

    /// <summary>As <see cref="PackedProduct{O, V}.Prefetch"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch<W>(byte* step) where W : struct, IIntegerType
    {
        if (O.Count == PackedWeight.Panel)
            for (int line = 0; line < W.StepBytes; line += 64)
                Lanes.Prefetch(step + BytesAhead + line);
    }

    /// <summary>Factors, and minimums behind them, of some groups of vectors that take turns: [group][vector] of so many vectors.</summary>
    public static void Factors<W>(PackedWeight weight, int vector, int vectors, int last, int first, int groups, float* to, int width) where W : struct, IIntegerType
    {
        GroupFactors<O, V>.Factors(weight, vector, vectors, last, first, groups, to, width);
        if (W.HasMinimums)
            GroupFactors<O, V>.Minimums(weight, vector, vectors, last, first, groups, to + Groups * width, width);
    }

    private static void Run<W>(in Product p, int start, int end, float* scratch) where W : struct, IIntegerType
    {
        if (p.Rows > 4)
            Many<W>(p, start, end, scratch);
        else
            Few<W>(p, start, end, scratch);
    }

    // Tiles of two vectors of outputs and some groups, each used for all rows.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Many<W>(in Product p, int start, int end, float* scratch) where W : struct, IIntegerType
    {
        PackedWeight weight = p.Packed!;
        int width = TileOutputs, stride = RoundedRows.Stride(W.Words);
        float* tile = scratch, factors = tile + (long)Groups * W.Words * width, sums = factors + 2 * Groups * width;
        for (int o = start; o < end; o += width)
        {
            int outputs = Math.Min(width, end - o);
            for (int g = 0; g < weight.Groups; g += Groups)
            {
                int groups = Math.Min(Groups, weight.Groups - g);
                for (int v = 0; v < IntegerTile<O, V>.Vectors; v++)
                {
                    int vector = PackedProduct<O, V>.Within(weight, o / O.Count + v);
                    Unpack<W>(weight, vector, g, groups, tile + v * O.Count);
                    Factors<W>(weight, vector, 1, vector, g, groups, factors + v * O.Count, width);
                }
                int* x = p.Rounded + (long)g * stride;
                for (int t = 0; t < p.Rows; t += TileRows, x += TileRows * p.RoundedStride)
                {
                    int rows = Math.Min(TileRows, p.Rows - t);
                    if (g == 0)
                        new Span<float>(sums, TileRows * width).Clear();
                    for (int r = 0; g > 0 && r < rows; r++)
                        new Span<float>(p.Y + (t + r) * p.YStride + o, outputs).CopyTo(new Span<float>(sums + r * width, outputs));
                    IntegerTile<O, V>.Run<W>(x, p.RoundedStride, rows, (int*)tile, factors, factors + Groups * width, groups, sums);
                    for (int r = 0; r < rows; r++)
                        new Span<float>(sums + r * width, outputs).CopyTo(new Span<float>(p.Y + (t + r) * p.YStride + o, outputs));
                }
            }
        }
    }

    // The parts of some groups of a vector of outputs; from one to the next in the tile it is two vectors.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Unpack<W>(PackedWeight weight, int vector, int first, int groups, float* tile) where W : struct, IIntegerType
    {
        long step = (long)weight.InTurn(vector * O.Count / PackedWeight.Panel) * W.StepBytes;
        byte* w = Start<W>(weight, vector) + first * W.GroupSteps * step;
        int width = TileOutputs;
        for (int g = 0; g < groups; g++, w += (W.GroupSteps - W.Steps) * step)
        {
            V plane = W.Plane<O, V>(w, step);
            for (int s = 0; s < W.Steps; s++, w += step, tile += W.Words / W.Steps * width, plane = W.Next<O, V>(plane))
            {
                Prefetch<W>(w);
                V unit = W.Unit<O, V>(w);
                O.Store(W.Part<O, V>(w, unit, plane, 0), tile);
                O.Store(W.Part<O, V>(w, unit, plane, 1), tile + width);
                if (W.Words > 8)
                {
                    O.Store(W.Part<O, V>(w, unit, plane, 2), tile + 2 * width);
                    O.Store(W.Part<O, V>(w, unit, plane, 3), tile + 3 * width);
                }
            }
        }
    }

    // Vectors of outputs of panels that take turns: four at once for one row, two for two to four.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Few<W>(in Product p, int start, int end, float* scratch) where W : struct, IIntegerType
    {
        PackedWeight weight = p.Packed!;
        float* sums = scratch + 2 * Groups * Vectors * O.Count;
        int vectors = (end + O.Count - 1) / O.Count;
        for (int v = start / O.Count; v < vectors;)
        {
            // The last panels may be fewer than take turns elsewhere.
            int last = v / TurnVectors * TurnVectors + weight.InTurn(v * O.Count / PackedWeight.Panel) * PackedWeight.Panel / O.Count - 1;
            int count = Math.Min(p.Rows > 1 ? 2 : 4, Math.Min(vectors, last + 1) - v);
            if (p.Rows > 2)
                IntegerRows<O, V>.Run<W, FourRows>(weight, v, last, p.Rounded, p.RoundedStride, p.Rows, scratch, sums);
            else if (p.Rows > 1)
                IntegerRows<O, V>.Run<W, TwoRows>(weight, v, last, p.Rounded, p.RoundedStride, p.Rows, scratch, sums);
            else if (count > 2)
                IntegerRow<O, V>.Four<W>(weight, v, last, p.Rounded, scratch, sums);
            else
                IntegerRow<O, V>.Two<W>(weight, v, last, p.Rounded, scratch, sums);
            int outputs = Math.Min(count * O.Count, end - v * O.Count);
            for (int t = 0; t < p.Rows; t++)
                new Span<float>(sums + t * Vectors * O.Count, outputs).CopyTo(new Span<float>(p.Y + t * p.YStride + v * O.Count, outputs));
            v += count;
        }
    }
}
