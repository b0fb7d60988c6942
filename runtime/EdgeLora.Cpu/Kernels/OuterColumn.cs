using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary><see cref="OuterTile{O, V}"/> for one vector of columns: what is left of a product after its whole tiles.</summary>
internal static unsafe class OuterColumn<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>As <see cref="OuterTile{O, V}.Run"/>, up to eight rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(float* a, long aRow, long aDepth, int rows, float* b, long bDepth, int depth, float* c, long cRow, bool chain)
    {
        float* p1 = a + (rows > 1 ? aRow : 0), p2 = a + (rows > 2 ? 2 * aRow : 0), p3 = a + (rows > 3 ? 3 * aRow : 0);
        float* p4 = a + (rows > 4 ? 4 * aRow : 0), p5 = a + (rows > 5 ? 5 * aRow : 0), p6 = a + (rows > 6 ? 6 * aRow : 0), p7 = a + (rows > 7 ? 7 * aRow : 0);
        float* c1 = c + (rows > 1 ? cRow : 0), c2 = c + (rows > 2 ? 2 * cRow : 0), c3 = c + (rows > 3 ? 3 * cRow : 0);
        float* c4 = c + (rows > 4 ? 4 * cRow : 0), c5 = c + (rows > 5 ? 5 * cRow : 0), c6 = c + (rows > 6 ? 6 * cRow : 0), c7 = c + (rows > 7 ? 7 * cRow : 0);
        V a0 = O.Zero, a1 = O.Zero, a2 = O.Zero, a3 = O.Zero, a4 = O.Zero, a5 = O.Zero, a6 = O.Zero, a7 = O.Zero;
        if (chain)
        {
            a0 = O.Load(c);
            a1 = O.Load(c1);
            a2 = O.Load(c2);
            a3 = O.Load(c3);
            a4 = O.Load(c4);
            a5 = O.Load(c5);
            a6 = O.Load(c6);
            a7 = O.Load(c7);
        }
        long at = 0;
        for (int k = 0; k < depth; k++, at += aDepth, b += bDepth)
        {
            V v = O.Load(b);
            a0 = O.Fma(v, O.Broadcast(a[at]), a0);
            a1 = O.Fma(v, O.Broadcast(p1[at]), a1);
            a2 = O.Fma(v, O.Broadcast(p2[at]), a2);
            a3 = O.Fma(v, O.Broadcast(p3[at]), a3);
            a4 = O.Fma(v, O.Broadcast(p4[at]), a4);
            a5 = O.Fma(v, O.Broadcast(p5[at]), a5);
            a6 = O.Fma(v, O.Broadcast(p6[at]), a6);
            a7 = O.Fma(v, O.Broadcast(p7[at]), a7);
        }
        if (!chain)
        {
            a0 = O.Add(O.Load(c), a0);
            a1 = O.Add(O.Load(c1), a1);
            a2 = O.Add(O.Load(c2), a2);
            a3 = O.Add(O.Load(c3), a3);
            a4 = O.Add(O.Load(c4), a4);
            a5 = O.Add(O.Load(c5), a5);
            a6 = O.Add(O.Load(c6), a6);
            a7 = O.Add(O.Load(c7), a7);
        }
        O.Store(a0, c);
        O.Store(a1, c1);
        O.Store(a2, c2);
        O.Store(a3, c3);
        O.Store(a4, c4);
        O.Store(a5, c5);
        O.Store(a6, c6);
        O.Store(a7, c7);
    }
}
