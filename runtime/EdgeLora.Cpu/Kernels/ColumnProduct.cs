using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// y = W·x for W [I, O] (Conv1D). Lanes run over outputs; every (row, output) adds its inputs in order, in blocks of 256 that are then added: one row streams the weight, more are an
/// <see cref="OuterProduct{O, V}"/>.
/// </summary>
internal static unsafe class ColumnProduct<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int Block = OuterProduct<O, V>.BlockDepth;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(int outputs) => Math.Max(outputs, OuterProduct<O, V>.ScratchFloats);

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
        if (p.Rows > 1)
        {
            OuterArguments outer = new() { A = p.X, ARow = p.XStride, ADepth = 1, B = p.Weight, BType = p.Type, BStride = p.Outputs, Depth = p.Inputs, C = p.Y, CStride = p.YStride };
            OuterProduct<O, V>.Run(outer, 0, p.Rows, start, end, scratch);
            return;
        }
        for (int k = 0; k < p.Inputs; k += Block)
            Stream<W>(p, start, end, k, Math.Min(Block, p.Inputs - k), scratch);
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
}
