using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>What follows the base product at a site for the rows of one path: replaced rows, low-rank steps in order, bias.</summary>
internal unsafe struct Finish
{
    /// <summary>What the path does, or null.</summary>
    public SiteAdapter? Adapter;

    /// <summary>Bias that holds for these rows, or null.</summary>
    public DeviceTensor? Bias;

    /// <summary>Which of the call's sites it is of.</summary>
    public int Site;

    /// <summary>First row, counted from the call's first.</summary>
    public int First;

    /// <summary>First row of x (for replaced rows).</summary>
    public float* X;

    /// <summary>Floats from one row of x to the next.</summary>
    public long XStride;

    /// <summary>First row of y.</summary>
    public float* Y;

    /// <summary>Floats from one row of y to the next.</summary>
    public long YStride;

    /// <summary>Rows.</summary>
    public int Rows;

    /// <summary>Rows of the path of which these are some.</summary>
    public int PathRows;

    /// <summary>These among the path's rows.</summary>
    public int PathFirst;

    /// <summary>u = A·x of the first step for the path's rows, [PathRows, rank padded to 4]; the next step's follows.</summary>
    public float* Down;

    /// <summary>How many of the path's steps are taken.</summary>
    public int Steps;

    /// <summary>Some of these rows, counted from the call's first.</summary>
    public readonly Finish Some(int first, int last)
    {
        Finish some = this;
        int start = Math.Max(First, first), end = Math.Min(First + Rows, last);
        some.First = start;
        some.Rows = Math.Max(0, end - start);
        some.X += (start - First) * XStride;
        some.Y += (start - First) * YStride;
        some.PathFirst += start - First;
        return some;
    }

    /// <summary>Leaves the gain of the last step out: its gradient needs the output before it.</summary>
    public bool BeforeGain;
}

