using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>One matrix product y = W·x of a linear layer: the base's, or an adapter's A.</summary>
internal unsafe struct Product
{
    /// <summary>W as stored.</summary>
    public byte* Weight;

    /// <summary>Type of W.</summary>
    public DType Type;

    /// <summary>True when W is [I, O].</summary>
    public bool InputMajor;

    /// <summary>I.</summary>
    public int Inputs;

    /// <summary>O.</summary>
    public int Outputs;

    /// <summary>Rows of x.</summary>
    public int Rows;

    /// <summary>First row of x.</summary>
    public float* X;

    /// <summary>Floats from one row of x to the next.</summary>
    public long XStride;

    /// <summary>First row of y.</summary>
    public float* Y;

    /// <summary>Floats from one row of y to the next.</summary>
    public long YStride;
}

/// <summary>
/// y = W·x for W [O, I]. Every (row, output) has one vector accumulator whose lanes run over the inputs in order, and one fixed sum of its lanes.
/// Few rows read the weight once, straight from where it lies; many rows widen a panel of it and reuse it. Both give the same bits.
/// </summary>
internal static unsafe class RowProduct<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int PanelOutputs = 12;
    private const int PanelInputs = 512;
    private const int PanelRows = 128;

    /// <summary>Floats of scratch that one part needs, for any shape.</summary>
    public static long ScratchFloats => PanelOutputs * PanelInputs + PanelRows * PanelOutputs * 16L;

    /// <summary>True when the rows of x must be padded to whole vectors first (see <see cref="PaddedInputs"/>).</summary>
    public static bool NeedsPadding(in Product product) => product.Rows > DirectRows(product.Type) && product.Inputs % O.Count != 0;

    /// <summary>Inputs rounded up to whole vectors.</summary>
    public static int PaddedInputs(int inputs) => (inputs + O.Count - 1) / O.Count * O.Count;

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
            case DType.Q8_0:
                Run<WeightQ8_0>(product, start, end, scratch);
                break;
            case DType.Q4_0:
                Run<WeightQ4_0>(product, start, end, scratch);
                break;
            default:
                throw new NotSupportedException($"{product.Type} is no weight type");
        }
    }

    // Unpacking these types costs as much as a panel saves from the second or third row on (measured).
    private static int DirectRows(DType type) => type switch
    {
        DType.F16 or DType.Q4_0 => 1,
        DType.Q8_0 => 2,
        _ => 3,
    };

    private static void Run<W>(in Product p, int start, int end, float* scratch) where W : struct, IWeightType
    {
        if (p.Rows > DirectRows(p.Type))
        {
            Panels<W>(p, start, end, scratch);
            return;
        }
        long rowBytes = p.Type.Bytes(p.Inputs);
        float* sums = stackalloc float[4];
        for (int o = start; o < end; o += 4)
        {
            int count = Math.Min(4, end - o);
            byte* w0 = p.Weight + o * rowBytes;
            // Outputs past the end repeat the first: computed, not stored.
            byte* w1 = count > 1 ? w0 + rowBytes : w0, w2 = count > 2 ? w0 + 2 * rowBytes : w0, w3 = count > 3 ? w0 + 3 * rowBytes : w0;
            for (int t = 0; t < p.Rows; t++)
            {
                Dot4<W>(w0, w1, w2, w3, p.X + t * p.XStride, p.Inputs, sums);
                float* y = p.Y + t * p.YStride + o;
                for (int i = 0; i < count; i++)
                    y[i] = sums[i];
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot4<W>(byte* w0, byte* w1, byte* w2, byte* w3, float* x, int inputs, float* sums) where W : struct, IWeightType
    {
        V a0 = O.Zero, a1 = O.Zero, a2 = O.Zero, a3 = O.Zero;
        int k = 0;
        for (; k + 32 <= inputs; k += 32)
        {
            V f0 = W.Factor<O, V>(w0), f1 = W.Factor<O, V>(w1), f2 = W.Factor<O, V>(w2), f3 = W.Factor<O, V>(w3);
            for (int i = 0; i < 16; i += O.Count)
            {
                V v = O.Load(x + k + i);
                a0 = O.Fma(W.Load<O, V>(w0, 0, i, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 0, i, f1), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 0, i, f2), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 0, i, f3), v, a3);
            }
            for (int i = 0; i < 16; i += O.Count)
            {
                V v = O.Load(x + k + 16 + i);
                a0 = O.Fma(W.Load<O, V>(w0, 16, i, f0), v, a0);
                a1 = O.Fma(W.Load<O, V>(w1, 16, i, f1), v, a1);
                a2 = O.Fma(W.Load<O, V>(w2, 16, i, f2), v, a2);
                a3 = O.Fma(W.Load<O, V>(w3, 16, i, f3), v, a3);
            }
            w0 += W.BlockBytes;
            w1 += W.BlockBytes;
            w2 += W.BlockBytes;
            w3 += W.BlockBytes;
        }
        int step = O.Count * W.ElementBytes;
        for (; k + O.Count <= inputs; k += O.Count)
        {
            V v = O.Load(x + k);
            a0 = O.Fma(W.Load<O, V>(w0, 0, 0, default), v, a0);
            a1 = O.Fma(W.Load<O, V>(w1, 0, 0, default), v, a1);
            a2 = O.Fma(W.Load<O, V>(w2, 0, 0, default), v, a2);
            a3 = O.Fma(W.Load<O, V>(w3, 0, 0, default), v, a3);
            w0 += step;
            w1 += step;
            w2 += step;
            w3 += step;
        }
        if (inputs - k is > 0 and int rest)
        {
            V v = Partial<O, V>.Load(x + k, rest);
            a0 = O.Fma(Partial<O, V>.Load<W>(w0, rest), v, a0);
            a1 = O.Fma(Partial<O, V>.Load<W>(w1, rest), v, a1);
            a2 = O.Fma(Partial<O, V>.Load<W>(w2, rest), v, a2);
            a3 = O.Fma(Partial<O, V>.Load<W>(w3, rest), v, a3);
        }
        O.Sum4(a0, a1, a2, a3, sums);
    }

    private static void Panels<W>(in Product p, int start, int end, float* scratch) where W : struct, IWeightType
    {
        float* panel = scratch, accumulators = scratch + PanelOutputs * PanelInputs;
        long rowBytes = p.Type.Bytes(p.Inputs);
        for (int first = 0; first < p.Rows; first += PanelRows)
        {
            int rows = Math.Min(PanelRows, p.Rows - first);
            for (int o = start; o < end; o += PanelOutputs)
            {
                int outputs = Math.Min(PanelOutputs, end - o);
                for (int k = 0; k < p.Inputs; k += PanelInputs)
                {
                    int inputs = Math.Min(PanelInputs, p.Inputs - k), padded = PaddedInputs(inputs);
                    for (int i = 0; i < (outputs + 2) / 3 * 3; i++)
                    {
                        float* row = panel + i * PanelInputs;
                        int filled = i < outputs ? inputs : 0;
                        if (filled > 0)
                            Widen<O, V>.Run<W>(p.Weight + (o + i) * rowBytes + p.Type.Bytes(k), row, filled);
                        new Span<float>(row + filled, padded - filled).Clear();
                    }
                    PanelTimesRows(p, first, rows, o, outputs, k, padded, panel, accumulators);
                }
            }
        }
    }

    private static void PanelTimesRows(in Product p, int first, int rows, int o, int outputs, int k, int padded, float* panel, float* accumulators)
    {
        bool last = k + PanelInputs >= p.Inputs;
        float* sums = stackalloc float[12];
        for (int t = 0; t < rows; t += 4)
        {
            int count = Math.Min(4, rows - t);
            float* x0 = p.X + (first + t) * p.XStride + k;
            // Rows past the end repeat the first: computed, not stored.
            float* x1 = count > 1 ? x0 + p.XStride : x0, x2 = count > 2 ? x0 + 2 * p.XStride : x0, x3 = count > 3 ? x0 + 3 * p.XStride : x0;
            for (int i = 0; i < outputs; i += 3)
            {
                float* a = accumulators + ((long)t * PanelOutputs + i * 4) * O.Count;
                Tile(x0, x1, x2, x3, panel + i * PanelInputs, padded, a, k == 0, last ? sums : null);
                if (!last)
                    continue;
                for (int j = 0; j < Math.Min(3, outputs - i); j++)
                    for (int r = 0; r < count; r++)
                        p.Y[(first + t + r) * p.YStride + o + i + j] = sums[j * 4 + r];
            }
        }
    }

    // 4 rows × 3 outputs: 12 accumulators, 3 weights and 1 input fill the 16 registers of the 256-bit tier.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile(float* x0, float* x1, float* x2, float* x3, float* w, int inputs, float* accumulators, bool first, float* sums)
    {
        V a00 = O.Zero, a01 = O.Zero, a02 = O.Zero, a10 = O.Zero, a11 = O.Zero, a12 = O.Zero;
        V a20 = O.Zero, a21 = O.Zero, a22 = O.Zero, a30 = O.Zero, a31 = O.Zero, a32 = O.Zero;
        float* a = accumulators;
        if (!first)
        {
            a00 = O.Load(a);
            a10 = O.Load(a + O.Count);
            a20 = O.Load(a + 2 * O.Count);
            a30 = O.Load(a + 3 * O.Count);
            a01 = O.Load(a + 4 * O.Count);
            a11 = O.Load(a + 5 * O.Count);
            a21 = O.Load(a + 6 * O.Count);
            a31 = O.Load(a + 7 * O.Count);
            a02 = O.Load(a + 8 * O.Count);
            a12 = O.Load(a + 9 * O.Count);
            a22 = O.Load(a + 10 * O.Count);
            a32 = O.Load(a + 11 * O.Count);
        }
        for (int k = 0; k < inputs; k += O.Count)
        {
            V w0 = O.Load(w + k), w1 = O.Load(w + PanelInputs + k), w2 = O.Load(w + 2 * PanelInputs + k);
            V x = O.Load(x0 + k);
            a00 = O.Fma(w0, x, a00);
            a01 = O.Fma(w1, x, a01);
            a02 = O.Fma(w2, x, a02);
            x = O.Load(x1 + k);
            a10 = O.Fma(w0, x, a10);
            a11 = O.Fma(w1, x, a11);
            a12 = O.Fma(w2, x, a12);
            x = O.Load(x2 + k);
            a20 = O.Fma(w0, x, a20);
            a21 = O.Fma(w1, x, a21);
            a22 = O.Fma(w2, x, a22);
            x = O.Load(x3 + k);
            a30 = O.Fma(w0, x, a30);
            a31 = O.Fma(w1, x, a31);
            a32 = O.Fma(w2, x, a32);
        }
        if (sums is not null)
        {
            O.Sum4(a00, a10, a20, a30, sums);
            O.Sum4(a01, a11, a21, a31, sums + 4);
            O.Sum4(a02, a12, a22, a32, sums + 8);
            return;
        }
        O.Store(a00, a);
        O.Store(a10, a + O.Count);
        O.Store(a20, a + 2 * O.Count);
        O.Store(a30, a + 3 * O.Count);
        O.Store(a01, a + 4 * O.Count);
        O.Store(a11, a + 5 * O.Count);
        O.Store(a21, a + 6 * O.Count);
        O.Store(a31, a + 7 * O.Count);
        O.Store(a02, a + 8 * O.Count);
        O.Store(a12, a + 9 * O.Count);
        O.Store(a22, a + 10 * O.Count);
        O.Store(a32, a + 11 * O.Count);
    }
}
