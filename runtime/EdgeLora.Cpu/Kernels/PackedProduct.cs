using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// y = W·x for a few rows of x and a <see cref="PackedWeight"/>. Lanes are outputs; every (row, output) adds its inputs in order, in blocks of 256 that are then added: the sums of
/// <see cref="PackedPanels{O, V}"/>, bit for bit. A weight is widened once for all rows, in registers.
/// </summary>
internal static unsafe class PackedProduct<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Rows that are taken here; more go through <see cref="PackedPanels{O, V}"/>.</summary>
    public const int MostRows = 4;
    private const int Block = OuterProduct<O, V>.BlockDepth;
    private const int BytesAhead = 2048;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(int inputs) => MostRows * (inputs + PackedWeight.Group) + MostRows * 4L * O.Count;

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

    /// <summary>First group of a vector of outputs, and its first factors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Start<W>(PackedWeight weight, int vector, out ushort* scales) where W : struct, IPackedType
    {
        int panel = vector * O.Count / PackedWeight.Panel, lane = vector * O.Count % PackedWeight.Panel;
        // A vector past the end repeats the last panel's: computed, not stored.
        panel = Math.Min(panel, weight.Panels - 1);
        scales = (ushort*)weight.Scales + (long)panel * (weight.Inputs / 32) * PackedWeight.Panel + lane;
        return weight.Data + (long)panel * weight.Groups * W.GroupBytes + lane * W.LaneBytes;
    }

    // Four rows keep the processor too busy for it to look far ahead by itself; one row does not.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch<W>(byte* group) where W : struct, IPackedType
    {
        if (O.Count == PackedWeight.Panel)
            for (int line = 0; line < W.GroupBytes; line += 64)
                Lanes.Prefetch(group + BytesAhead + line);
    }

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
            int count = p.Rows == 1 && vectors - v > 2 ? 4 : 2;
            new Span<float>(sums, (p.Rows == 1 ? count : MostRows * 2) * O.Count).Clear();
            if (p.Rows > 1)
                FourRows<W>(weight, first + v, x, x + stride, x + (p.Rows > 2 ? 2 * stride : 0), x + (p.Rows > 3 ? 3 * stride : 0), sums);
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

    // One row of x, four vectors of outputs; their sums are added to sums.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four<W>(PackedWeight weight, int vector, float* x, float* sums) where W : struct, IPackedType
    {
        byte* w0 = Start<W>(weight, vector + 0, out ushort* s0);
        byte* w1 = Start<W>(weight, vector + 1, out ushort* s1);
        byte* w2 = Start<W>(weight, vector + 2, out ushort* s2);
        byte* w3 = Start<W>(weight, vector + 3, out ushort* s3);
        V f0 = O.Zero, f1 = O.Zero, f2 = O.Zero, f3 = O.Zero;
        for (int k = 0, inputs = weight.Groups * PackedWeight.Group; k < inputs;)
        {
            int end = Math.Min(inputs, k + Block);
            V a0 = O.Zero, a1 = O.Zero, a2 = O.Zero, a3 = O.Zero;
            for (; k < end; k += PackedWeight.Group)
            {
                if (W.HasScales && k % 32 == 0)
                {
                    f0 = O.LoadF16(s0);
                    f1 = O.LoadF16(s1);
                    f2 = O.LoadF16(s2);
                    f3 = O.LoadF16(s3);
                    s0 += PackedWeight.Panel;
                    s1 += PackedWeight.Panel;
                    s2 += PackedWeight.Panel;
                    s3 += PackedWeight.Panel;
                }
                V v = O.Broadcast(x[k]);
                a0 = O.Fma(W.Load<O, V>(w0, 0, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 0, f1), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 0, f2), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 0, f3), v, a3);
                v = O.Broadcast(x[k + 1]);
                a0 = O.Fma(W.Load<O, V>(w0, 1, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 1, f1), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 1, f2), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 1, f3), v, a3);
                v = O.Broadcast(x[k + 2]);
                a0 = O.Fma(W.Load<O, V>(w0, 2, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 2, f1), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 2, f2), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 2, f3), v, a3);
                v = O.Broadcast(x[k + 3]);
                a0 = O.Fma(W.Load<O, V>(w0, 3, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 3, f1), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 3, f2), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 3, f3), v, a3);
                v = O.Broadcast(x[k + 4]);
                a0 = O.Fma(W.Load<O, V>(w0, 4, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 4, f1), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 4, f2), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 4, f3), v, a3);
                v = O.Broadcast(x[k + 5]);
                a0 = O.Fma(W.Load<O, V>(w0, 5, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 5, f1), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 5, f2), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 5, f3), v, a3);
                v = O.Broadcast(x[k + 6]);
                a0 = O.Fma(W.Load<O, V>(w0, 6, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 6, f1), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 6, f2), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 6, f3), v, a3);
                v = O.Broadcast(x[k + 7]);
                a0 = O.Fma(W.Load<O, V>(w0, 7, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 7, f1), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 7, f2), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 7, f3), v, a3);
                w0 += W.GroupBytes;
                w1 += W.GroupBytes;
                w2 += W.GroupBytes;
                w3 += W.GroupBytes;
            }
            O.Store(O.Add(O.Load(sums), a0), sums);
            O.Store(O.Add(O.Load(sums + O.Count), a1), sums + O.Count);
            O.Store(O.Add(O.Load(sums + 2 * O.Count), a2), sums + 2 * O.Count);
            O.Store(O.Add(O.Load(sums + 3 * O.Count), a3), sums + 3 * O.Count);
        }
    }

    // One row of x, two vectors of outputs; their sums are added to sums.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Two<W>(PackedWeight weight, int vector, float* x, float* sums) where W : struct, IPackedType
    {
        byte* w0 = Start<W>(weight, vector + 0, out ushort* s0);
        byte* w1 = Start<W>(weight, vector + 1, out ushort* s1);
        V f0 = O.Zero, f1 = O.Zero;
        for (int k = 0, inputs = weight.Groups * PackedWeight.Group; k < inputs;)
        {
            int end = Math.Min(inputs, k + Block);
            V a0 = O.Zero, a1 = O.Zero;
            for (; k < end; k += PackedWeight.Group)
            {
                if (W.HasScales && k % 32 == 0)
                {
                    f0 = O.LoadF16(s0);
                    f1 = O.LoadF16(s1);
                    s0 += PackedWeight.Panel;
                    s1 += PackedWeight.Panel;
                }
                V v = O.Broadcast(x[k]);
                a0 = O.Fma(W.Load<O, V>(w0, 0, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 0, f1), v, a1);
                v = O.Broadcast(x[k + 1]);
                a0 = O.Fma(W.Load<O, V>(w0, 1, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 1, f1), v, a1);
                v = O.Broadcast(x[k + 2]);
                a0 = O.Fma(W.Load<O, V>(w0, 2, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 2, f1), v, a1);
                v = O.Broadcast(x[k + 3]);
                a0 = O.Fma(W.Load<O, V>(w0, 3, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 3, f1), v, a1);
                v = O.Broadcast(x[k + 4]);
                a0 = O.Fma(W.Load<O, V>(w0, 4, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 4, f1), v, a1);
                v = O.Broadcast(x[k + 5]);
                a0 = O.Fma(W.Load<O, V>(w0, 5, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 5, f1), v, a1);
                v = O.Broadcast(x[k + 6]);
                a0 = O.Fma(W.Load<O, V>(w0, 6, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 6, f1), v, a1);
                v = O.Broadcast(x[k + 7]);
                a0 = O.Fma(W.Load<O, V>(w0, 7, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 7, f1), v, a1);
                w0 += W.GroupBytes;
                w1 += W.GroupBytes;
            }
            O.Store(O.Add(O.Load(sums), a0), sums);
            O.Store(O.Add(O.Load(sums + O.Count), a1), sums + O.Count);
        }
    }

    // Four rows of x, two vectors of outputs; their sums are added to sums, [4][2 vectors].
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourRows<W>(PackedWeight weight, int vector, float* x0, float* x1, float* x2, float* x3, float* sums) where W : struct, IPackedType
    {
        byte* w0 = Start<W>(weight, vector, out ushort* s0);
        byte* w1 = Start<W>(weight, vector + 1, out ushort* s1);
        V f0 = O.Zero, f1 = O.Zero;
        for (int k = 0, inputs = weight.Groups * PackedWeight.Group; k < inputs;)
        {
            int end = Math.Min(inputs, k + Block);
            V a00 = O.Zero, a01 = O.Zero, a10 = O.Zero, a11 = O.Zero, a20 = O.Zero, a21 = O.Zero, a30 = O.Zero, a31 = O.Zero;
            for (; k < end; k += PackedWeight.Group)
            {
                if (W.HasScales && k % 32 == 0)
                {
                    f0 = O.LoadF16(s0);
                    f1 = O.LoadF16(s1);
                    s0 += PackedWeight.Panel;
                    s1 += PackedWeight.Panel;
                }
                V u0 = W.Load<O, V>(w0, 0, f0), u1 = W.Load<O, V>(w1, 0, f1);
                V v = O.Broadcast(x0[k]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 1, f0);
                u1 = W.Load<O, V>(w1, 1, f1);
                v = O.Broadcast(x0[k + 1]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 1]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 1]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 1]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 2, f0);
                u1 = W.Load<O, V>(w1, 2, f1);
                v = O.Broadcast(x0[k + 2]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 2]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 2]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 2]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 3, f0);
                u1 = W.Load<O, V>(w1, 3, f1);
                v = O.Broadcast(x0[k + 3]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 3]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 3]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 3]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 4, f0);
                u1 = W.Load<O, V>(w1, 4, f1);
                v = O.Broadcast(x0[k + 4]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 4]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 4]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 4]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 5, f0);
                u1 = W.Load<O, V>(w1, 5, f1);
                v = O.Broadcast(x0[k + 5]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 5]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 5]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 5]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 6, f0);
                u1 = W.Load<O, V>(w1, 6, f1);
                v = O.Broadcast(x0[k + 6]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 6]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 6]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 6]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 7, f0);
                u1 = W.Load<O, V>(w1, 7, f1);
                v = O.Broadcast(x0[k + 7]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 7]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 7]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 7]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                Prefetch<W>(w0);
                Prefetch<W>(w1);
                w0 += W.GroupBytes;
                w1 += W.GroupBytes;
            }
            O.Store(O.Add(O.Load(sums), a00), sums);
            O.Store(O.Add(O.Load(sums + O.Count), a01), sums + O.Count);
            O.Store(O.Add(O.Load(sums + 2 * O.Count), a10), sums + 2 * O.Count);
            O.Store(O.Add(O.Load(sums + 3 * O.Count), a11), sums + 3 * O.Count);
            O.Store(O.Add(O.Load(sums + 4 * O.Count), a20), sums + 4 * O.Count);
            O.Store(O.Add(O.Load(sums + 5 * O.Count), a21), sums + 5 * O.Count);
            O.Store(O.Add(O.Load(sums + 6 * O.Count), a30), sums + 6 * O.Count);
            O.Store(O.Add(O.Load(sums + 7 * O.Count), a31), sums + 7 * O.Count);
        }
    }
}
