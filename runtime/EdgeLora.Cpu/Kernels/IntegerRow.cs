using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>The inner loops of <see cref="IntegerProduct{O, V}"/> for one row: four or two vectors of outputs that take turns. Vectors past the last one repeat it.</summary>
internal static unsafe class IntegerRow<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>The sums of four vectors; <paramref name="factors"/> is room for those and minimums of some groups.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Four<W>(PackedWeight weight, int vector, int last, int* rounded, float* factors, float* sums) where W : struct, IIntegerType
    {
        const int most = IntegerProduct<O, V>.Groups;
        int turns = weight.InTurn(vector * O.Count / PackedWeight.Panel), width = 4 * O.Count;
        byte* w0 = IntegerProduct<O, V>.Start<W>(weight, vector), w1 = IntegerProduct<O, V>.Start<W>(weight, Math.Min(vector + 1, last)), w2 = IntegerProduct<O, V>.Start<W>(weight, Math.Min(vector + 2, last)), w3 = IntegerProduct<O, V>.Start<W>(weight, Math.Min(vector + 3, last));
        ushort* h0 = IntegerProduct<O, V>.Factor(weight, vector), h1 = IntegerProduct<O, V>.Factor(weight, Math.Min(vector + 1, last)), h2 = IntegerProduct<O, V>.Factor(weight, Math.Min(vector + 2, last)), h3 = IntegerProduct<O, V>.Factor(weight, Math.Min(vector + 3, last));
        long step = (long)turns * W.StepBytes, record = (long)turns * PackedWeight.Panel;
        V t0 = O.Zero, t1 = O.Zero, t2 = O.Zero, t3 = O.Zero;
        float* x = (float*)rounded;
        for (int first = 0; first < weight.Groups; first += most)
        {
            int groups = Math.Min(most, weight.Groups - first);
            float* f = factors;
            if (!W.IsPlain)
                IntegerProduct<O, V>.Factors<W>(weight, vector, 4, last, first, groups, f, width);
            for (int g = 0; g < groups; g++, f += width)
            {
                V a0 = O.Zero, a1 = O.Zero, a2 = O.Zero, a3 = O.Zero, b0 = W.Plane<O, V>(w0, step), b1 = W.Plane<O, V>(w1, step), b2 = W.Plane<O, V>(w2, step), b3 = W.Plane<O, V>(w3, step), v;
                for (int s = 0; s < W.Steps; s++, x += W.Words / W.Steps)
                {
                    IntegerProduct<O, V>.Prefetch<W>(w0);
                    IntegerProduct<O, V>.Prefetch<W>(w1);
                    IntegerProduct<O, V>.Prefetch<W>(w2);
                    IntegerProduct<O, V>.Prefetch<W>(w3);
                    V u0 = W.Unit<O, V>(w0), u1 = W.Unit<O, V>(w1), u2 = W.Unit<O, V>(w2), u3 = W.Unit<O, V>(w3);
                    v = O.Broadcast(x[0]);
                    a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, b0, 0), v);
                    a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, b1, 0), v);
                    a2 = W.Multiply<O, V>(a2, W.Part<O, V>(w2, u2, b2, 0), v);
                    a3 = W.Multiply<O, V>(a3, W.Part<O, V>(w3, u3, b3, 0), v);
                    v = O.Broadcast(x[1]);
                    a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, b0, 1), v);
                    a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, b1, 1), v);
                    a2 = W.Multiply<O, V>(a2, W.Part<O, V>(w2, u2, b2, 1), v);
                    a3 = W.Multiply<O, V>(a3, W.Part<O, V>(w3, u3, b3, 1), v);
                    if (W.Words > 8)
                    {
                        v = O.Broadcast(x[2]);
                        a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, b0, 2), v);
                        a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, b1, 2), v);
                        a2 = W.Multiply<O, V>(a2, W.Part<O, V>(w2, u2, b2, 2), v);
                        a3 = W.Multiply<O, V>(a3, W.Part<O, V>(w3, u3, b3, 2), v);
                        v = O.Broadcast(x[3]);
                        a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, b0, 3), v);
                        a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, b1, 3), v);
                        a2 = W.Multiply<O, V>(a2, W.Part<O, V>(w2, u2, b2, 3), v);
                        a3 = W.Multiply<O, V>(a3, W.Part<O, V>(w3, u3, b3, 3), v);
                    }
                    b0 = W.Next<O, V>(b0);
                    b1 = W.Next<O, V>(b1);
                    b2 = W.Next<O, V>(b2);
                    b3 = W.Next<O, V>(b3);
                    w0 += step;
                    w1 += step;
                    w2 += step;
                    w3 += step;
                }
                V d = O.Broadcast(*x), sum = W.HasMinimums ? O.Broadcast(x[3]) : O.Zero;
                t0 = IntegerProduct<O, V>.Add<W>(W.Total<O, V>(a0, (int*)x + 1), O.Multiply(W.IsPlain ? O.LoadFiniteF16(h0) : O.Load(f), d), W.HasMinimums ? O.Load(f + most * width) : O.Zero, sum, t0);
                t1 = IntegerProduct<O, V>.Add<W>(W.Total<O, V>(a1, (int*)x + 1), O.Multiply(W.IsPlain ? O.LoadFiniteF16(h1) : O.Load(f + O.Count), d), W.HasMinimums ? O.Load(f + most * width + O.Count) : O.Zero, sum, t1);
                t2 = IntegerProduct<O, V>.Add<W>(W.Total<O, V>(a2, (int*)x + 1), O.Multiply(W.IsPlain ? O.LoadFiniteF16(h2) : O.Load(f + 2 * O.Count), d), W.HasMinimums ? O.Load(f + most * width + 2 * O.Count) : O.Zero, sum, t2);
                t3 = IntegerProduct<O, V>.Add<W>(W.Total<O, V>(a3, (int*)x + 1), O.Multiply(W.IsPlain ? O.LoadFiniteF16(h3) : O.Load(f + 3 * O.Count), d), W.HasMinimums ? O.Load(f + most * width + 3 * O.Count) : O.Zero, sum, t3);
                h0 += record;
                h1 += record;
                h2 += record;
                h3 += record;
                if (W.GroupSteps > W.Steps)
                {
                    w0 += step;
                    w1 += step;
                    w2 += step;
                    w3 += step;
                }
                x += 4;
            }
        }
        O.Store(t0, sums);
        O.Store(t1, sums + O.Count);
        O.Store(t2, sums + 2 * O.Count);
        O.Store(t3, sums + 3 * O.Count);
    }

    /// <summary>The sums of two vectors; <paramref name="factors"/> is room for those and minimums of some groups.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Two<W>(PackedWeight weight, int vector, int last, int* rounded, float* factors, float* sums) where W : struct, IIntegerType
    {
        const int most = IntegerProduct<O, V>.Groups;
        int turns = weight.InTurn(vector * O.Count / PackedWeight.Panel), width = 2 * O.Count;
        byte* w0 = IntegerProduct<O, V>.Start<W>(weight, vector), w1 = IntegerProduct<O, V>.Start<W>(weight, Math.Min(vector + 1, last));
        ushort* h0 = IntegerProduct<O, V>.Factor(weight, vector), h1 = IntegerProduct<O, V>.Factor(weight, Math.Min(vector + 1, last));
        long step = (long)turns * W.StepBytes, record = (long)turns * PackedWeight.Panel;
        V t0 = O.Zero, t1 = O.Zero;
        float* x = (float*)rounded;
        for (int first = 0; first < weight.Groups; first += most)
        {
            int groups = Math.Min(most, weight.Groups - first);
            float* f = factors;
            if (!W.IsPlain)
                IntegerProduct<O, V>.Factors<W>(weight, vector, 2, last, first, groups, f, width);
            for (int g = 0; g < groups; g++, f += width)
            {
                V a0 = O.Zero, a1 = O.Zero, b0 = W.Plane<O, V>(w0, step), b1 = W.Plane<O, V>(w1, step), v;
                for (int s = 0; s < W.Steps; s++, x += W.Words / W.Steps)
                {
                    IntegerProduct<O, V>.Prefetch<W>(w0);
                    IntegerProduct<O, V>.Prefetch<W>(w1);
                    V u0 = W.Unit<O, V>(w0), u1 = W.Unit<O, V>(w1);
                    v = O.Broadcast(x[0]);
                    a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, b0, 0), v);
                    a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, b1, 0), v);
                    v = O.Broadcast(x[1]);
                    a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, b0, 1), v);
                    a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, b1, 1), v);
                    if (W.Words > 8)
                    {
                        v = O.Broadcast(x[2]);
                        a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, b0, 2), v);
                        a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, b1, 2), v);
                        v = O.Broadcast(x[3]);
                        a0 = W.Multiply<O, V>(a0, W.Part<O, V>(w0, u0, b0, 3), v);
                        a1 = W.Multiply<O, V>(a1, W.Part<O, V>(w1, u1, b1, 3), v);
                    }
                    b0 = W.Next<O, V>(b0);
                    b1 = W.Next<O, V>(b1);
                    w0 += step;
                    w1 += step;
                }
                V d = O.Broadcast(*x), sum = W.HasMinimums ? O.Broadcast(x[3]) : O.Zero;
                t0 = IntegerProduct<O, V>.Add<W>(W.Total<O, V>(a0, (int*)x + 1), O.Multiply(W.IsPlain ? O.LoadFiniteF16(h0) : O.Load(f), d), W.HasMinimums ? O.Load(f + most * width) : O.Zero, sum, t0);
                t1 = IntegerProduct<O, V>.Add<W>(W.Total<O, V>(a1, (int*)x + 1), O.Multiply(W.IsPlain ? O.LoadFiniteF16(h1) : O.Load(f + O.Count), d), W.HasMinimums ? O.Load(f + most * width + O.Count) : O.Zero, sum, t1);
                h0 += record;
                h1 += record;
                if (W.GroupSteps > W.Steps)
                {
                    w0 += step;
                    w1 += step;
                }
                x += 4;
            }
        }
        O.Store(t0, sums);
        O.Store(t1, sums + O.Count);
    }
}