/// <summary>
/// <c>y ← gain ∘ (y + (s·B)·u + s·b)</c> for every step, then <c>y + bias</c>. Lanes are outputs. B is read as <see cref="PackedColumns"/> has it; where there are none, tiles of it are turned into columns.
/// Every element of (s·B)·u adds its ranks in order, in one sum, however many rows there are.
/// </summary>
internal static unsafe class LowRank<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    // Whole vectors, and whole tiles of OuterTile, in every tier.
    private const int Tile = 48;
    private const int ManyRows = 4;

    /// <summary>Rank rounded up to whole vectors of four.</summary>
    public static int PaddedRank(int rank) => (rank + 3) / 4 * 4;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(int rank) => 3L * Tile * PaddedRank(rank) + (2 + 8) * Tile;

    /// <summary>Low-rank steps and bias on outputs [<paramref name="start"/>, <paramref name="end"/>) of all rows.</summary>
    public static void Run(in Finish finish, int start, int end, float* scratch)
    {
        int most = 0, steps = Math.Max(1, finish.Steps), units = (end - start + Tile - 1) / Tile * steps;
        for (int s = 0; s < finish.Steps; s++)
            most = Math.Max(most, PaddedRank(finish.Adapter!.Steps[s].Rank));
        // Looked up once, not for every tile: B as stored, or its packed form.
        byte** sources = stackalloc byte*[finish.Steps];
        for (int s = 0; s < finish.Steps; s++)
            sources[s] = Packed(finish.Adapter!.Steps[s]) is { } packed ? packed.Data : Pointer.Bytes(finish.Adapter.Steps[s].B);
        float* offset = scratch, tile = offset + 2 * Tile, rows = tile + 8 * Tile, columns = rows + Tile * most;
        // A tile is turned one ahead of its use: what was just stored cannot be loaded in other pieces at once.
        for (int i = 0; i <= units; i++)
        {
            int o = start + i / steps * Tile, s = i % steps;
            if (i < units && finish.Steps > 0 && !(finish.Rows < ManyRows && Packed(finish.Adapter!.Steps[s]) is not null))
                Columns(finish.Adapter!.Steps[s], sources[s], o, Math.Min(Tile, end - o), end, columns + i % 2 * Tile * most, rows);
            if (i == 0)
                continue;
            (o, s) = (start + (i - 1) / steps * Tile, (i - 1) % steps);
            Use(finish, o, Math.Min(Tile, end - o), s, columns + (i - 1) % 2 * Tile * most, tile, offset);
        }
    }

    // One step on a tile of outputs, and the bias after the last.
    private static void Use(in Finish finish, int o, int count, int s, float* columns, float* tile, float* offset)
    {
        if (s < finish.Steps)
        {
            LowRankStep step = finish.Adapter!.Steps[s];
            int rank = PaddedRank(step.Rank);
            float* u = finish.Down + (long)finish.PathFirst * rank;
            for (int before = 0; before < s; before++)
                u += (long)finish.PathRows * PaddedRank(finish.Adapter.Steps[before].Rank);
            if (finish.Rows >= ManyRows)
                Many(finish, o, count, step.Rank, u, rank, columns, tile);
            else if (Packed(step) is { } packed)
                Few(finish, o, count, packed, step.Scale, u, rank);
            else
                Few(finish, o, count, step.Rank, u, rank, columns);
            if (step.OutputBias is not null)
                Offset(finish, o, count, step.OutputBias, step.Scale, offset);
            if (step.Gain is not null && !(finish.BeforeGain && s == finish.Steps - 1))
                Gain(finish, o, count, step.Gain, offset + Tile);
        }
        if (finish.Bias is not null && s + 1 >= finish.Steps)
            Offset(finish, o, count, finish.Bias, 1, offset);
    }

    private static PackedColumns? Packed(LowRankStep step) => (step.B as CpuTensor)?.Columnwise;

    private static void Few(in Finish finish, int o, int count, PackedColumns b, float scale, float* down, int downStride)
    {
        if (b.Type == DType.F32)
            Few<WeightF32>(finish, o, count, b, scale, down, downStride);
        else if (b.Type == DType.BF16)
            Few<WeightBF16>(finish, o, count, b, scale, down, downStride);
        else
            Few<WeightF16>(finish, o, count, b, scale, down, downStride);
    }

    // One row after the other, three panels at a time. The same bits as from columns: s·B is rounded before it is multiplied.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Few<W>(in Finish finish, int o, int count, PackedColumns b, float scale, float* down, int downStride) where W : struct, IWeightType
    {
        V factor = O.Broadcast(scale);
        int rank = b.Rank;
        long column = PackedColumns.Panel * W.ElementBytes, panel = rank * column;
        for (int t = 0; t < finish.Rows; t++, down += downStride)
        {
            float* y = finish.Y + t * finish.YStride + o;
            byte* first = b.Data + o / PackedColumns.Panel * panel;
            int j = 0;
            for (; j + 3 * PackedColumns.Panel <= count; j += 3 * PackedColumns.Panel, first += 3 * panel)
                for (int i = 0; i < PackedColumns.Panel; i += O.Count)
                {
                    V x = O.Zero, z = O.Zero, v = O.Zero;
                    byte* at = first;
                    for (int r = 0; r < rank; r++, at += column)
                    {
                        V u = O.Broadcast(down[r]);
                        // The next tile's lines are fetched while this one is used.
                        if (i == 0)
                        {
                            Lanes.Prefetch(at + 3 * panel);
                            Lanes.Prefetch(at + 4 * panel);
                            Lanes.Prefetch(at + 5 * panel);
                        }
                        x = O.Fma(O.Multiply(W.Load<O, V>(at, 0, i, factor), factor), u, x);
                        z = O.Fma(O.Multiply(W.Load<O, V>(at + panel, 0, i, factor), factor), u, z);
                        v = O.Fma(O.Multiply(W.Load<O, V>(at + 2 * panel, 0, i, factor), factor), u, v);
                    }
                    float* to = y + j + i;
                    O.Store(O.Add(O.Load(to), x), to);
                    O.Store(O.Add(O.Load(to + PackedColumns.Panel), z), to + PackedColumns.Panel);
                    O.Store(O.Add(O.Load(to + 2 * PackedColumns.Panel), v), to + 2 * PackedColumns.Panel);
                }
            for (; j < count; j += PackedColumns.Panel, first += panel)
                for (int i = 0; i < PackedColumns.Panel && j + i < count; i += O.Count)
                {
                    V x = O.Zero;
                    byte* at = first;
                    for (int r = 0; r < rank; r++, at += column)
                        x = O.Fma(O.Multiply(W.Load<O, V>(at, 0, i, factor), factor), O.Broadcast(down[r]), x);
                    float* to = y + j + i;
                    if (j + i + O.Count <= count)
                        O.Store(O.Add(O.Load(to), x), to);
                    else
                        Partial<O, V>.Store(O.Add(Partial<O, V>.Load(to, count - j - i), x), to, count - j - i);
                }
        }
    }

    // One row after the other, three vectors of outputs at a time.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Few(in Finish finish, int o, int count, int rank, float* down, int downStride, float* columns)
    {
        for (int t = 0; t < finish.Rows; t++, down += downStride)
        {
            float* y = finish.Y + t * finish.YStride + o;
            int i = 0;
            for (; i + 3 * O.Count <= count; i += 3 * O.Count)
            {
                V a = O.Zero, b = O.Zero, c = O.Zero;
                float* column = columns + i;
                for (int r = 0; r < rank; r++, column += Tile)
                {
                    V u = O.Broadcast(down[r]);
                    a = O.Fma(O.Load(column), u, a);
                    b = O.Fma(O.Load(column + O.Count), u, b);
                    c = O.Fma(O.Load(column + 2 * O.Count), u, c);
                }
                O.Store(O.Add(O.Load(y + i), a), y + i);
                O.Store(O.Add(O.Load(y + i + O.Count), b), y + i + O.Count);
                O.Store(O.Add(O.Load(y + i + 2 * O.Count), c), y + i + 2 * O.Count);
            }
            for (; i < count; i += O.Count)
            {
                V a = O.Zero;
                for (int r = 0; r < rank; r++)
                    a = O.Fma(O.Load(columns + r * Tile + i), O.Broadcast(down[r]), a);
                if (i + O.Count <= count)
                    O.Store(O.Add(O.Load(y + i), a), y + i);
                else
                    Partial<O, V>.Store(O.Add(Partial<O, V>.Load(y + i, count - i), a), y + i, count - i);
            }
        }
    }

    private static void Many(in Finish finish, int o, int count, int rank, float* down, int downStride, float* columns, float* tile)
    {
        int rows = OuterTile<O, V>.Rows, width = OuterTile<O, V>.Columns;
        for (int i = 0; i < count; i += width)
            for (int t = 0; t < finish.Rows; t += rows)
            {
                int some = Math.Min(rows, finish.Rows - t), outputs = Math.Min(width, count - i);
                float* y = finish.Y + t * finish.YStride + o + i;
                if (outputs == width)
                {
                    OuterTile<O, V>.Run(down + (long)t * downStride, downStride, 1, some, columns + i, Tile, rank, y, finish.YStride, chain: false);
                    continue;
                }
                for (int r = 0; r < some; r++)
                    new Span<float>(y + r * finish.YStride, outputs).CopyTo(new Span<float>(tile + r * width, outputs));
                OuterTile<O, V>.Run(down + (long)t * downStride, downStride, 1, some, columns + i, Tile, rank, tile, width, chain: false);
                for (int r = 0; r < some; r++)
                    new Span<float>(tile + r * width, outputs).CopyTo(new Span<float>(y + r * finish.YStride, outputs));
            }
    }

    // [rank][Tile]: s·B of some outputs, zeros in the rest of the tile.
    private static void Columns(LowRankStep step, byte* b, int o, int count, int end, float* columns, float* rows)
    {
        if (Packed(step) is { } packed)
        {
            V factor = O.Broadcast(step.Scale);
            byte* panel = b + o / PackedColumns.Panel * packed.PanelBytes;
            for (int j = 0; j < count; j += PackedColumns.Panel, panel += packed.PanelBytes)
            {
                float* from = (float*)panel;
                if (packed.Type != DType.F32)
                    Widen<O, V>.Run(packed.Type, panel, from = rows, step.Rank * PackedColumns.Panel);
                for (int r = 0; r < step.Rank; r++)
                    for (int i = 0; i < PackedColumns.Panel; i += O.Count)
                        O.Store(O.Multiply(O.Load(from + r * PackedColumns.Panel + i), factor), columns + r * Tile + j + i);
            }
            return;
        }
        byte* source = b + step.B.Type.Bytes((long)o * step.Rank);
        // The next tile's rows are fetched while these are used.
        byte* next = source + step.B.Type.Bytes((long)count * step.Rank), last = next + step.B.Type.Bytes((long)Math.Min(Tile, end - o - count) * step.Rank);
        for (; next < last; next += 64)
            Lanes.Prefetch(next);
        if (step.B.Type == DType.F32)
            rows = (float*)source;
        else
            Widen<O, V>.Run(step.B.Type, source, rows, count * step.Rank);
        if (count < Tile)
            new Span<float>(columns, step.Rank * Tile).Clear();
        Transpose.Scaled(rows, count, step.Rank, step.Scale, columns, Tile);
    }

    private static void Offset(in Finish finish, int o, int count, DeviceTensor bias, float scale, float* offset)
    {
        Widen<O, V>.Run(bias.Type, Pointer.Bytes(bias) + bias.Type.Bytes(o), offset, count);
        for (int t = 0; t < finish.Rows; t++)
        {
            float* y = finish.Y + t * finish.YStride + o;
            for (int i = 0; i < count; i++)
                y[i] = Lanes.MultiplyAdd(scale, offset[i], y[i]);
        }
    }

    private static void Gain(in Finish finish, int o, int count, DeviceTensor gains, float* gain)
    {
        Widen<O, V>.Run(gains.Type, Pointer.Bytes(gains) + gains.Type.Bytes(o), gain, count);
        for (int t = 0; t < finish.Rows; t++)
        {
            float* y = finish.Y + t * finish.YStride + o;
            for (int i = 0; i < count; i++)
                y[i] *= gain[i];
        }
    }
}
