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

    /// <summary>u = A·x of the first step, [Rows, rank padded to 4]; the next step's follows.</summary>
    public float* Down;

    /// <summary>How many of the path's steps are taken.</summary>
    public int Steps;

    /// <summary>Leaves the gain of the last step out: its gradient needs the output before it.</summary>
    public bool BeforeGain;
}

/// <summary>
/// <c>y ← gain ∘ (y + s·(B·u + b))</c> for every step, then <c>y + bias</c>. B·u uses four lanes over the rank in every tier: ranks are small.
/// </summary>
internal static unsafe class LowRank<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int Tile = 16;

    /// <summary>Rank rounded up to whole vectors of four.</summary>
    public static int PaddedRank(int rank) => (rank + 3) / 4 * 4;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(int rank) => (long)Tile * PaddedRank(rank) + 4 * Tile;

    /// <summary>Low-rank steps and bias on outputs [<paramref name="start"/>, <paramref name="end"/>) of all rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(in Finish finish, int start, int end, float* scratch)
    {
        float* gain = scratch, offset = scratch + Tile, sums = scratch + 2 * Tile, b = scratch + 4 * Tile;
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
                for (int t = 0; t < finish.Rows; t++, down += rank)
                {
                    float* y = finish.Y + t * finish.YStride + o;
                    for (int i = 0; i < count; i += 4)
                        Dot4(b + i * rank, down, rank, sums + i);
                    for (int i = 0; i < count; i++)
                        y[i] = Lanes.MultiplyAdd(step.Scale, sums[i] + offset[i], y[i]) * gain[i];
                }
            }
            if (finish.Bias is null)
                continue;
            Read(finish.Bias, o, count, offset, 0);
            for (int t = 0; t < finish.Rows; t++)
            {
                float* y = finish.Y + t * finish.YStride + o;
                for (int i = 0; i < count; i++)
                    y[i] += offset[i];
            }
        }
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
