using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>The inner loop of <see cref="IntegerProduct{O, V}"/> for two to four rows: two vectors of outputs that take turns, each weight taken apart once for all rows, in registers.</summary>
internal static unsafe class IntegerRows<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>The sums [row][four vectors]; <paramref name="factors"/> is room for those and minimums of some groups. A vector past the last one and rows past the last repeat it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<W, R>(PackedWeight weight, int vector, int last, int* rounded, long stride, int rows, float* factors, float* sums) where W : struct, IIntegerType where R : struct, ITileRows
    {
        const int most = IntegerProduct<O, V>.Groups;
        int width = 2 * O.Count, row = IntegerProduct<O, V>.Vectors * O.Count;
        byte* w0 = IntegerProduct<O, V>.Start<W>(weight, vector), w1 = IntegerProduct<O, V>.Start<W>(weight, Math.Min(vector + 1, last));
        long step = (long)weight.InTurn(vector * O.Count / PackedWeight.Panel) * W.StepBytes;
        float* x0 = (float*)rounded, x1 = x0 + (rows > 1 ? stride : 0), x2 = x1 + (rows > 2 ? stride : 0), x3 = x2 + (rows > 3 ? stride : 0);
        new Span<float>(sums, 4 * row).Clear();
        for (int first = 0; first < weight.Groups; first += most)
        {
            int groups = Math.Min(most, weight.Groups - first);
            float* f = factors;
            IntegerProduct<O, V>.Factors<W>(weight, vector, 2, last, first, groups, f, width);
            for (int g = 0; g < groups; g++, f += width)
            {
                V a00 = O.Zero, a01 = O.Zero, a10 = O.Zero, a11 = O.Zero, a20 = O.Zero, a21 = O.Zero, a30 = O.Zero, a31 = O.Zero, b0 = W.Plane<O, V>(w0, step), b1 = W.Plane<O, V>(w1, step);
                for (int s = 0; s < W.Steps; s++)
                {
                    IntegerProduct<O, V>.Prefetch<W>(w0);
                    IntegerProduct<O, V>.Prefetch<W>(w1);
                    V u0 = W.Unit<O, V>(w0), u1 = W.Unit<O, V>(w1), e, h, v;
                    e = W.Part<O, V>(w0, u0, b0, 0);
                    h = W.Part<O, V>(w1, u1, b1, 0);
                    v = O.Broadcast(x0[0]);
                    a00 = W.Multiply<O, V>(a00, e, v);
                    a01 = W.Multiply<O, V>(a01, h, v);
                    v = O.Broadcast(x1[0]);
                    a10 = W.Multiply<O, V>(a10, e, v);
                    a11 = W.Multiply<O, V>(a11, h, v);
                    if (R.Count > 2)
                    {
                        v = O.Broadcast(x2[0]);
                        a20 = W.Multiply<O, V>(a20, e, v);
                        a21 = W.Multiply<O, V>(a21, h, v);
                        v = O.Broadcast(x3[0]);
                        a30 = W.Multiply<O, V>(a30, e, v);
                        a31 = W.Multiply<O, V>(a31, h, v);
                    }
                    e = W.Part<O, V>(w0, u0, b0, 1);
                    h = W.Part<O, V>(w1, u1, b1, 1);
                    v = O.Broadcast(x0[1]);
                    a00 = W.Multiply<O, V>(a00, e, v);
                    a01 = W.Multiply<O, V>(a01, h, v);
                    v = O.Broadcast(x1[1]);
                    a10 = W.Multiply<O, V>(a10, e, v);
                    a11 = W.Multiply<O, V>(a11, h, v);
                    if (R.Count > 2)
                    {
                        v = O.Broadcast(x2[1]);
                        a20 = W.Multiply<O, V>(a20, e, v);
                        a21 = W.Multiply<O, V>(a21, h, v);
                        v = O.Broadcast(x3[1]);
                        a30 = W.Multiply<O, V>(a30, e, v);
                        a31 = W.Multiply<O, V>(a31, h, v);
                    }
                    if (W.Words > 8)
                    {
                        e = W.Part<O, V>(w0, u0, b0, 2);
                        h = W.Part<O, V>(w1, u1, b1, 2);
                        v = O.Broadcast(x0[2]);
                        a00 = W.Multiply<O, V>(a00, e, v);
                        a01 = W.Multiply<O, V>(a01, h, v);
                        v = O.Broadcast(x1[2]);
                        a10 = W.Multiply<O, V>(a10, e, v);
                        a11 = W.Multiply<O, V>(a11, h, v);
                        if (R.Count > 2)
                        {
                            v = O.Broadcast(x2[2]);
                            a20 = W.Multiply<O, V>(a20, e, v);
                            a21 = W.Multiply<O, V>(a21, h, v);
                            v = O.Broadcast(x3[2]);
                            a30 = W.Multiply<O, V>(a30, e, v);
                            a31 = W.Multiply<O, V>(a31, h, v);
                        }
                        e = W.Part<O, V>(w0, u0, b0, 3);
                        h = W.Part<O, V>(w1, u1, b1, 3);
                        v = O.Broadcast(x0[3]);
                        a00 = W.Multiply<O, V>(a00, e, v);
                        a01 = W.Multiply<O, V>(a01, h, v);
                        v = O.Broadcast(x1[3]);
                        a10 = W.Multiply<O, V>(a10, e, v);
                        a11 = W.Multiply<O, V>(a11, h, v);
                        if (R.Count > 2)
                        {
                            v = O.Broadcast(x2[3]);
                            a20 = W.Multiply<O, V>(a20, e, v);
                            a21 = W.Multiply<O, V>(a21, h, v);
                            v = O.Broadcast(x3[3]);
                            a30 = W.Multiply<O, V>(a30, e, v);
                            a31 = W.Multiply<O, V>(a31, h, v);
                        }
                    }
                    b0 = W.Next<O, V>(b0);
                    b1 = W.Next<O, V>(b1);
                    w0 += step;
                    w1 += step;
                    x0 += W.Words / W.Steps;
                    x1 += W.Words / W.Steps;
                    x2 += W.Words / W.Steps;
                    x3 += W.Words / W.Steps;
                }
                w0 += (W.GroupSteps - W.Steps) * step;
                w1 += (W.GroupSteps - W.Steps) * step;
                V f0 = O.Load(f), f1 = O.Load(f + O.Count), m0 = W.HasMinimums ? O.Load(f + most * width) : O.Zero, m1 = W.HasMinimums ? O.Load(f + most * width + O.Count) : O.Zero;
                IntegerTile<O, V>.Add<W>(a00, a01, x0, f0, f1, m0, m1, sums);
                IntegerTile<O, V>.Add<W>(a10, a11, x1, f0, f1, m0, m1, sums + row);
                if (R.Count > 2)
                {
                    IntegerTile<O, V>.Add<W>(a20, a21, x2, f0, f1, m0, m1, sums + 2 * row);
                    IntegerTile<O, V>.Add<W>(a30, a31, x3, f0, f1, m0, m1, sums + 3 * row);
                }
                x0 += 4;
                x1 += 4;
                x2 += 4;
                x3 += 4;
            }
        }
    }
}
