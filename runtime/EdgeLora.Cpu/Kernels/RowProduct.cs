using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>One matrix product y = W·x of a linear layer: the base's, or an adapter's A.</summary>
internal unsafe struct Product
{
    /// <summary>W as stored.</summary>
    public byte* Weight;

    /// <summary>W packed; null where it is read as stored.</summary>
    public PackedWeight? Packed;

    /// <summary>Type of W.</summary>
    public DType Type;

    /// <summary>True when W is [I, O].</summary>
    public bool InputMajor;

    /// <summary>Which of the call's sites it is of.</summary>
    public int Site;

    /// <summary>First row, counted from the call's first.</summary>
    public int First;

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

    /// <summary>First row of x as whole numbers, where W is packed for them.</summary>
    public int* Rounded;

    /// <summary>32-bit words from one rounded row to the next.</summary>
    public long RoundedStride;

    /// <summary>First row of y.</summary>
    public float* Y;

    /// <summary>Floats from one row of y to the next.</summary>
    public long YStride;

    /// <summary>Adds the product to y instead of writing it. [O, I] only.</summary>
    public bool Add;
}

/// <summary>
/// y = W·x for W [O, I]. Every (row, output) has one vector accumulator whose lanes run over the inputs in order, and one fixed sum of its lanes.
/// Few rows read the weight once, straight from where it lies; many rows widen a panel of it and reuse it. Both give the same bits.
/// </summary>
internal static unsafe class RowProduct<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    // Eight rows of W and three of x stay in the first cache, the rows of x in the second.
    private const int PanelInputs = 768;
    private const int PanelRows = 128;

    /// <summary>Floats of scratch that one part needs, for any shape.</summary>
    public static long ScratchFloats => 8 * PanelInputs + PanelRows * 16L + (PanelRows + 2) * 8L * 16;

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
            case DType when product.Type.IsWeight():
                // No kernel reads these blocks: they are widened to panels of floats, for one row too.
                Panels<WeightF32>(product, start, end, scratch);
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
        DType.BF16 => 4,
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
            // The first row of x fetches the next four outputs' weights.
            long ahead = o + 8 <= end ? 4 * rowBytes : 0;
            for (int t = 0; t < p.Rows; t++, ahead = 0)
            {
                Dot4<W>(w0, w1, w2, w3, p.X + t * p.XStride, p.Inputs, ahead, sums);
                float* y = p.Y + t * p.YStride + o;
                for (int i = 0; i < count; i++)
                    y[i] = p.Add ? y[i] + sums[i] : sums[i];
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot4<W>(byte* w0, byte* w1, byte* w2, byte* w3, float* x, int inputs, long ahead, float* sums) where W : struct, IWeightType
    {
        V a0 = O.Zero, a1 = O.Zero, a2 = O.Zero, a3 = O.Zero;
        int k = 0;
        for (; k + 32 <= inputs; k += 32)
        {
            for (int line = 0; ahead > 0 && line < W.BlockBytes; line += 64)
            {
                Lanes.Prefetch(w0 + ahead + line);
                Lanes.Prefetch(w1 + ahead + line);
                Lanes.Prefetch(w2 + ahead + line);
                Lanes.Prefetch(w3 + ahead + line);
            }
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
        float* panel = scratch, tails = panel + 8 * PanelInputs, accumulators = tails + PanelRows * 16;
        int whole = p.Inputs / O.Count * O.Count, rest = p.Inputs - whole, tile = DotTile<O, V>.Outputs;
        bool large = p.Type.Bytes((long)p.Outputs * p.Inputs) > Lanes.SecondCache;
        for (int first = 0; first < p.Rows; first += PanelRows)
        {
            int rows = Math.Min(PanelRows, p.Rows - first);
            float* x = p.X + first * p.XStride;
            // Inputs past the last whole vector: one vector a row, filled up with zeros.
            for (int t = 0; rest > 0 && t < rows; t++)
                O.Store(Partial<O, V>.Load(x + t * p.XStride + whole, rest), tails + t * O.Count);
            for (int o = start; o < end; o += tile)
            {
                int outputs = Math.Min(tile, end - o);
                byte* next = large && o + tile < end ? p.Weight + (o + tile) * p.Type.Bytes(p.Inputs) : null;
                for (int k = 0; k < whole; k += PanelInputs)
                {
                    int inputs = Math.Min(PanelInputs, whole - k);
                    // Floats are read where they lie.
                    bool direct = p.Type == DType.F32;
                    if (!direct)
                        Fill<W>(p, o, outputs, k, inputs, inputs, panel);
                    float* w = direct ? (float*)p.Weight + (long)o * p.Inputs + k : panel;
                    PanelTimesRows(p, x + k, p.XStride, first, rows, w, direct ? p.Inputs : PanelInputs, o, outputs, inputs, accumulators, k == 0, rest == 0 && k + inputs == whole, next is null ? null : next + outputs * p.Type.Bytes(k));
                }
                if (rest == 0)
                    continue;
                Fill<W>(p, o, outputs, whole, rest, O.Count, panel);
                PanelTimesRows(p, tails, O.Count, first, rows, panel, PanelInputs, o, outputs, O.Count, accumulators, whole == 0, true, null);
            }
        }
    }

    private static void Fill<W>(in Product p, int o, int outputs, int k, int inputs, int padded, float* panel) where W : struct, IWeightType
    {
        bool blocks = !p.Type.HasKernels();
        long rowBytes = p.Type.Bytes(p.Inputs), skip = p.Type.Bytes(k);
        for (int i = 0; i < outputs; i++)
        {
            byte* w = p.Weight + (o + i) * rowBytes;
            float* row = panel + i * PanelInputs;
            if (blocks)
                WidenBlocks.Run(p.Type, w, k, inputs, row);
            else
                Widen<O, V>.Run<W>(w + skip, row, inputs);
            new Span<float>(row + inputs, padded - inputs).Clear();
        }
    }

    private static void PanelTimesRows(
        in Product p, float* x, long xStride, int first, int rows, float* w, long wStride, int o, int outputs, int inputs, float* accumulators, bool begin, bool end, byte* next)
    {
        int tile = DotTile<O, V>.Outputs;
        bool whole = outputs == tile && !p.Add;
        float* sums = stackalloc float[24];
        // The next outputs' weights are fetched while these are used.
        long each = (p.Type.Bytes(outputs * inputs / 32 * 32) * DotTile<O, V>.Rows / rows + 127) / 64 * 64;
        for (int t = 0; t < rows; t += DotTile<O, V>.Rows)
        {
            for (long line = 0; next is not null && line < each; line += 64, next += 64)
                Lanes.Prefetch(next);
            int count = Math.Min(DotTile<O, V>.Rows, rows - t);
            float* y = p.Y + (first + t) * p.YStride + o, a = accumulators + (long)t * tile * O.Count;
            DotTile<O, V>.Run(x + t * xStride, xStride, count, w, wStride, outputs, inputs, a, begin, !end ? null : whole ? y : sums, whole ? p.YStride : tile);
            if (!end || whole)
                continue;
            for (int r = 0; r < count; r++)
                for (int j = 0; j < outputs; j++)
                    y[r * p.YStride + j] = p.Add ? y[r * p.YStride + j] + sums[r * tile + j] : sums[r * tile + j];
        }
    }
}
