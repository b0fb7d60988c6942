using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>The inner loop of <see cref="PackedProduct{O, V}"/> for two to four rows of x: two vectors of outputs, each weight widened once for all rows.</summary>
internal static unsafe class PackedRows<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Adds some inputs more, from whole groups, to sums [4][four vectors]. Rows may repeat one another. Factors that are F16 are read where they lie, <paramref name="halfStep"/> apart.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<W>(byte* w0, byte* w1, long step, float* x0, float* x1, float* x2, float* x3, int inputs, float* factors, ushort* half0, ushort* half1, long halfStep, V table, float* sums) where W : struct, IPackedType
    {
        int row = PackedProduct<O, V>.Vectors * O.Count;
        for (int k = 0; k < inputs; factors += row, half0 += halfStep, half1 += halfStep)
        {
            int last = W.HasFactors ? k + W.Group : inputs;
            V a00 = O.Zero, a01 = O.Zero, a10 = O.Zero, a11 = O.Zero, a20 = O.Zero, a21 = O.Zero, a30 = O.Zero, a31 = O.Zero;
            while (k < last)
            {
                for (int s = 0; s < W.Steps; s++, k += W.Fields)
                {
                    PackedProduct<O, V>.Prefetch<W>(w0);
                    PackedProduct<O, V>.Prefetch<W>(w1);
                    V u0 = W.Unit<O, V>(w0), u1 = W.Unit<O, V>(w1), e, g, v;
                    e = W.Load<O, V>(w0, u0, 0, table);
                    g = W.Load<O, V>(w1, u1, 0, table);
                    v = O.Broadcast(x0[k]);
                    a00 = O.Fma(e, v, a00);
                    a01 = O.Fma(g, v, a01);
                    v = O.Broadcast(x1[k]);
                    a10 = O.Fma(e, v, a10);
                    a11 = O.Fma(g, v, a11);
                    v = O.Broadcast(x2[k]);
                    a20 = O.Fma(e, v, a20);
                    a21 = O.Fma(g, v, a21);
                    v = O.Broadcast(x3[k]);
                    a30 = O.Fma(e, v, a30);
                    a31 = O.Fma(g, v, a31);
                    e = W.Load<O, V>(w0, u0, 1, table);
                    g = W.Load<O, V>(w1, u1, 1, table);
                    v = O.Broadcast(x0[k + 1]);
                    a00 = O.Fma(e, v, a00);
                    a01 = O.Fma(g, v, a01);
                    v = O.Broadcast(x1[k + 1]);
                    a10 = O.Fma(e, v, a10);
                    a11 = O.Fma(g, v, a11);
                    v = O.Broadcast(x2[k + 1]);
                    a20 = O.Fma(e, v, a20);
                    a21 = O.Fma(g, v, a21);
                    v = O.Broadcast(x3[k + 1]);
                    a30 = O.Fma(e, v, a30);
                    a31 = O.Fma(g, v, a31);
                    e = W.Load<O, V>(w0, u0, 2, table);
                    g = W.Load<O, V>(w1, u1, 2, table);
                    v = O.Broadcast(x0[k + 2]);
                    a00 = O.Fma(e, v, a00);
                    a01 = O.Fma(g, v, a01);
                    v = O.Broadcast(x1[k + 2]);
                    a10 = O.Fma(e, v, a10);
                    a11 = O.Fma(g, v, a11);
                    v = O.Broadcast(x2[k + 2]);
                    a20 = O.Fma(e, v, a20);
                    a21 = O.Fma(g, v, a21);
                    v = O.Broadcast(x3[k + 2]);
                    a30 = O.Fma(e, v, a30);
                    a31 = O.Fma(g, v, a31);
                    e = W.Load<O, V>(w0, u0, 3, table);
                    g = W.Load<O, V>(w1, u1, 3, table);
                    v = O.Broadcast(x0[k + 3]);
                    a00 = O.Fma(e, v, a00);
                    a01 = O.Fma(g, v, a01);
                    v = O.Broadcast(x1[k + 3]);
                    a10 = O.Fma(e, v, a10);
                    a11 = O.Fma(g, v, a11);
                    v = O.Broadcast(x2[k + 3]);
                    a20 = O.Fma(e, v, a20);
                    a21 = O.Fma(g, v, a21);
                    v = O.Broadcast(x3[k + 3]);
                    a30 = O.Fma(e, v, a30);
                    a31 = O.Fma(g, v, a31);
                    e = W.Load<O, V>(w0, u0, 4, table);
                    g = W.Load<O, V>(w1, u1, 4, table);
                    v = O.Broadcast(x0[k + 4]);
                    a00 = O.Fma(e, v, a00);
                    a01 = O.Fma(g, v, a01);
                    v = O.Broadcast(x1[k + 4]);
                    a10 = O.Fma(e, v, a10);
                    a11 = O.Fma(g, v, a11);
                    v = O.Broadcast(x2[k + 4]);
                    a20 = O.Fma(e, v, a20);
                    a21 = O.Fma(g, v, a21);
                    v = O.Broadcast(x3[k + 4]);
                    a30 = O.Fma(e, v, a30);
                    a31 = O.Fma(g, v, a31);
                    if (W.Fields > 5)
                    {
                        e = W.Load<O, V>(w0, u0, 5, table);
                        g = W.Load<O, V>(w1, u1, 5, table);
                        v = O.Broadcast(x0[k + 5]);
                        a00 = O.Fma(e, v, a00);
                        a01 = O.Fma(g, v, a01);
                        v = O.Broadcast(x1[k + 5]);
                        a10 = O.Fma(e, v, a10);
                        a11 = O.Fma(g, v, a11);
                        v = O.Broadcast(x2[k + 5]);
                        a20 = O.Fma(e, v, a20);
                        a21 = O.Fma(g, v, a21);
                        v = O.Broadcast(x3[k + 5]);
                        a30 = O.Fma(e, v, a30);
                        a31 = O.Fma(g, v, a31);
                    }
                    if (W.Fields > 6)
                    {
                        e = W.Load<O, V>(w0, u0, 6, table);
                        g = W.Load<O, V>(w1, u1, 6, table);
                        v = O.Broadcast(x0[k + 6]);
                        a00 = O.Fma(e, v, a00);
                        a01 = O.Fma(g, v, a01);
                        v = O.Broadcast(x1[k + 6]);
                        a10 = O.Fma(e, v, a10);
                        a11 = O.Fma(g, v, a11);
                        v = O.Broadcast(x2[k + 6]);
                        a20 = O.Fma(e, v, a20);
                        a21 = O.Fma(g, v, a21);
                        v = O.Broadcast(x3[k + 6]);
                        a30 = O.Fma(e, v, a30);
                        a31 = O.Fma(g, v, a31);
                        e = W.Load<O, V>(w0, u0, 7, table);
                        g = W.Load<O, V>(w1, u1, 7, table);
                        v = O.Broadcast(x0[k + 7]);
                        a00 = O.Fma(e, v, a00);
                        a01 = O.Fma(g, v, a01);
                        v = O.Broadcast(x1[k + 7]);
                        a10 = O.Fma(e, v, a10);
                        a11 = O.Fma(g, v, a11);
                        v = O.Broadcast(x2[k + 7]);
                        a20 = O.Fma(e, v, a20);
                        a21 = O.Fma(g, v, a21);
                        v = O.Broadcast(x3[k + 7]);
                        a30 = O.Fma(e, v, a30);
                        a31 = O.Fma(g, v, a31);
                    }
                    w0 += step;
                    w1 += step;
                }
                if (W.Rest > 0)
                {
                    V u0 = W.RestUnit<O, V>(w0 - W.Steps * step, step), u1 = W.RestUnit<O, V>(w1 - W.Steps * step, step), e, g, v;
                    e = W.LoadRest<O, V>(u0, 0);
                    g = W.LoadRest<O, V>(u1, 0);
                    v = O.Broadcast(x0[k]);
                    a00 = O.Fma(e, v, a00);
                    a01 = O.Fma(g, v, a01);
                    v = O.Broadcast(x1[k]);
                    a10 = O.Fma(e, v, a10);
                    a11 = O.Fma(g, v, a11);
                    v = O.Broadcast(x2[k]);
                    a20 = O.Fma(e, v, a20);
                    a21 = O.Fma(g, v, a21);
                    v = O.Broadcast(x3[k]);
                    a30 = O.Fma(e, v, a30);
                    a31 = O.Fma(g, v, a31);
                    if (W.Rest > 1)
                    {
                        e = W.LoadRest<O, V>(u0, 1);
                        g = W.LoadRest<O, V>(u1, 1);
                        v = O.Broadcast(x0[k + 1]);
                        a00 = O.Fma(e, v, a00);
                        a01 = O.Fma(g, v, a01);
                        v = O.Broadcast(x1[k + 1]);
                        a10 = O.Fma(e, v, a10);
                        a11 = O.Fma(g, v, a11);
                        v = O.Broadcast(x2[k + 1]);
                        a20 = O.Fma(e, v, a20);
                        a21 = O.Fma(g, v, a21);
                        v = O.Broadcast(x3[k + 1]);
                        a30 = O.Fma(e, v, a30);
                        a31 = O.Fma(g, v, a31);
                    }
                    k += W.Rest;
                }
            }
            V f0 = PackedProduct<O, V>.Factor<W>(factors, half0), f1 = PackedProduct<O, V>.Factor<W>(factors + O.Count, half1);
            O.Store(PackedProduct<O, V>.Add<W>(a00, f0, O.Load(sums)), sums);
            O.Store(PackedProduct<O, V>.Add<W>(a01, f1, O.Load(sums + O.Count)), sums + O.Count);
            O.Store(PackedProduct<O, V>.Add<W>(a10, f0, O.Load(sums + row)), sums + row);
            O.Store(PackedProduct<O, V>.Add<W>(a11, f1, O.Load(sums + row + O.Count)), sums + row + O.Count);
            O.Store(PackedProduct<O, V>.Add<W>(a20, f0, O.Load(sums + 2 * row)), sums + 2 * row);
            O.Store(PackedProduct<O, V>.Add<W>(a21, f1, O.Load(sums + 2 * row + O.Count)), sums + 2 * row + O.Count);
            O.Store(PackedProduct<O, V>.Add<W>(a30, f0, O.Load(sums + 3 * row)), sums + 3 * row);
            O.Store(PackedProduct<O, V>.Add<W>(a31, f1, O.Load(sums + 3 * row + O.Count)), sums + 3 * row + O.Count);
        }
    }
}
