using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>
/// The inner loop of a product y = W·x whose lanes run over the inputs: three rows of x times some rows of W, one vector accumulator for each pair.
/// Eight rows of W where there are 32 registers, four where there are 16; the bits do not depend on which.
/// </summary>
internal static unsafe class DotTile<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Rows of x.</summary>
    public const int Rows = 3;

    /// <summary>Rows of W: outputs.</summary>
    public static int Outputs => O.Registers == 32 ? 8 : 4;

    /// <summary>
    /// Continues the accumulators [Rows, Outputs] (begins them where <paramref name="begin"/>) over whole vectors of inputs, and writes their sums to y [Rows, Outputs] where it is given,
    /// else themselves back. Rows past <paramref name="rows"/> and outputs past <paramref name="outputs"/> repeat the first; such rows are not written, such outputs are.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Run(float* x, long xStride, int rows, float* w, long wStride, int outputs, int inputs, float* accumulators, bool begin, float* y, long yStride)
    {
        if (O.Registers == 32)
            Eight(x, xStride, rows, w, wStride, outputs, inputs, accumulators, begin, y, yStride);
        else
            Four(x, xStride, rows, w, wStride, outputs, inputs, accumulators, begin, y, yStride);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four(float* x, long xStride, int rows, float* w, long wStride, int outputs, int inputs, float* accumulators, bool begin, float* y, long yStride)
    {
        float* x1 = x + (rows > 1 ? xStride : 0), x2 = x + (rows > 2 ? 2 * xStride : 0);
        float* w1 = w + (outputs > 1 ? wStride : 0), w2 = w + (outputs > 2 ? 2 * wStride : 0), w3 = w + (outputs > 3 ? 3 * wStride : 0);
        V a00 = O.Zero, a01 = O.Zero, a02 = O.Zero;
        V a10 = O.Zero, a11 = O.Zero, a12 = O.Zero;
        V a20 = O.Zero, a21 = O.Zero, a22 = O.Zero;
        V a30 = O.Zero, a31 = O.Zero, a32 = O.Zero;
        if (!begin)
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
        for (long k = 0; k < inputs; k += O.Count)
        {
            V v0 = O.Load(x + k), v1 = O.Load(x1 + k), v2 = O.Load(x2 + k);
            V u = O.Load(w + k);
            a00 = O.Fma(u, v0, a00);
            a01 = O.Fma(u, v1, a01);
            a02 = O.Fma(u, v2, a02);
            u = O.Load(w1 + k);
            a10 = O.Fma(u, v0, a10);
            a11 = O.Fma(u, v1, a11);
            a12 = O.Fma(u, v2, a12);
            u = O.Load(w2 + k);
            a20 = O.Fma(u, v0, a20);
            a21 = O.Fma(u, v1, a21);
            a22 = O.Fma(u, v2, a22);
            u = O.Load(w3 + k);
            a30 = O.Fma(u, v0, a30);
            a31 = O.Fma(u, v1, a31);
            a32 = O.Fma(u, v2, a32);
        }
        if (y is not null)
        {
            O.Sum4(a00, a10, a20, a30, y);
            if (rows > 1)
                O.Sum4(a01, a11, a21, a31, y + yStride);
            if (rows > 2)
                O.Sum4(a02, a12, a22, a32, y + 2 * yStride);
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
    private static void Eight(float* x, long xStride, int rows, float* w, long wStride, int outputs, int inputs, float* accumulators, bool begin, float* y, long yStride)
    {
        float* x1 = x + (rows > 1 ? xStride : 0), x2 = x + (rows > 2 ? 2 * xStride : 0);
        float* w1 = w + (outputs > 1 ? wStride : 0), w2 = w + (outputs > 2 ? 2 * wStride : 0), w3 = w + (outputs > 3 ? 3 * wStride : 0);
        float* w4 = w + (outputs > 4 ? 4 * wStride : 0), w5 = w + (outputs > 5 ? 5 * wStride : 0), w6 = w + (outputs > 6 ? 6 * wStride : 0), w7 = w + (outputs > 7 ? 7 * wStride : 0);
        V a00 = O.Zero, a01 = O.Zero, a02 = O.Zero;
        V a10 = O.Zero, a11 = O.Zero, a12 = O.Zero;
        V a20 = O.Zero, a21 = O.Zero, a22 = O.Zero;
        V a30 = O.Zero, a31 = O.Zero, a32 = O.Zero;
        V a40 = O.Zero, a41 = O.Zero, a42 = O.Zero;
        V a50 = O.Zero, a51 = O.Zero, a52 = O.Zero;
        V a60 = O.Zero, a61 = O.Zero, a62 = O.Zero;
        V a70 = O.Zero, a71 = O.Zero, a72 = O.Zero;
        if (!begin)
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
        for (long k = 0; k < inputs; k += O.Count)
        {
            V v0 = O.Load(x + k), v1 = O.Load(x1 + k), v2 = O.Load(x2 + k);
            V u = O.Load(w + k);
            a00 = O.Fma(u, v0, a00);
            a01 = O.Fma(u, v1, a01);
            a02 = O.Fma(u, v2, a02);
            u = O.Load(w1 + k);
            a10 = O.Fma(u, v0, a10);
            a11 = O.Fma(u, v1, a11);
            a12 = O.Fma(u, v2, a12);
            u = O.Load(w2 + k);
            a20 = O.Fma(u, v0, a20);
            a21 = O.Fma(u, v1, a21);
            a22 = O.Fma(u, v2, a22);
            u = O.Load(w3 + k);
            a30 = O.Fma(u, v0, a30);
            a31 = O.Fma(u, v1, a31);
            a32 = O.Fma(u, v2, a32);
            u = O.Load(w4 + k);
            a40 = O.Fma(u, v0, a40);
            a41 = O.Fma(u, v1, a41);
            a42 = O.Fma(u, v2, a42);
            u = O.Load(w5 + k);
            a50 = O.Fma(u, v0, a50);
            a51 = O.Fma(u, v1, a51);
            a52 = O.Fma(u, v2, a52);
            u = O.Load(w6 + k);
            a60 = O.Fma(u, v0, a60);
            a61 = O.Fma(u, v1, a61);
            a62 = O.Fma(u, v2, a62);
            u = O.Load(w7 + k);
            a70 = O.Fma(u, v0, a70);
            a71 = O.Fma(u, v1, a71);
            a72 = O.Fma(u, v2, a72);
        }
        if (y is not null)
        {
            O.Sum8(a00, a10, a20, a30, a40, a50, a60, a70, y);
            if (rows > 1)
                O.Sum8(a01, a11, a21, a31, a41, a51, a61, a71, y + yStride);
            if (rows > 2)
                O.Sum8(a02, a12, a22, a32, a42, a52, a62, a72, y + 2 * yStride);
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
