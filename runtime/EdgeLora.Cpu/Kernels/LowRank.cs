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
/// <c>y ← gain ∘ (y + s·(B·u + b))</c> for every step, then <c>y + bias</c>. Every element of B·u has four sums over ranks 0, 1, 2, 3 modulo 4, in every tier: one vector of four for a few rows,
/// one vector of outputs for each of the four sums for many. Both give the same bits.
/// </summary>
internal static unsafe class LowRank<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int Tile = 16;
    private const int ManyRows = 4;

    /// <summary>Rank rounded up to whole vectors of four.</summary>
    public static int PaddedRank(int rank) => (rank + 3) / 4 * 4;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(int rank) => 2L * Tile * PaddedRank(rank) + 4 * Tile;

    /// <summary>Low-rank steps and bias on outputs [<paramref name="start"/>, <paramref name="end"/>) of all rows.</summary>
    public static void Run(in Finish finish, int start, int end, float* scratch)
    {
        float* gain = scratch, offset = scratch + Tile, b = scratch + 4 * Tile;
        for (int o = start; o < end; o += Tile)
        {
            int count = Math.Min(Tile, end - o);
            float* down = finish.Down;
            for (int s = 0; s < finish.Steps; s++)
            {
                LowRankStep step = finish.Adapter!.Steps[s];
                int rank = PaddedRank(step.Rank);
                UnpackB(step, o, count, rank, b);
                Read(step.OutputBias, o, count, offset, 0);
                Read(finish.BeforeGain && s == finish.Steps - 1 ? null : step.Gain, o, count, gain, 1);
                float* u = down + (long)finish.PathFirst * rank;
                if (finish.Rows >= ManyRows)
                    Many(finish, o, count, step.Scale, u, rank, b, b + Tile * rank, offset, gain);
                else
                    Few(finish, o, count, step.Scale, u, rank, b, scratch + 2 * Tile, offset, gain);
                down += (long)finish.PathRows * rank;
            }
            if (finish.Bias is null)
                continue;
            Read(finish.Bias, o, count, offset, 0);
            for (int t = 0; t < finish.Rows; t++)
                Add(finish.Y + t * finish.YStride + o, offset, count);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Few(in Finish finish, int o, int count, float scale, float* down, int rank, float* b, float* sums, float* offset, float* gain)
    {
        for (int t = 0; t < finish.Rows; t++, down += rank)
        {
            float* y = finish.Y + t * finish.YStride + o;
            for (int i = 0; i < count; i += 4)
                Dot4(b + i * rank, down, rank, sums + i);
            for (int i = 0; i < count; i++)
                y[i] = Lanes.MultiplyAdd(scale, sums[i] + offset[i], y[i]) * gain[i];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Many(in Finish finish, int o, int count, float scale, float* down, int rank, float* b, float* columns, float* offset, float* gain)
    {
        for (int i = 0; i < Tile; i++)
            for (int r = 0; r < rank; r++)
                columns[r * Tile + i] = i < count ? b[i * rank + r] : 0;
        V s = O.Broadcast(scale);
        for (int t = 0; t < finish.Rows; t++, down += rank)
        {
            float* y = finish.Y + t * finish.YStride + o;
            for (int i = 0; i < count; i += O.Count)
            {
                V a0 = O.Zero, a1 = O.Zero, a2 = O.Zero, a3 = O.Zero;
                float* column = columns + i;
                for (int r = 0; r < rank; r += 4, column += 4 * Tile)
                {
                    a0 = O.Fma(O.Load(column), O.Broadcast(down[r]), a0);
                    a1 = O.Fma(O.Load(column + Tile), O.Broadcast(down[r + 1]), a1);
                    a2 = O.Fma(O.Load(column + 2 * Tile), O.Broadcast(down[r + 2]), a2);
                    a3 = O.Fma(O.Load(column + 3 * Tile), O.Broadcast(down[r + 3]), a3);
                }
                V sum = O.Add(O.Add(O.Add(a0, a2), O.Add(a1, a3)), O.Load(offset + i));
                if (count - i >= O.Count)
                    O.Store(O.Multiply(O.Fma(s, sum, O.Load(y + i)), O.Load(gain + i)), y + i);
                else
                    Partial<O, V>.Store(O.Multiply(O.Fma(s, sum, Partial<O, V>.Load(y + i, count - i)), O.Load(gain + i)), y + i, count - i);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add(float* y, float* offset, int count)
    {
        int i = 0;
        for (; i + O.Count <= count; i += O.Count)
            O.Store(O.Add(O.Load(y + i), O.Load(offset + i)), y + i);
        for (; i < count; i++)
            y[i] += offset[i];
    }

    // Rows of B, F32, padded with zeros to whole vectors; the rows up to the next four are zero.
    private static void UnpackB(LowRankStep step, int o, int count, int padded, float* b)
    {
        byte* source = Pointer.Bytes(step.B) + step.B.Type.Bytes((long)o * step.Rank);
        if (padded == step.Rank)
        {
            Widen<O, V>.Run(step.B.Type, source, b, count * step.Rank);
        }
        else
        {
            new Span<float>(b, count * padded).Clear();
            for (int i = 0; i < count; i++)
                Widen<O, V>.Run(step.B.Type, source + step.B.Type.Bytes((long)i * step.Rank), b + i * padded, step.Rank);
        }
        if (count % 4 != 0)
            new Span<float>(b + count * padded, (4 - count % 4) * padded).Clear();
    }

    private static void Read(DeviceTensor? tensor, int o, int count, float* destination, float absent)
    {
        if (tensor is null)
            new Span<float>(destination, count).Fill(absent);
        else
            Widen<O, V>.Run(tensor.Type, Pointer.Bytes(tensor) + tensor.Type.Bytes(o), destination, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Dot4(float* b, float* u, int rank, float* sums)
    {
        if (typeof(O) == typeof(LanesScalar))
            Dot4<LanesScalar, Quad>(b, u, rank, sums);
        else
            Dot4<Lanes128, System.Runtime.Intrinsics.Vector128<float>>(b, u, rank, sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Dot4<P, Q>(float* b, float* u, int rank, float* sums) where P : struct, ILanes<Q> where Q : unmanaged
    {
        Q a0 = P.Zero, a1 = P.Zero, a2 = P.Zero, a3 = P.Zero;
        for (int r = 0; r < rank; r += 4)
        {
            Q v = P.Load(u + r);
            a0 = P.Fma(P.Load(b + r), v, a0);
            a1 = P.Fma(P.Load(b + rank + r), v, a1);
            a2 = P.Fma(P.Load(b + 2 * rank + r), v, a2);
            a3 = P.Fma(P.Load(b + 3 * rank + r), v, a3);
        }
        P.Sum4(a0, a1, a2, a3, sums);
    }
}
