using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// y = W·x for a few rows of x and a <see cref="PackedWeight"/>. Lanes are outputs; every (row, output) adds its inputs in order, in blocks that are then added: of 256, or where every 32 inputs have a
/// factor, of those 32, times the factor. They are the sums of <see cref="PackedPanels{O, V}"/>, bit for bit. A weight is widened once for all rows, in registers.
/// </summary>
internal static unsafe class PackedProduct<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Rows that are taken here; more go through <see cref="PackedPanels{O, V}"/>.</summary>
    public const int MostRows = 4;
    private const int BytesAhead = 8192;

    private static int TurnVectors => PackedWeight.Together * PackedWeight.Panel / O.Count;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(int inputs) => MostRows * (inputs + PackedWeight.Group) + MostRows * 4L * O.Count;

    /// <summary>Inputs that are summed before they are added to the total.</summary>
    public static int BlockInputs<W>() where W : struct, IPackedType => W.HasScales ? ScaledTile<O, V>.Depth : OuterProduct<O, V>.BlockDepth;

    /// <summary>Outputs [<paramref name="start"/>, <paramref name="end"/>) of all rows; start a multiple of 16, end too or the last.</summary>
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

    /// <summary>First group of a vector of outputs, its first factors, and how many panels take turns there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Start<W>(PackedWeight weight, int vector, out ushort* scales, out int turns) where W : struct, IPackedType
    {
        int panel = vector * O.Count / PackedWeight.Panel, lane = vector * O.Count % PackedWeight.Panel;
        // A vector past the end repeats the last panel's: computed, not stored.
        panel = Math.Min(panel, weight.Panels - 1);
        turns = weight.InTurn(panel);
        scales = weight.FirstScales(panel) + lane;
        return weight.FirstGroup(panel, W.GroupBytes) + lane * W.LaneBytes;
    }

    /// <summary>Fetches what comes so far behind a group. Several rows keep the processor too busy for it to look far ahead by itself; one row does not.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch<W>(byte* group) where W : struct, IPackedType
    {
        if (O.Count == PackedWeight.Panel)
            for (int line = 0; line < W.GroupBytes; line += 64)
                Lanes.Prefetch(group + BytesAhead + line);
    }

    /// <summary>The last vector of the panels that take turns with that of <paramref name="vector"/>: a pass does not go on to the next ones, whose groups lie otherwise.</summary>
    public static int LastInTurn(PackedWeight weight, int vector)
    {
        int first = vector / TurnVectors * TurnVectors;
        return first + weight.InTurn(first * O.Count / PackedWeight.Panel) * PackedWeight.Panel / O.Count - 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V End<W>(V sum, ref ushort* scales, int step, V total) where W : struct, IPackedType
    {
        total = Add<W>(sum, Factor<W>(scales), total);
        scales += step;
        return total;
    }

    /// <summary>A block's factors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Factor<W>(ushort* scales) where W : struct, IPackedType => W.HasScales ? O.LoadF16(scales) : O.Zero;

    /// <summary>The total with a block's sum, times its factors where it has some.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Add<W>(V sum, V factor, V total) where W : struct, IPackedType => W.HasScales ? O.Fma(factor, sum, total) : O.Add(total, sum);

    private static void Run<W>(in Product p, int start, int end, float* scratch) where W : struct, IPackedType
    {
        PackedWeight weight = p.Packed!;
        float* x = p.X, sums = scratch;
        long stride = p.XStride;
        if (p.Inputs % PackedWeight.Group != 0)
            x = Pad(p, ref stride, scratch + MostRows * 4L * O.Count);
        int vectors = (end - start + O.Count - 1) / O.Count, first = start / O.Count;
        for (int v = 0; v < vectors;)
        {
            int turn = (first + v) % TurnVectors, count = p.Rows == 1 && vectors - v > 2 && turn % 4 == 0 ? 4 : 2;
            if (turn + count > TurnVectors)
                count = TurnVectors - turn;
            if (p.Rows > 1)
                PackedRows<O, V>.Run<W>(weight, first + v, x, x + stride, x + (p.Rows > 2 ? 2 * stride : 0), x + (p.Rows > 3 ? 3 * stride : 0), sums);
            else if (count == 4)
                Four<W>(weight, first + v, x, sums);
            else
                Two<W>(weight, first + v, x, sums);
            int outputs = Math.Min(count * O.Count, end - start - v * O.Count);
            for (int t = 0; t < p.Rows; t++)
                new Span<float>(sums + t * 2 * O.Count, outputs).CopyTo(new Span<float>(p.Y + t * p.YStride + start + v * O.Count, outputs));
            v += count;
        }
    }

    // Inputs that are no whole group are filled up with zeros, as the weight is.
    private static float* Pad(in Product p, ref long stride, float* to)
    {
        int padded = p.Packed!.Groups * PackedWeight.Group;
        for (int t = 0; t < p.Rows; t++)
        {
            new Span<float>(p.X + t * p.XStride, p.Inputs).CopyTo(new Span<float>(to + t * padded, p.Inputs));
            new Span<float>(to + t * padded + p.Inputs, padded - p.Inputs).Clear();
        }
        stride = padded;
        return to;
    }

    // One row of x, four vectors of outputs.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four<W>(PackedWeight weight, int vector, float* x, float* sums) where W : struct, IPackedType
    {
        int last = LastInTurn(weight, vector);
        byte* w0 = Start<W>(weight, vector, out ushort* s0, out int turns);
        byte* w1 = Start<W>(weight, Math.Min(vector + 1, last), out ushort* s1, out _);
        byte* w2 = Start<W>(weight, Math.Min(vector + 2, last), out ushort* s2, out _);
        byte* w3 = Start<W>(weight, Math.Min(vector + 3, last), out ushort* s3, out _);
        int step = turns * W.GroupBytes, scaleStep = turns * PackedWeight.Panel;
        V t0 = O.Zero, t1 = O.Zero, t2 = O.Zero, t3 = O.Zero;
        for (int k = 0, inputs = weight.Groups * PackedWeight.Group; k < inputs;)
        {
            int end = Math.Min(inputs, k + BlockInputs<W>());
            V a0 = O.Zero, a1 = O.Zero, a2 = O.Zero, a3 = O.Zero;
            for (; k < end; k += PackedWeight.Group)
            {
                V v = O.Broadcast(x[k]);
                a0 = O.Fma(W.Load<O, V>(w0, 0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 0), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 0), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 0), v, a3);
                v = O.Broadcast(x[k + 1]);
                a0 = O.Fma(W.Load<O, V>(w0, 1), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 1), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 1), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 1), v, a3);
                v = O.Broadcast(x[k + 2]);
                a0 = O.Fma(W.Load<O, V>(w0, 2), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 2), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 2), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 2), v, a3);
                v = O.Broadcast(x[k + 3]);
                a0 = O.Fma(W.Load<O, V>(w0, 3), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 3), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 3), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 3), v, a3);
                v = O.Broadcast(x[k + 4]);
                a0 = O.Fma(W.Load<O, V>(w0, 4), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 4), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 4), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 4), v, a3);
                v = O.Broadcast(x[k + 5]);
                a0 = O.Fma(W.Load<O, V>(w0, 5), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 5), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 5), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 5), v, a3);
                v = O.Broadcast(x[k + 6]);
                a0 = O.Fma(W.Load<O, V>(w0, 6), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 6), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 6), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 6), v, a3);
                v = O.Broadcast(x[k + 7]);
                a0 = O.Fma(W.Load<O, V>(w0, 7), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 7), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 7), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 7), v, a3);
                w0 += step;
                w1 += step;
                w2 += step;
                w3 += step;
            }
            t0 = End<W>(a0, ref s0, scaleStep, t0);
            t1 = End<W>(a1, ref s1, scaleStep, t1);
            t2 = End<W>(a2, ref s2, scaleStep, t2);
            t3 = End<W>(a3, ref s3, scaleStep, t3);
        }
        O.Store(t0, sums);
        O.Store(t1, sums + O.Count);
        O.Store(t2, sums + 2 * O.Count);
        O.Store(t3, sums + 3 * O.Count);
    }

    // One row of x, two vectors of outputs.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Two<W>(PackedWeight weight, int vector, float* x, float* sums) where W : struct, IPackedType
    {
        int last = LastInTurn(weight, vector);
        byte* w0 = Start<W>(weight, vector, out ushort* s0, out int turns);
        byte* w1 = Start<W>(weight, Math.Min(vector + 1, last), out ushort* s1, out _);
        int step = turns * W.GroupBytes, scaleStep = turns * PackedWeight.Panel;
        V t0 = O.Zero, t1 = O.Zero;
        for (int k = 0, inputs = weight.Groups * PackedWeight.Group; k < inputs;)
        {
            int end = Math.Min(inputs, k + BlockInputs<W>());
            V a0 = O.Zero, a1 = O.Zero;
            for (; k < end; k += PackedWeight.Group)
            {
                V v = O.Broadcast(x[k]);
                a0 = O.Fma(W.Load<O, V>(w0, 0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 0), v, a1);
                v = O.Broadcast(x[k + 1]);
                a0 = O.Fma(W.Load<O, V>(w0, 1), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 1), v, a1);
                v = O.Broadcast(x[k + 2]);
                a0 = O.Fma(W.Load<O, V>(w0, 2), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 2), v, a1);
                v = O.Broadcast(x[k + 3]);
                a0 = O.Fma(W.Load<O, V>(w0, 3), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 3), v, a1);
                v = O.Broadcast(x[k + 4]);
                a0 = O.Fma(W.Load<O, V>(w0, 4), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 4), v, a1);
                v = O.Broadcast(x[k + 5]);
                a0 = O.Fma(W.Load<O, V>(w0, 5), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 5), v, a1);
                v = O.Broadcast(x[k + 6]);
                a0 = O.Fma(W.Load<O, V>(w0, 6), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 6), v, a1);
                v = O.Broadcast(x[k + 7]);
                a0 = O.Fma(W.Load<O, V>(w0, 7), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 7), v, a1);
                w0 += step;
                w1 += step;
            }
            t0 = End<W>(a0, ref s0, scaleStep, t0);
            t1 = End<W>(a1, ref s1, scaleStep, t1);
        }
        O.Store(t0, sums);
        O.Store(t1, sums + O.Count);
    }
}
