using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>The inner loop of <see cref="PackedProduct{O, V}"/> for two to four rows of x: two vectors of outputs, each weight widened once for all rows.</summary>
internal static unsafe class PackedRows<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Writes sums [4][2 vectors]. Rows may repeat one another.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<W>(PackedWeight weight, int vector, float* x0, float* x1, float* x2, float* x3, float* sums) where W : struct, IPackedType
    {
        byte* w0 = PackedProduct<O, V>.Start<W>(weight, vector, out ushort* s0, out int turns);
        byte* w1 = PackedProduct<O, V>.Start<W>(weight, Math.Min(vector + 1, PackedProduct<O, V>.LastInTurn(weight, vector)), out ushort* s1, out _);
        int step = turns * W.GroupBytes, scaleStep = turns * PackedWeight.Panel;
        new Span<float>(sums, 8 * O.Count).Clear();
        for (int k = 0, inputs = weight.Groups * PackedWeight.Group; k < inputs;)
        {
            int end = Math.Min(inputs, k + PackedProduct<O, V>.BlockInputs<W>());
            V a00 = O.Zero, a01 = O.Zero, a10 = O.Zero, a11 = O.Zero, a20 = O.Zero, a21 = O.Zero, a30 = O.Zero, a31 = O.Zero;
            for (; k < end; k += PackedWeight.Group)
            {
                V u0 = W.Load<O, V>(w0, 0), u1 = W.Load<O, V>(w1, 0);
                V v = O.Broadcast(x0[k]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 1);
                u1 = W.Load<O, V>(w1, 1);
                v = O.Broadcast(x0[k + 1]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 1]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 1]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 1]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 2);
                u1 = W.Load<O, V>(w1, 2);
                v = O.Broadcast(x0[k + 2]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 2]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 2]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 2]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 3);
                u1 = W.Load<O, V>(w1, 3);
                v = O.Broadcast(x0[k + 3]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 3]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 3]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 3]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 4);
                u1 = W.Load<O, V>(w1, 4);
                v = O.Broadcast(x0[k + 4]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 4]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 4]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 4]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 5);
                u1 = W.Load<O, V>(w1, 5);
                v = O.Broadcast(x0[k + 5]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 5]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 5]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 5]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 6);
                u1 = W.Load<O, V>(w1, 6);
                v = O.Broadcast(x0[k + 6]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 6]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 6]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 6]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                u0 = W.Load<O, V>(w0, 7);
                u1 = W.Load<O, V>(w1, 7);
                v = O.Broadcast(x0[k + 7]);
                a00 = O.Fma(u0, v, a00);
                a01 = O.Fma(u1, v, a01);
                v = O.Broadcast(x1[k + 7]);
                a10 = O.Fma(u0, v, a10);
                a11 = O.Fma(u1, v, a11);
                v = O.Broadcast(x2[k + 7]);
                a20 = O.Fma(u0, v, a20);
                a21 = O.Fma(u1, v, a21);
                v = O.Broadcast(x3[k + 7]);
                a30 = O.Fma(u0, v, a30);
                a31 = O.Fma(u1, v, a31);
                PackedProduct<O, V>.Prefetch<W>(w0);
                PackedProduct<O, V>.Prefetch<W>(w1);
                w0 += step;
                w1 += step;
            }
            V f0 = PackedProduct<O, V>.Factor<W>(s0), f1 = PackedProduct<O, V>.Factor<W>(s1);
            s0 += scaleStep;
            s1 += scaleStep;
            O.Store(PackedProduct<O, V>.Add<W>(a00, f0, O.Load(sums)), sums);
            O.Store(PackedProduct<O, V>.Add<W>(a01, f1, O.Load(sums + O.Count)), sums + O.Count);
            O.Store(PackedProduct<O, V>.Add<W>(a10, f0, O.Load(sums + 2 * O.Count)), sums + 2 * O.Count);
            O.Store(PackedProduct<O, V>.Add<W>(a11, f1, O.Load(sums + 3 * O.Count)), sums + 3 * O.Count);
            O.Store(PackedProduct<O, V>.Add<W>(a20, f0, O.Load(sums + 4 * O.Count)), sums + 4 * O.Count);
            O.Store(PackedProduct<O, V>.Add<W>(a21, f1, O.Load(sums + 5 * O.Count)), sums + 5 * O.Count);
            O.Store(PackedProduct<O, V>.Add<W>(a30, f0, O.Load(sums + 6 * O.Count)), sums + 6 * O.Count);
            O.Store(PackedProduct<O, V>.Add<W>(a31, f1, O.Load(sums + 7 * O.Count)), sums + 7 * O.Count);
        }
    }
}
