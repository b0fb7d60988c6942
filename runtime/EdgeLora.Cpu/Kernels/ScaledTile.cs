using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>
/// <see cref="OuterTile{O, V}"/> for quantised weights: y += Σ over groups of inputs of factor · Σ_k x[·, k]·q[k, ·]. Eight rows where there are 32 registers, four where there are 16.
/// </summary>
internal static unsafe class ScaledTile<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private static int Columns => OuterTile<O, V>.Columns;

    /// <summary>Adds the products of <paramref name="rows"/> rows with q [groups·depth][columns of a tile] and factors [groups][columns]. Rows past them repeat the first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Run(float* x, long xStride, int rows, float* w, float* factors, int groups, int depth, float* y, long yStride)
    {
        if (LaneTile.Takes<V>())
            LaneTile.Run(x, xStride, rows, w, Columns, factors, groups, depth, y, yStride, chain: false);
        else if (O.Registers == 32)
            Eight(x, xStride, rows, w, factors, groups, depth, y, yStride);
        else
            Four(x, xStride, rows, w, factors, groups, depth, y, yStride);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four(float* x, long xStride, int rows, float* w, float* factors, int groups, int depth, float* y, long yStride)
    {
        float* x0 = x, x1 = x + (rows > 1 ? xStride : 0), x2 = x + (rows > 2 ? 2 * xStride : 0), x3 = x + (rows > 3 ? 3 * xStride : 0);
        float* y0 = y, y1 = y + (rows > 1 ? yStride : 0), y2 = y + (rows > 2 ? 2 * yStride : 0), y3 = y + (rows > 3 ? 3 * yStride : 0);
        for (int g = 0; g < groups; g++, factors += Columns)
        {
            V a00 = O.Zero, a01 = O.Zero, a02 = O.Zero;
            V a10 = O.Zero, a11 = O.Zero, a12 = O.Zero;
            V a20 = O.Zero, a21 = O.Zero, a22 = O.Zero;
            V a30 = O.Zero, a31 = O.Zero, a32 = O.Zero;
            for (int k = g * depth; k < (g + 1) * depth; k++, w += Columns)
            {
                V w0 = O.Load(w), w1 = O.Load(w + O.Count), w2 = O.Load(w + 2 * O.Count);
                V v = O.Broadcast(x0[k]);
                a00 = O.Fma(w0, v, a00);
                a01 = O.Fma(w1, v, a01);
                a02 = O.Fma(w2, v, a02);
                v = O.Broadcast(x1[k]);
                a10 = O.Fma(w0, v, a10);
                a11 = O.Fma(w1, v, a11);
                a12 = O.Fma(w2, v, a12);
                v = O.Broadcast(x2[k]);
                a20 = O.Fma(w0, v, a20);
                a21 = O.Fma(w1, v, a21);
                a22 = O.Fma(w2, v, a22);
                v = O.Broadcast(x3[k]);
                a30 = O.Fma(w0, v, a30);
                a31 = O.Fma(w1, v, a31);
                a32 = O.Fma(w2, v, a32);
            }
            V f0 = O.Load(factors), f1 = O.Load(factors + O.Count), f2 = O.Load(factors + 2 * O.Count);
            a00 = O.Fma(f0, a00, O.Load(y0));
            a01 = O.Fma(f1, a01, O.Load(y0 + O.Count));
            a02 = O.Fma(f2, a02, O.Load(y0 + 2 * O.Count));
            a10 = O.Fma(f0, a10, O.Load(y1));
            a11 = O.Fma(f1, a11, O.Load(y1 + O.Count));
            a12 = O.Fma(f2, a12, O.Load(y1 + 2 * O.Count));
            a20 = O.Fma(f0, a20, O.Load(y2));
            a21 = O.Fma(f1, a21, O.Load(y2 + O.Count));
            a22 = O.Fma(f2, a22, O.Load(y2 + 2 * O.Count));
            a30 = O.Fma(f0, a30, O.Load(y3));
            a31 = O.Fma(f1, a31, O.Load(y3 + O.Count));
            a32 = O.Fma(f2, a32, O.Load(y3 + 2 * O.Count));
            O.Store(a00, y0);
            O.Store(a01, y0 + O.Count);
            O.Store(a02, y0 + 2 * O.Count);
            O.Store(a10, y1);
            O.Store(a11, y1 + O.Count);
            O.Store(a12, y1 + 2 * O.Count);
            O.Store(a20, y2);
            O.Store(a21, y2 + O.Count);
            O.Store(a22, y2 + 2 * O.Count);
            O.Store(a30, y3);
            O.Store(a31, y3 + O.Count);
            O.Store(a32, y3 + 2 * O.Count);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Eight(float* x, long xStride, int rows, float* w, float* factors, int groups, int depth, float* y, long yStride)
    {
        float* x0 = x, x1 = x + (rows > 1 ? xStride : 0), x2 = x + (rows > 2 ? 2 * xStride : 0), x3 = x + (rows > 3 ? 3 * xStride : 0), x4 = x + (rows > 4 ? 4 * xStride : 0), x5 = x + (rows > 5 ? 5 * xStride : 0), x6 = x + (rows > 6 ? 6 * xStride : 0), x7 = x + (rows > 7 ? 7 * xStride : 0);
        float* y0 = y, y1 = y + (rows > 1 ? yStride : 0), y2 = y + (rows > 2 ? 2 * yStride : 0), y3 = y + (rows > 3 ? 3 * yStride : 0), y4 = y + (rows > 4 ? 4 * yStride : 0), y5 = y + (rows > 5 ? 5 * yStride : 0), y6 = y + (rows > 6 ? 6 * yStride : 0), y7 = y + (rows > 7 ? 7 * yStride : 0);
        for (int g = 0; g < groups; g++, factors += Columns)
        {
            V a00 = O.Zero, a01 = O.Zero, a02 = O.Zero;
            V a10 = O.Zero, a11 = O.Zero, a12 = O.Zero;
            V a20 = O.Zero, a21 = O.Zero, a22 = O.Zero;
            V a30 = O.Zero, a31 = O.Zero, a32 = O.Zero;
            V a40 = O.Zero, a41 = O.Zero, a42 = O.Zero;
            V a50 = O.Zero, a51 = O.Zero, a52 = O.Zero;
            V a60 = O.Zero, a61 = O.Zero, a62 = O.Zero;
            V a70 = O.Zero, a71 = O.Zero, a72 = O.Zero;
            for (int k = g * depth; k < (g + 1) * depth; k++, w += Columns)
            {
                V w0 = O.Load(w), w1 = O.Load(w + O.Count), w2 = O.Load(w + 2 * O.Count);
                V v = O.Broadcast(x0[k]);
                a00 = O.Fma(w0, v, a00);
                a01 = O.Fma(w1, v, a01);
                a02 = O.Fma(w2, v, a02);
                v = O.Broadcast(x1[k]);
                a10 = O.Fma(w0, v, a10);
                a11 = O.Fma(w1, v, a11);
                a12 = O.Fma(w2, v, a12);
                v = O.Broadcast(x2[k]);
                a20 = O.Fma(w0, v, a20);
                a21 = O.Fma(w1, v, a21);
                a22 = O.Fma(w2, v, a22);
                v = O.Broadcast(x3[k]);
                a30 = O.Fma(w0, v, a30);
                a31 = O.Fma(w1, v, a31);
                a32 = O.Fma(w2, v, a32);
                v = O.Broadcast(x4[k]);
                a40 = O.Fma(w0, v, a40);
                a41 = O.Fma(w1, v, a41);
                a42 = O.Fma(w2, v, a42);
                v = O.Broadcast(x5[k]);
                a50 = O.Fma(w0, v, a50);
                a51 = O.Fma(w1, v, a51);
                a52 = O.Fma(w2, v, a52);
                v = O.Broadcast(x6[k]);
                a60 = O.Fma(w0, v, a60);
                a61 = O.Fma(w1, v, a61);
                a62 = O.Fma(w2, v, a62);
                v = O.Broadcast(x7[k]);
                a70 = O.Fma(w0, v, a70);
                a71 = O.Fma(w1, v, a71);
                a72 = O.Fma(w2, v, a72);
            }
            V f0 = O.Load(factors), f1 = O.Load(factors + O.Count), f2 = O.Load(factors + 2 * O.Count);
            a00 = O.Fma(f0, a00, O.Load(y0));
            a01 = O.Fma(f1, a01, O.Load(y0 + O.Count));
            a02 = O.Fma(f2, a02, O.Load(y0 + 2 * O.Count));
            a10 = O.Fma(f0, a10, O.Load(y1));
            a11 = O.Fma(f1, a11, O.Load(y1 + O.Count));
            a12 = O.Fma(f2, a12, O.Load(y1 + 2 * O.Count));
            a20 = O.Fma(f0, a20, O.Load(y2));
            a21 = O.Fma(f1, a21, O.Load(y2 + O.Count));
            a22 = O.Fma(f2, a22, O.Load(y2 + 2 * O.Count));
            a30 = O.Fma(f0, a30, O.Load(y3));
            a31 = O.Fma(f1, a31, O.Load(y3 + O.Count));
            a32 = O.Fma(f2, a32, O.Load(y3 + 2 * O.Count));
            a40 = O.Fma(f0, a40, O.Load(y4));
            a41 = O.Fma(f1, a41, O.Load(y4 + O.Count));
            a42 = O.Fma(f2, a42, O.Load(y4 + 2 * O.Count));
            a50 = O.Fma(f0, a50, O.Load(y5));
            a51 = O.Fma(f1, a51, O.Load(y5 + O.Count));
            a52 = O.Fma(f2, a52, O.Load(y5 + 2 * O.Count));
            a60 = O.Fma(f0, a60, O.Load(y6));
            a61 = O.Fma(f1, a61, O.Load(y6 + O.Count));
            a62 = O.Fma(f2, a62, O.Load(y6 + 2 * O.Count));
            a70 = O.Fma(f0, a70, O.Load(y7));
            a71 = O.Fma(f1, a71, O.Load(y7 + O.Count));
            a72 = O.Fma(f2, a72, O.Load(y7 + 2 * O.Count));
            O.Store(a00, y0);
            O.Store(a01, y0 + O.Count);
            O.Store(a02, y0 + 2 * O.Count);
            O.Store(a10, y1);
            O.Store(a11, y1 + O.Count);
            O.Store(a12, y1 + 2 * O.Count);
            O.Store(a20, y2);
            O.Store(a21, y2 + O.Count);
            O.Store(a22, y2 + 2 * O.Count);
            O.Store(a30, y3);
            O.Store(a31, y3 + O.Count);
            O.Store(a32, y3 + 2 * O.Count);
            O.Store(a40, y4);
            O.Store(a41, y4 + O.Count);
            O.Store(a42, y4 + 2 * O.Count);
            O.Store(a50, y5);
            O.Store(a51, y5 + O.Count);
            O.Store(a52, y5 + 2 * O.Count);
            O.Store(a60, y6);
            O.Store(a61, y6 + O.Count);
            O.Store(a62, y6 + 2 * O.Count);
            O.Store(a70, y7);
            O.Store(a71, y7 + O.Count);
            O.Store(a72, y7 + 2 * O.Count);
        }
    }
}
