using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// y = W·x for a <see cref="PackedWeight"/> and rows of x that were rounded to whole numbers (<see cref="RoundedRows"/>). Lanes are outputs. The products of a group of 32 inputs are added exactly; their sum as a
/// float, times the product of the group's factor and the input's, is added to those of the groups before it. So a row's bits are the same for any number of rows, thread and tier.
/// </summary>
internal static unsafe class IntegerProduct<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    // A tile of so many groups stays in the second cache beside the rows.
    private const int TileGroups = 32;
    private const int TileRows = 6;
    private const int BytesAhead = 8192;

    private static int TurnVectors => PackedWeight.Together * PackedWeight.Panel / O.Count;

    private static int TileOutputs => IntegerTile<O, V>.Vectors * O.Count;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats => (long)TileOutputs * (TileGroups * 17 + TileRows);

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
            default:
                throw new NotSupportedException($"{product.Type} has no products of whole numbers");
        }
    }

    /// <summary>The total with a group's sum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Add(V sum, V factor, V total) => O.Fma(O.Numbers(sum), factor, total);

    private static void Run<W>(in Product p, int start, int end, float* scratch) where W : struct, IIntegerType
    {
        if (p.Rows == 1)
            One<W>(p, start, end);
        else
            Many<W>(p, start, end, scratch);
    }

    // Tiles of two vectors of outputs and some groups, each used for all rows.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Many<W>(in Product p, int start, int end, float* scratch) where W : struct, IIntegerType
    {
        PackedWeight weight = p.Packed!;
        int width = TileOutputs, stride = RoundedRows.Stride(W.Words);
        float* tile = scratch, factors = tile + (long)TileGroups * W.Words * width, sums = factors + TileGroups * width;
        for (int o = start; o < end; o += width)
        {
            int outputs = Math.Min(width, end - o);
            for (int g = 0; g < weight.Groups; g += TileGroups)
            {
                int groups = Math.Min(TileGroups, weight.Groups - g);
                for (int v = 0; v < IntegerTile<O, V>.Vectors; v++)
                    Unpack<W>(weight, PackedProduct<O, V>.Within(weight, o / O.Count + v), g, groups, tile + v * O.Count, factors + v * O.Count);
                int* x = p.Rounded + (long)g * stride;
                for (int t = 0; t < p.Rows; t += TileRows, x += TileRows * p.RoundedStride)
                {
                    int rows = Math.Min(TileRows, p.Rows - t);
                    if (g == 0)
                        new Span<float>(sums, TileRows * width).Clear();
                    for (int r = 0; g > 0 && r < rows; r++)
                        new Span<float>(p.Y + (t + r) * p.YStride + o, outputs).CopyTo(new Span<float>(sums + r * width, outputs));
                    IntegerTile<O, V>.Run<W>(x, p.RoundedStride, rows, (int*)tile, factors, groups, sums);
                    for (int r = 0; r < rows; r++)
                        new Span<float>(sums + r * width, outputs).CopyTo(new Span<float>(p.Y + (t + r) * p.YStride + o, outputs));
                }
            }
        }
    }

    // The parts of some groups of a vector of outputs, and their factors; from one to the next in the tile it is two vectors.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Unpack<W>(PackedWeight weight, int vector, int first, int groups, float* tile, float* factors) where W : struct, IIntegerType
    {
        long step = (long)weight.InTurn(vector * O.Count / PackedWeight.Panel) * W.StepBytes;
        byte* w = Start<W>(weight, vector) + first * W.Steps * step;
        int width = TileOutputs;
        GroupFactors<O, V>.Factors(weight, vector, 1, vector, first, groups, factors, width);
        for (int s = 0; s < groups * W.Steps; s++, w += step, tile += W.Words / W.Steps * width)
        {
            Prefetch<W>(w);
            V unit = W.Unit<O, V>(w);
            O.Store(W.Part<O, V>(w, unit, 0), tile);
            O.Store(W.Part<O, V>(w, unit, 1), tile + width);
            if (W.Words > 8)
            {
                O.Store(W.Part<O, V>(w, unit, 2), tile + 2 * width);
                O.Store(W.Part<O, V>(w, unit, 3), tile + 3 * width);
            }
        }
    }

    // One row: four vectors of outputs of panels that take turns, or as many as there are.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void One<W>(in Product p, int start, int end) where W : struct, IIntegerType
    {
        PackedWeight weight = p.Packed!;
        float* sums = stackalloc float[4 * O.Count];
        int last = (end + O.Count - 1) / O.Count;
        for (int v = start / O.Count; v < last;)
        {
            int count = Math.Min(4, Math.Min(last - v, TurnVectors - v % TurnVectors));
            // The last panels may be fewer than take turns elsewhere.
            int turns = weight.InTurn(v * O.Count / PackedWeight.Panel), most = v / TurnVectors * TurnVectors + turns * PackedWeight.Panel / O.Count - 1;
            count = Math.Min(count, most - v + 1);
            if (count > 2)
                Four<W>(weight, v, Math.Min(v + 3, most), p.Rounded, sums);
            else
                Two<W>(weight, v, Math.Min(v + 1, most), p.Rounded, sums);
            new Span<float>(sums, Math.Min(count * O.Count, end - v * O.Count)).CopyTo(new Span<float>(p.Y + v * O.Count, p.Outputs - v * O.Count));
            v += count;
        }
    }

    // Vectors past the last repeat it.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four<W>(PackedWeight weight, int vector, int last, int* rounded, float* sums) where W : struct, IIntegerType
    {
        int panel = vector * O.Count / PackedWeight.Panel, turns = weight.InTurn(panel), groups = weight.Groups;
        byte* w0 = Start<W>(weight, vector), w1 = Start<W>(weight, Math.Min(vector + 1, last)), w2 = Start<W>(weight, Math.Min(vector + 2, last)), w3 = Start<W>(weight, Math.Min(vector + 3, last));
        ushort* f0 = Factor(weight, vector), f1 = Factor(weight, Math.Min(vector + 1, last)), f2 = Factor(weight, Math.Min(vector + 2, last)), f3 = Factor(weight, Math.Min(vector + 3, last));
        long step = (long)turns * W.StepBytes, record = (long)turns * PackedWeight.Panel;
        V t0 = O.Zero, t1 = O.Zero, t2 = O.Zero, t3 = O.Zero;
        float* x = (float*)rounded;
        for (int g = 0; g < groups; g++, x += 2)
        {
            V a0 = O.Zero, a1 = O.Zero, a2 = O.Zero, a3 = O.Zero;
            for (int s = 0; s < W.Steps; s++, x += W.Words / W.Steps)
            {
                Prefetch<W>(w0);
                Prefetch<W>(w1);
                Prefetch<W>(w2);
                Prefetch<W>(w3);
                V u0 = W.Unit<O, V>(w0), u1 = W.Unit<O, V>(w1), u2 = W.Unit<O, V>(w2), u3 = W.Unit<O, V>(w3), v;
                v = O.Broadcast(x[0]);
                a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, 0), v);
                a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, 0), v);
                a2 = W.Multiply<O, V>(a2, W.Part<O, V>(w2, u2, 0), v);
                a3 = W.Multiply<O, V>(a3, W.Part<O, V>(w3, u3, 0), v);
                v = O.Broadcast(x[1]);
                a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, 1), v);
                a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, 1), v);
                a2 = W.Multiply<O, V>(a2, W.Part<O, V>(w2, u2, 1), v);
                a3 = W.Multiply<O, V>(a3, W.Part<O, V>(w3, u3, 1), v);
                if (W.Words > 8)
                {
                    v = O.Broadcast(x[2]);
                    a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, 2), v);
                    a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, 2), v);
                    a2 = W.Multiply<O, V>(a2, W.Part<O, V>(w2, u2, 2), v);
                    a3 = W.Multiply<O, V>(a3, W.Part<O, V>(w3, u3, 2), v);
                    v = O.Broadcast(x[3]);
                    a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, 3), v);
                    a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, 3), v);
                    a2 = W.Multiply<O, V>(a2, W.Part<O, V>(w2, u2, 3), v);
                    a3 = W.Multiply<O, V>(a3, W.Part<O, V>(w3, u3, 3), v);
                }
                w0 += step;
                w1 += step;
                w2 += step;
                w3 += step;
            }
            V d = O.Broadcast(*x);
            t0 = Add(W.Total<O, V>(a0, (int*)x + 1), O.Multiply(O.LoadFiniteF16(f0), d), t0);
            t1 = Add(W.Total<O, V>(a1, (int*)x + 1), O.Multiply(O.LoadFiniteF16(f1), d), t1);
            t2 = Add(W.Total<O, V>(a2, (int*)x + 1), O.Multiply(O.LoadFiniteF16(f2), d), t2);
            t3 = Add(W.Total<O, V>(a3, (int*)x + 1), O.Multiply(O.LoadFiniteF16(f3), d), t3);
            f0 += record;
            f1 += record;
            f2 += record;
            f3 += record;
        }
        O.Store(t0, sums);
        O.Store(t1, sums + O.Count);
        O.Store(t2, sums + 2 * O.Count);
        O.Store(t3, sums + 3 * O.Count);
    }

    // Vectors past the last repeat it.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Two<W>(PackedWeight weight, int vector, int last, int* rounded, float* sums) where W : struct, IIntegerType
    {
        int panel = vector * O.Count / PackedWeight.Panel, turns = weight.InTurn(panel), groups = weight.Groups;
        byte* w0 = Start<W>(weight, vector), w1 = Start<W>(weight, Math.Min(vector + 1, last));
        ushort* f0 = Factor(weight, vector), f1 = Factor(weight, Math.Min(vector + 1, last));
        long step = (long)turns * W.StepBytes, record = (long)turns * PackedWeight.Panel;
        V t0 = O.Zero, t1 = O.Zero;
        float* x = (float*)rounded;
        for (int g = 0; g < groups; g++, x += 2)
        {
            V a0 = O.Zero, a1 = O.Zero;
            for (int s = 0; s < W.Steps; s++, x += W.Words / W.Steps)
            {
                Prefetch<W>(w0);
                Prefetch<W>(w1);
                V u0 = W.Unit<O, V>(w0), u1 = W.Unit<O, V>(w1), v;
                v = O.Broadcast(x[0]);
                a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, 0), v);
                a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, 0), v);
                v = O.Broadcast(x[1]);
                a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, 1), v);
                a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, 1), v);
                if (W.Words > 8)
                {
                    v = O.Broadcast(x[2]);
                    a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, 2), v);
                    a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, 2), v);
                    v = O.Broadcast(x[3]);
                    a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, 3), v);
                    a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, 3), v);
                }
                w0 += step;
                w1 += step;
            }
            V d = O.Broadcast(*x);
            t0 = Add(W.Total<O, V>(a0, (int*)x + 1), O.Multiply(O.LoadFiniteF16(f0), d), t0);
            t1 = Add(W.Total<O, V>(a1, (int*)x + 1), O.Multiply(O.LoadFiniteF16(f1), d), t1);
            f0 += record;
            f1 += record;
        }
        O.Store(t0, sums);
        O.Store(t1, sums + O.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* Start<W>(PackedWeight weight, int vector) where W : struct, IIntegerType => weight.FirstStep(vector * O.Count / PackedWeight.Panel) + vector * O.Count % PackedWeight.Panel * W.LaneBytes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ushort* Factor(PackedWeight weight, int vector) => (ushort*)weight.FirstRecord(vector * O.Count / PackedWeight.Panel) + vector * O.Count % PackedWeight.Panel;

    // As PackedProduct.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch<W>(byte* step) where W : struct, IIntegerType
    {
        if (O.Count == PackedWeight.Panel)
            for (int line = 0; line < W.StepBytes; line += 64)
                Lanes.Prefetch(step + BytesAhead + line);
    }
}
