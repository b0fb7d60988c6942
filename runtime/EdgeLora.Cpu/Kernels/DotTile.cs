using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>
/// The inner loop of a product y = W·x whose lanes run over the inputs: some rows of x times three rows of W, one vector accumulator for each pair.
/// Eight rows where there are 32 registers, four where there are 16; the bits do not depend on which.
/// </summary>
internal static unsafe class DotTile<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Rows of x.</summary>
    public static int Rows => O.Count == 16 ? 8 : 4;

    /// <summary>Rows of W.</summary>
    public const int Outputs = 3;

    /// <summary>
    /// Continues the accumulators (begins them where <paramref name="first"/>) over whole vectors of inputs, and writes them back, or their sums where <paramref name="sums"/> is given:
    /// [3, Rows] both. Rows past <paramref name="rows"/> repeat the first.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Run(float* x, long xStride, int rows, float* w, long wStride, int inputs, float* accumulators, bool first, float* sums)
    {
        if (O.Count == 16)
            Eight(x, xStride, rows, w, wStride, inputs, accumulators, first, sums);
        else
            Four(x, xStride, rows, w, wStride, inputs, accumulators, first, sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four(float* x, long xStride, int rows, float* w, long wStride, int inputs, float* accumulators, bool first, float* sums)
    {
        float* x1 = x + (rows > 1 ? xStride : 0), x2 = x + (rows > 2 ? 2 * xStride : 0), x3 = x + (rows > 3 ? 3 * xStride : 0);
        V a00 = O.Zero, a01 = O.Zero, a02 = O.Zero;
        V a10 = O.Zero, a11 = O.Zero, a12 = O.Zero;
        V a20 = O.Zero, a21 = O.Zero, a22 = O.Zero;
        V a30 = O.Zero, a31 = O.Zero, a32 = O.Zero;
        if (!first)
        {
            a00 = O.Load(accumulators);
            a10 = O.Load(accumulators + O.Count);
            a20 = O.Load(accumulators + 2 * O.Count);
            a30 = O.Load(accumulators + 3 * O.Count);
            a01 = O.Load(accumulators + 4 * O.Count);
            a11 = O.Load(accumulators + 5 * O.Count);
            a21 = O.Load(accumulators + 6 * O.Count);
            a31 = O.Load(accumulators + 7 * O.Count);
            a02 = O.Load(accumulators + 8 * O.Count);
            a12 = O.Load(accumulators + 9 * O.Count);
            a22 = O.Load(accumulators + 10 * O.Count);
            a32 = O.Load(accumulators + 11 * O.Count);
        }
        for (int k = 0; k < inputs; k += O.Count)
        {
            V w0 = O.Load(w + k), w1 = O.Load(w + wStride + k), w2 = O.Load(w + 2 * wStride + k);
            V v = O.Load(x + k);
            a00 = O.Fma(w0, v, a00);
            a01 = O.Fma(w1, v, a01);
            a02 = O.Fma(w2, v, a02);
            v = O.Load(x1 + k);
            a10 = O.Fma(w0, v, a10);
            a11 = O.Fma(w1, v, a11);
            a12 = O.Fma(w2, v, a12);
            v = O.Load(x2 + k);
            a20 = O.Fma(w0, v, a20);
            a21 = O.Fma(w1, v, a21);
            a22 = O.Fma(w2, v, a22);
            v = O.Load(x3 + k);
            a30 = O.Fma(w0, v, a30);
            a31 = O.Fma(w1, v, a31);
            a32 = O.Fma(w2, v, a32);
        }
        if (sums is not null)
        {
            O.Sum4(a00, a10, a20, a30, sums);
            O.Sum4(a01, a11, a21, a31, sums + 4);
            O.Sum4(a02, a12, a22, a32, sums + 8);
            return;
        }
        O.Store(a00, accumulators);
        O.Store(a10, accumulators + O.Count);
        O.Store(a20, accumulators + 2 * O.Count);
        O.Store(a30, accumulators + 3 * O.Count);
        O.Store(a01, accumulators + 4 * O.Count);
        O.Store(a11, accumulators + 5 * O.Count);
        O.Store(a21, accumulators + 6 * O.Count);
        O.Store(a31, accumulators + 7 * O.Count);
        O.Store(a02, accumulators + 8 * O.Count);
        O.Store(a12, accumulators + 9 * O.Count);
        O.Store(a22, accumulators + 10 * O.Count);
        O.Store(a32, accumulators + 11 * O.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Eight(float* x, long xStride, int rows, float* w, long wStride, int inputs, float* accumulators, bool first, float* sums)
    {
        float* x1 = x + (rows > 1 ? xStride : 0), x2 = x + (rows > 2 ? 2 * xStride : 0), x3 = x + (rows > 3 ? 3 * xStride : 0), x4 = x + (rows > 4 ? 4 * xStride : 0), x5 = x + (rows > 5 ? 5 * xStride : 0), x6 = x + (rows > 6 ? 6 * xStride : 0), x7 = x + (rows > 7 ? 7 * xStride : 0);
        V a00 = O.Zero, a01 = O.Zero, a02 = O.Zero;
        V a10 = O.Zero, a11 = O.Zero, a12 = O.Zero;
        V a20 = O.Zero, a21 = O.Zero, a22 = O.Zero;
        V a30 = O.Zero, a31 = O.Zero, a32 = O.Zero;
        V a40 = O.Zero, a41 = O.Zero, a42 = O.Zero;
        V a50 = O.Zero, a51 = O.Zero, a52 = O.Zero;
        V a60 = O.Zero, a61 = O.Zero, a62 = O.Zero;
        V a70 = O.Zero, a71 = O.Zero, a72 = O.Zero;
        if (!first)
        {
            a00 = O.Load(accumulators);
            a10 = O.Load(accumulators + O.Count);
            a20 = O.Load(accumulators + 2 * O.Count);
            a30 = O.Load(accumulators + 3 * O.Count);
            a40 = O.Load(accumulators + 4 * O.Count);
            a50 = O.Load(accumulators + 5 * O.Count);
            a60 = O.Load(accumulators + 6 * O.Count);
            a70 = O.Load(accumulators + 7 * O.Count);
            a01 = O.Load(accumulators + 8 * O.Count);
            a11 = O.Load(accumulators + 9 * O.Count);
            a21 = O.Load(accumulators + 10 * O.Count);
            a31 = O.Load(accumulators + 11 * O.Count);
            a41 = O.Load(accumulators + 12 * O.Count);
            a51 = O.Load(accumulators + 13 * O.Count);
            a61 = O.Load(accumulators + 14 * O.Count);
            a71 = O.Load(accumulators + 15 * O.Count);
            a02 = O.Load(accumulators + 16 * O.Count);
            a12 = O.Load(accumulators + 17 * O.Count);
            a22 = O.Load(accumulators + 18 * O.Count);
            a32 = O.Load(accumulators + 19 * O.Count);
            a42 = O.Load(accumulators + 20 * O.Count);
            a52 = O.Load(accumulators + 21 * O.Count);
            a62 = O.Load(accumulators + 22 * O.Count);
            a72 = O.Load(accumulators + 23 * O.Count);
        }
        for (int k = 0; k < inputs; k += O.Count)
        {
            V w0 = O.Load(w + k), w1 = O.Load(w + wStride + k), w2 = O.Load(w + 2 * wStride + k);
            V v = O.Load(x + k);
            a00 = O.Fma(w0, v, a00);
            a01 = O.Fma(w1, v, a01);
            a02 = O.Fma(w2, v, a02);
            v = O.Load(x1 + k);
            a10 = O.Fma(w0, v, a10);
            a11 = O.Fma(w1, v, a11);
            a12 = O.Fma(w2, v, a12);
            v = O.Load(x2 + k);
            a20 = O.Fma(w0, v, a20);
            a21 = O.Fma(w1, v, a21);
            a22 = O.Fma(w2, v, a22);
            v = O.Load(x3 + k);
            a30 = O.Fma(w0, v, a30);
            a31 = O.Fma(w1, v, a31);
            a32 = O.Fma(w2, v, a32);
            v = O.Load(x4 + k);
            a40 = O.Fma(w0, v, a40);
            a41 = O.Fma(w1, v, a41);
            a42 = O.Fma(w2, v, a42);
            v = O.Load(x5 + k);
            a50 = O.Fma(w0, v, a50);
            a51 = O.Fma(w1, v, a51);
            a52 = O.Fma(w2, v, a52);
            v = O.Load(x6 + k);
            a60 = O.Fma(w0, v, a60);
            a61 = O.Fma(w1, v, a61);
            a62 = O.Fma(w2, v, a62);
            v = O.Load(x7 + k);
            a70 = O.Fma(w0, v, a70);
            a71 = O.Fma(w1, v, a71);
            a72 = O.Fma(w2, v, a72);
        }
        if (sums is not null)
        {
            O.Sum8(a00, a10, a20, a30, a40, a50, a60, a70, sums);
            O.Sum8(a01, a11, a21, a31, a41, a51, a61, a71, sums + 8);
            O.Sum8(a02, a12, a22, a32, a42, a52, a62, a72, sums + 16);
            return;
        }
        O.Store(a00, accumulators);
        O.Store(a10, accumulators + O.Count);
        O.Store(a20, accumulators + 2 * O.Count);
        O.Store(a30, accumulators + 3 * O.Count);
        O.Store(a40, accumulators + 4 * O.Count);
        O.Store(a50, accumulators + 5 * O.Count);
        O.Store(a60, accumulators + 6 * O.Count);
        O.Store(a70, accumulators + 7 * O.Count);
        O.Store(a01, accumulators + 8 * O.Count);
        O.Store(a11, accumulators + 9 * O.Count);
        O.Store(a21, accumulators + 10 * O.Count);
        O.Store(a31, accumulators + 11 * O.Count);
        O.Store(a41, accumulators + 12 * O.Count);
        O.Store(a51, accumulators + 13 * O.Count);
        O.Store(a61, accumulators + 14 * O.Count);
        O.Store(a71, accumulators + 15 * O.Count);
        O.Store(a02, accumulators + 16 * O.Count);
        O.Store(a12, accumulators + 17 * O.Count);
        O.Store(a22, accumulators + 18 * O.Count);
        O.Store(a32, accumulators + 19 * O.Count);
        O.Store(a42, accumulators + 20 * O.Count);
        O.Store(a52, accumulators + 21 * O.Count);
        O.Store(a62, accumulators + 22 * O.Count);
        O.Store(a72, accumulators + 23 * O.Count);
    }
}
