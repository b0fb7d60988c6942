using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// y = W·x for W [I, O] (Conv1D). Lanes run over outputs; every (row, output) adds its inputs in order, in blocks of 128 that are then added,
/// whether the weight is streamed for one row or a panel of it is widened and reused for many.
/// </summary>
internal static unsafe class ColumnProduct<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int Block = 128;

    private static int PanelOutputs => 3 * O.Count;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(int outputs) => Math.Max(outputs, Block * PanelOutputs) + 12 * 16;

    /// <summary>Outputs [<paramref name="start"/>, <paramref name="end"/>) of all rows.</summary>
    public static void Run(in Product product, int start, int end, float* scratch)
    {
        switch (product.Type)
        {
            case DType.F32:
                Run<WeightF32>(product, start, end, scratch);
                break;
            case DType.F16:
                Run<WeightF16>(product, start, end, scratch);
                break;
            case DType.BF16:
                Run<WeightBF16>(product, start, end, scratch);
                break;
            default:
                throw new NotSupportedException($"{product.Type} cannot be a weight [I, O]: its blocks run over the inputs");
        }
    }

    private static void Run<W>(in Product p, int start, int end, float* scratch) where W : struct, IWeightType
    {
        for (int t = 0; t < p.Rows; t++)
            new Span<float>(p.Y + t * p.YStride + start, end - start).Clear();
        for (int k = 0; k < p.Inputs; k += Block)
        {
            int inputs = Math.Min(Block, p.Inputs - k);
            if (p.Rows == 1)
                Stream<W>(p, start, end, k, inputs, scratch);
            else
                for (int o = start; o < end; o += PanelOutputs)
                    Panel<W>(p, o, Math.Min(PanelOutputs, end - o), k, inputs, scratch);
        }
    }

    // Four rows of the weight at a time pass over a block of sums: whole lines are read in order.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Stream<W>(in Product p, int start, int end, int k, int inputs, float* sums) where W : struct, IWeightType
    {
        long rowBytes = (long)p.Outputs * W.ElementBytes;
        int count = end - start, whole = count / O.Count * O.Count;
        new Span<float>(sums, count).Clear();
        byte* w = p.Weight + k * rowBytes + (long)start * W.ElementBytes;
        float* x = p.X + k;
        int i = 0;
        for (; i + 4 <= inputs; i += 4, w += 4 * rowBytes)
        {
            V x0 = O.Broadcast(x[i]), x1 = O.Broadcast(x[i + 1]), x2 = O.Broadcast(x[i + 2]), x3 = O.Broadcast(x[i + 3]);
            byte* row = w;
            for (int o = 0; o < whole; o += O.Count, row += O.Count * W.ElementBytes)
            {
                V s = O.Load(sums + o);
                s = O.Fma(W.Load<O, V>(row, 0, 0, default), x0, s);
                s = O.Fma(W.Load<O, V>(row + rowBytes, 0, 0, default), x1, s);
                s = O.Fma(W.Load<O, V>(row + 2 * rowBytes, 0, 0, default), x2, s);
                s = O.Fma(W.Load<O, V>(row + 3 * rowBytes, 0, 0, default), x3, s);
                O.Store(s, sums + o);
            }
            if (count > whole)
                for (int j = 0; j < 4; j++)
                    Tail<W>(w + j * rowBytes, x[i + j], whole, count, sums);
        }
        for (; i < inputs; i++, w += rowBytes)
        {
            V x0 = O.Broadcast(x[i]);
            for (int o = 0; o < whole; o += O.Count)
                O.Store(O.Fma(W.Load<O, V>(w + (long)o * W.ElementBytes, 0, 0, default), x0, O.Load(sums + o)), sums + o);
            if (count > whole)
                Tail<W>(w, x[i], whole, count, sums);
        }
        float* y = p.Y + start;
        for (int o = 0; o < count; o++)
            y[o] += sums[o];
    }

    private static void Tail<W>(byte* row, float x, int whole, int count, float* sums) where W : struct, IWeightType
    {
        V w = Partial<O, V>.Load<W>(row + (long)whole * W.ElementBytes, count - whole);
        V s = O.Fma(w, O.Broadcast(x), Partial<O, V>.Load(sums + whole, count - whole));
        Partial<O, V>.Store(s, sums + whole, count - whole);
    }

    private static void Panel<W>(in Product p, int o, int outputs, int k, int inputs, float* scratch) where W : struct, IWeightType
    {
        long rowBytes = (long)p.Outputs * W.ElementBytes;
        float* sums = scratch, panel = scratch + 12 * 16;
        for (int i = 0; i < inputs; i++)
        {
            float* row = panel + i * PanelOutputs;
            Widen<O, V>.Run<W>(p.Weight + (k + i) * rowBytes + (long)o * W.ElementBytes, row, outputs);
            if (outputs < PanelOutputs)
                new Span<float>(row + outputs, PanelOutputs - outputs).Clear();
        }
        for (int t = 0; t < p.Rows; t += 4)
        {
            int count = Math.Min(4, p.Rows - t);
            float* x = p.X + t * p.XStride + k;
            Tile(x, count > 1 ? x + p.XStride : x, count > 2 ? x + 2 * p.XStride : x, count > 3 ? x + 3 * p.XStride : x, panel, inputs, sums);
            for (int r = 0; r < count; r++)
            {
                float* y = p.Y + (t + r) * p.YStride + o, s = sums + r * PanelOutputs;
                for (int j = 0; j < outputs; j++)
                    y[j] += s[j];
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile(float* x0, float* x1, float* x2, float* x3, float* w, int inputs, float* sums)
    {
        V a00 = O.Zero, a01 = O.Zero, a02 = O.Zero, a10 = O.Zero, a11 = O.Zero, a12 = O.Zero;
        V a20 = O.Zero, a21 = O.Zero, a22 = O.Zero, a30 = O.Zero, a31 = O.Zero, a32 = O.Zero;
        for (int k = 0; k < inputs; k++, w += 3 * O.Count)
        {
            V w0 = O.Load(w), w1 = O.Load(w + O.Count), w2 = O.Load(w + 2 * O.Count);
            V x = O.Broadcast(x0[k]);
            a00 = O.Fma(w0, x, a00);
            a01 = O.Fma(w1, x, a01);
            a02 = O.Fma(w2, x, a02);
            x = O.Broadcast(x1[k]);
            a10 = O.Fma(w0, x, a10);
            a11 = O.Fma(w1, x, a11);
            a12 = O.Fma(w2, x, a12);
            x = O.Broadcast(x2[k]);
            a20 = O.Fma(w0, x, a20);
            a21 = O.Fma(w1, x, a21);
            a22 = O.Fma(w2, x, a22);
            x = O.Broadcast(x3[k]);
            a30 = O.Fma(w0, x, a30);
            a31 = O.Fma(w1, x, a31);
            a32 = O.Fma(w2, x, a32);
        }
        O.Store(a00, sums);
        O.Store(a01, sums + O.Count);
        O.Store(a02, sums + 2 * O.Count);
        O.Store(a10, sums + 3 * O.Count);
        O.Store(a11, sums + 4 * O.Count);
        O.Store(a12, sums + 5 * O.Count);
        O.Store(a20, sums + 6 * O.Count);
        O.Store(a21, sums + 7 * O.Count);
        O.Store(a22, sums + 8 * O.Count);
        O.Store(a30, sums + 9 * O.Count);
        O.Store(a31, sums + 10 * O.Count);
        O.Store(a32, sums + 11 * O.Count);
    }
}
