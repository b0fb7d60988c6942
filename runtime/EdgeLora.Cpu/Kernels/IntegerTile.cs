using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>How many rows a tile multiplies at once.</summary>
internal interface ITileRows
{
    /// <summary>2, 4 or 6.</summary>
    static abstract int Count { get; }
}

/// <summary>Two rows.</summary>
internal readonly struct TwoRows : ITileRows
{
    /// <inheritdoc/>
    public static int Count => 2;
}

/// <summary>Four rows.</summary>
internal readonly struct FourRows : ITileRows
{
    /// <inheritdoc/>
    public static int Count => 4;
}

/// <summary>Six rows: as many as 16 registers have room for.</summary>
internal readonly struct SixRows : ITileRows
{
    /// <inheritdoc/>
    public static int Count => 6;
}

/// <summary>The inner loop of <see cref="IntegerProduct{O, V}"/> for several rows: two vectors of outputs, taken apart once for all rows.</summary>
internal static unsafe class IntegerTile<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Vectors of outputs.</summary>
    public const int Vectors = 2;

    /// <summary>Adds groups of <paramref name="rows"/> rows of rounded inputs, <paramref name="stride"/> words apart, times a tile [group][word][vector] with factors and minimums [group][vector] to sums [row][vector]. Rows past them repeat the last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Run<W>(int* x, long stride, int rows, int* tile, float* factors, float* minimums, int groups, float* sums) where W : struct, IIntegerType
    {
        if (rows > 4)
            Run<W, SixRows>(x, stride, rows, tile, factors, minimums, groups, sums);
        else if (rows > 2)
            Run<W, FourRows>(x, stride, rows, tile, factors, minimums, groups, sums);
        else
            Run<W, TwoRows>(x, stride, rows, tile, factors, minimums, groups, sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<W, R>(int* x, long stride, int rows, int* tile, float* factors, float* minimums, int groups, float* sums) where W : struct, IIntegerType where R : struct, ITileRows
    {
        float* x0 = (float*)x, x1 = x0 + (rows > 1 ? stride : 0), x2 = x1 + (rows > 2 ? stride : 0), x3 = x2 + (rows > 3 ? stride : 0), x4 = x3 + (rows > 4 ? stride : 0), x5 = x4 + (rows > 5 ? stride : 0);
        float* w = (float*)tile;
        for (int g = 0; g < groups; g++, factors += Vectors * O.Count, minimums += Vectors * O.Count)
        {
            V a00 = O.Zero, a01 = O.Zero, a10 = O.Zero, a11 = O.Zero, a20 = O.Zero, a21 = O.Zero, a30 = O.Zero, a31 = O.Zero, a40 = O.Zero, a41 = O.Zero, a50 = O.Zero, a51 = O.Zero;
            for (int k = 0; k < W.Words; k++, w += Vectors * O.Count)
            {
                V w0 = O.Load(w), w1 = O.Load(w + O.Count), v;
                v = O.Broadcast(x0[k]);
                a00 = W.Multiply<O, V>(a00, w0, v);
                a01 = W.Multiply<O, V>(a01, w1, v);
                v = O.Broadcast(x1[k]);
                a10 = W.Multiply<O, V>(a10, w0, v);
                a11 = W.Multiply<O, V>(a11, w1, v);
                if (R.Count > 2)
                {
                    v = O.Broadcast(x2[k]);
                    a20 = W.Multiply<O, V>(a20, w0, v);
                    a21 = W.Multiply<O, V>(a21, w1, v);
                    v = O.Broadcast(x3[k]);
                    a30 = W.Multiply<O, V>(a30, w0, v);
                    a31 = W.Multiply<O, V>(a31, w1, v);
                }
                if (R.Count > 4)
                {
                    v = O.Broadcast(x4[k]);
                    a40 = W.Multiply<O, V>(a40, w0, v);
                    a41 = W.Multiply<O, V>(a41, w1, v);
                    v = O.Broadcast(x5[k]);
                    a50 = W.Multiply<O, V>(a50, w0, v);
                    a51 = W.Multiply<O, V>(a51, w1, v);
                }
            }
            V f0 = O.Load(factors), f1 = O.Load(factors + O.Count), m0 = W.HasMinimums ? O.Load(minimums) : O.Zero, m1 = W.HasMinimums ? O.Load(minimums + O.Count) : O.Zero;
            Add<W>(a00, a01, x0 + W.Words, f0, f1, m0, m1, sums);
            Add<W>(a10, a11, x1 + W.Words, f0, f1, m0, m1, sums + 2 * O.Count);
            if (R.Count > 2)
            {
                Add<W>(a20, a21, x2 + W.Words, f0, f1, m0, m1, sums + 4 * O.Count);
                Add<W>(a30, a31, x3 + W.Words, f0, f1, m0, m1, sums + 6 * O.Count);
            }
            if (R.Count > 4)
            {
                Add<W>(a40, a41, x4 + W.Words, f0, f1, m0, m1, sums + 8 * O.Count);
                Add<W>(a50, a51, x5 + W.Words, f0, f1, m0, m1, sums + 10 * O.Count);
            }
            x0 += W.Words + 4;
            x1 += W.Words + 4;
            x2 += W.Words + 4;
            x3 += W.Words + 4;
            x4 += W.Words + 4;
            x5 += W.Words + 4;
        }
    }

    /// <summary>Adds a row's group to the sums of two vectors; x points to what follows the group's words.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Add<W>(V a0, V a1, float* x, V f0, V f1, V m0, V m1, float* sums) where W : struct, IIntegerType
    {
        V d = O.Broadcast(*x), sum = W.HasMinimums ? O.Broadcast(x[3]) : O.Zero;
        V s0 = IntegerProduct<O, V>.Add<W>(W.Total<O, V>(a0, (int*)x + 1), O.Multiply(f0, d), m0, sum, O.Load(sums));
        V s1 = IntegerProduct<O, V>.Add<W>(W.Total<O, V>(a1, (int*)x + 1), O.Multiply(f1, d), m1, sum, O.Load(sums + O.Count));
        O.Store(s0, sums);
        O.Store(s1, sums + O.Count);
    }
}
