using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>
/// The inner loop of a product c += Σ_k a[·, k]·b[k, ·] whose lanes run over the columns of b: some rows of a times three vectors of columns, one accumulator lane for each element.
/// Eight rows where there are 32 registers, four where there are 16; the bits do not depend on which.
/// </summary>
internal static unsafe class OuterTile<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Rows of a.</summary>
    public static int Rows => O.Registers == 32 ? 8 : 4;

    /// <summary>Columns of b.</summary>
    public static int Columns => 3 * O.Count;

    /// <summary>
    /// Adds the products to c: to its value one by one where <paramref name="chain"/>, else their sum. Element (row, k) of a lies at row·aRow + k·aDepth, row k of b at k·bDepth.
    /// Rows past <paramref name="rows"/> repeat the first.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Run(float* a, long aRow, long aDepth, int rows, float* b, long bDepth, int depth, float* c, long cRow, bool chain)
    {
        if (LaneTile.Takes<V>() && aDepth == 1)
            LaneTile.Run(a, aRow, rows, b, bDepth, null, 1, depth, c, cRow, chain);
        else if (O.Registers == 32)
            Eight(a, aRow, aDepth, rows, b, bDepth, depth, c, cRow, chain);
        else
            Four(a, aRow, aDepth, rows, b, bDepth, depth, c, cRow, chain);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four(float* a, long aRow, long aDepth, int rows, float* b, long bDepth, int depth, float* c, long cRow, bool chain)
    {
        float* p1 = a + (rows > 1 ? aRow : 0), p2 = a + (rows > 2 ? 2 * aRow : 0), p3 = a + (rows > 3 ? 3 * aRow : 0);
        float* c1 = c + (rows > 1 ? cRow : 0), c2 = c + (rows > 2 ? 2 * cRow : 0), c3 = c + (rows > 3 ? 3 * cRow : 0);
        V a00 = O.Zero, a01 = O.Zero, a02 = O.Zero;
        V a10 = O.Zero, a11 = O.Zero, a12 = O.Zero;
        V a20 = O.Zero, a21 = O.Zero, a22 = O.Zero;
        V a30 = O.Zero, a31 = O.Zero, a32 = O.Zero;
        if (chain)
        {
            a00 = O.Load(c);
            a01 = O.Load(c + O.Count);
            a02 = O.Load(c + 2 * O.Count);
            a10 = O.Load(c1);
            a11 = O.Load(c1 + O.Count);
            a12 = O.Load(c1 + 2 * O.Count);
            a20 = O.Load(c2);
            a21 = O.Load(c2 + O.Count);
            a22 = O.Load(c2 + 2 * O.Count);
            a30 = O.Load(c3);
            a31 = O.Load(c3 + O.Count);
            a32 = O.Load(c3 + 2 * O.Count);
        }
        long at = 0;
        for (int k = 0; k < depth; k++, at += aDepth, b += bDepth)
        {
            V b0 = O.Load(b), b1 = O.Load(b + O.Count), b2 = O.Load(b + 2 * O.Count);
            V v = O.Broadcast(a[at]);
            a00 = O.Fma(b0, v, a00);
            a01 = O.Fma(b1, v, a01);
            a02 = O.Fma(b2, v, a02);
            v = O.Broadcast(p1[at]);
            a10 = O.Fma(b0, v, a10);
            a11 = O.Fma(b1, v, a11);
            a12 = O.Fma(b2, v, a12);
            v = O.Broadcast(p2[at]);
            a20 = O.Fma(b0, v, a20);
            a21 = O.Fma(b1, v, a21);
            a22 = O.Fma(b2, v, a22);
            v = O.Broadcast(p3[at]);
            a30 = O.Fma(b0, v, a30);
            a31 = O.Fma(b1, v, a31);
            a32 = O.Fma(b2, v, a32);
        }
        if (!chain)
        {
            // All loads before any store: rows that repeat the first must add once.
            a00 = O.Add(O.Load(c), a00);
            a01 = O.Add(O.Load(c + O.Count), a01);
            a02 = O.Add(O.Load(c + 2 * O.Count), a02);
            a10 = O.Add(O.Load(c1), a10);
            a11 = O.Add(O.Load(c1 + O.Count), a11);
            a12 = O.Add(O.Load(c1 + 2 * O.Count), a12);
            a20 = O.Add(O.Load(c2), a20);
            a21 = O.Add(O.Load(c2 + O.Count), a21);
            a22 = O.Add(O.Load(c2 + 2 * O.Count), a22);
            a30 = O.Add(O.Load(c3), a30);
            a31 = O.Add(O.Load(c3 + O.Count), a31);
            a32 = O.Add(O.Load(c3 + 2 * O.Count), a32);
        }
        O.Store(a00, c);
        O.Store(a01, c + O.Count);
        O.Store(a02, c + 2 * O.Count);
        O.Store(a10, c1);
        O.Store(a11, c1 + O.Count);
        O.Store(a12, c1 + 2 * O.Count);
        O.Store(a20, c2);
        O.Store(a21, c2 + O.Count);
        O.Store(a22, c2 + 2 * O.Count);
        O.Store(a30, c3);
        O.Store(a31, c3 + O.Count);
        O.Store(a32, c3 + 2 * O.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Eight(float* a, long aRow, long aDepth, int rows, float* b, long bDepth, int depth, float* c, long cRow, bool chain)
    {
        float* p1 = a + (rows > 1 ? aRow : 0), p2 = a + (rows > 2 ? 2 * aRow : 0), p3 = a + (rows > 3 ? 3 * aRow : 0), p4 = a + (rows > 4 ? 4 * aRow : 0), p5 = a + (rows > 5 ? 5 * aRow : 0), p6 = a + (rows > 6 ? 6 * aRow : 0), p7 = a + (rows > 7 ? 7 * aRow : 0);
        float* c1 = c + (rows > 1 ? cRow : 0), c2 = c + (rows > 2 ? 2 * cRow : 0), c3 = c + (rows > 3 ? 3 * cRow : 0), c4 = c + (rows > 4 ? 4 * cRow : 0), c5 = c + (rows > 5 ? 5 * cRow : 0), c6 = c + (rows > 6 ? 6 * cRow : 0), c7 = c + (rows > 7 ? 7 * cRow : 0);
        V a00 = O.Zero, a01 = O.Zero, a02 = O.Zero;
        V a10 = O.Zero, a11 = O.Zero, a12 = O.Zero;
        V a20 = O.Zero, a21 = O.Zero, a22 = O.Zero;
        V a30 = O.Zero, a31 = O.Zero, a32 = O.Zero;
        V a40 = O.Zero, a41 = O.Zero, a42 = O.Zero;
        V a50 = O.Zero, a51 = O.Zero, a52 = O.Zero;
        V a60 = O.Zero, a61 = O.Zero, a62 = O.Zero;
        V a70 = O.Zero, a71 = O.Zero, a72 = O.Zero;
        if (chain)
        {
            a00 = O.Load(c);
            a01 = O.Load(c + O.Count);
            a02 = O.Load(c + 2 * O.Count);
            a10 = O.Load(c1);
            a11 = O.Load(c1 + O.Count);
            a12 = O.Load(c1 + 2 * O.Count);
            a20 = O.Load(c2);
            a21 = O.Load(c2 + O.Count);
            a22 = O.Load(c2 + 2 * O.Count);
            a30 = O.Load(c3);
            a31 = O.Load(c3 + O.Count);
            a32 = O.Load(c3 + 2 * O.Count);
            a40 = O.Load(c4);
            a41 = O.Load(c4 + O.Count);
            a42 = O.Load(c4 + 2 * O.Count);
            a50 = O.Load(c5);
            a51 = O.Load(c5 + O.Count);
            a52 = O.Load(c5 + 2 * O.Count);
            a60 = O.Load(c6);
            a61 = O.Load(c6 + O.Count);
            a62 = O.Load(c6 + 2 * O.Count);
            a70 = O.Load(c7);
            a71 = O.Load(c7 + O.Count);
            a72 = O.Load(c7 + 2 * O.Count);
        }
        long at = 0;
        for (int k = 0; k < depth; k++, at += aDepth, b += bDepth)
        {
            V b0 = O.Load(b), b1 = O.Load(b + O.Count), b2 = O.Load(b + 2 * O.Count);
            V v = O.Broadcast(a[at]);
            a00 = O.Fma(b0, v, a00);
            a01 = O.Fma(b1, v, a01);
            a02 = O.Fma(b2, v, a02);
            v = O.Broadcast(p1[at]);
            a10 = O.Fma(b0, v, a10);
            a11 = O.Fma(b1, v, a11);
            a12 = O.Fma(b2, v, a12);
            v = O.Broadcast(p2[at]);
            a20 = O.Fma(b0, v, a20);
            a21 = O.Fma(b1, v, a21);
            a22 = O.Fma(b2, v, a22);
            v = O.Broadcast(p3[at]);
            a30 = O.Fma(b0, v, a30);
            a31 = O.Fma(b1, v, a31);
            a32 = O.Fma(b2, v, a32);
            v = O.Broadcast(p4[at]);
            a40 = O.Fma(b0, v, a40);
            a41 = O.Fma(b1, v, a41);
            a42 = O.Fma(b2, v, a42);
            v = O.Broadcast(p5[at]);
            a50 = O.Fma(b0, v, a50);
            a51 = O.Fma(b1, v, a51);
            a52 = O.Fma(b2, v, a52);
            v = O.Broadcast(p6[at]);
            a60 = O.Fma(b0, v, a60);
            a61 = O.Fma(b1, v, a61);
            a62 = O.Fma(b2, v, a62);
            v = O.Broadcast(p7[at]);
            a70 = O.Fma(b0, v, a70);
            a71 = O.Fma(b1, v, a71);
            a72 = O.Fma(b2, v, a72);
        }
        if (!chain)
        {
            // All loads before any store: rows that repeat the first must add once.
            a00 = O.Add(O.Load(c), a00);
            a01 = O.Add(O.Load(c + O.Count), a01);
            a02 = O.Add(O.Load(c + 2 * O.Count), a02);
            a10 = O.Add(O.Load(c1), a10);
            a11 = O.Add(O.Load(c1 + O.Count), a11);
            a12 = O.Add(O.Load(c1 + 2 * O.Count), a12);
            a20 = O.Add(O.Load(c2), a20);
            a21 = O.Add(O.Load(c2 + O.Count), a21);
            a22 = O.Add(O.Load(c2 + 2 * O.Count), a22);
            a30 = O.Add(O.Load(c3), a30);
            a31 = O.Add(O.Load(c3 + O.Count), a31);
            a32 = O.Add(O.Load(c3 + 2 * O.Count), a32);
            a40 = O.Add(O.Load(c4), a40);
            a41 = O.Add(O.Load(c4 + O.Count), a41);
            a42 = O.Add(O.Load(c4 + 2 * O.Count), a42);
            a50 = O.Add(O.Load(c5), a50);
            a51 = O.Add(O.Load(c5 + O.Count), a51);
            a52 = O.Add(O.Load(c5 + 2 * O.Count), a52);
            a60 = O.Add(O.Load(c6), a60);
            a61 = O.Add(O.Load(c6 + O.Count), a61);
            a62 = O.Add(O.Load(c6 + 2 * O.Count), a62);
            a70 = O.Add(O.Load(c7), a70);
            a71 = O.Add(O.Load(c7 + O.Count), a71);
            a72 = O.Add(O.Load(c7 + 2 * O.Count), a72);
        }
        O.Store(a00, c);
        O.Store(a01, c + O.Count);
        O.Store(a02, c + 2 * O.Count);
        O.Store(a10, c1);
        O.Store(a11, c1 + O.Count);
        O.Store(a12, c1 + 2 * O.Count);
        O.Store(a20, c2);
        O.Store(a21, c2 + O.Count);
        O.Store(a22, c2 + 2 * O.Count);
        O.Store(a30, c3);
        O.Store(a31, c3 + O.Count);
        O.Store(a32, c3 + 2 * O.Count);
        O.Store(a40, c4);
        O.Store(a41, c4 + O.Count);
        O.Store(a42, c4 + 2 * O.Count);
        O.Store(a50, c5);
        O.Store(a51, c5 + O.Count);
        O.Store(a52, c5 + 2 * O.Count);
        O.Store(a60, c6);
        O.Store(a61, c6 + O.Count);
        O.Store(a62, c6 + 2 * O.Count);
        O.Store(a70, c7);
        O.Store(a71, c7 + O.Count);
        O.Store(a72, c7 + 2 * O.Count);
    }
}
