using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>Softmax cross-entropy of each row of Y with its label, the gradient in place; X the scales, Z the losses.</summary>
internal static unsafe class CrossEntropy<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int Block = 256;

    /// <summary>One part: a run of rows.</summary>
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (int start, int end) = WorkerPool.Split(op.Rows, part, parts);
        for (int t = start; t < end; t++)
        {
            float* row = op.Y + (long)t * op.Columns;
            if (op.Labels[t] >= 0)
            {
                op.Z[t] = Row(row, op.Columns, op.Labels[t], op.X[t]);
                continue;
            }
            new Span<float>(row, op.Columns).Clear();
            op.Z[t] = 0;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Row(float* z, int count, int label, float scale)
    {
        float max = Max(z, count), score = z[label];
        V shift = O.Broadcast(max);
        // The exponential ends at e^-87.3 and not at 0: what it gives there is taken off. No other sum notices.
        V least = Exponential<O, V>.Of(O.Broadcast(float.NegativeInfinity));
        // The label's own term is kept apart: what is left of 1 is then exact where the model is sure.
        z[label] = float.NegativeInfinity;
        double others = 0;
        for (int b = 0; b < count; b += Block)
        {
            V sum = O.Zero;
            int i = b, end = Math.Min(count, b + Block);
            for (; i + O.Count <= end; i += O.Count)
            {
                V e = O.Subtract(Exponential<O, V>.Of(O.Subtract(O.Load(z + i), shift)), least);
                O.Store(e, z + i);
                sum = O.Add(sum, e);
            }
            others += O.Sum(sum);
            if (end - i is > 0 and int rest)
            {
                V e = O.Subtract(Exponential<O, V>.Of(O.Subtract(Partial<O, V>.Load(z + i, rest), shift)), least);
                Partial<O, V>.Store(e, z + i, rest);
                for (; i < end; i++)
                    others += z[i];
            }
        }
        double own = Math.Exp((double)score - max), sum1 = others + own;
        float factor = (float)(scale / sum1);
        V f = O.Broadcast(factor);
        int j = 0;
        for (; j + O.Count <= count; j += O.Count)
            O.Store(O.Multiply(O.Load(z + j), f), z + j);
        for (; j < count; j++)
            z[j] *= factor;
        z[label] = (float)(-scale * others / sum1);
        return (float)(own > 0.5 ? LogOnePlus(others / own) : Math.Log(sum1) - ((double)score - max));
    }

    // log(1 + x) without the digits that 1 + x drops: Goldberg 1991, theorem 4.
    private static double LogOnePlus(double x)
    {
        double sum = 1 + x;
        return sum == 1 ? x : Math.Log(sum) * x / (sum - 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Max(float* z, int count)
    {
        float max = float.NegativeInfinity;
        int i = 0;
        if (count >= 4 * O.Count)
        {
            V a = O.Load(z), b = O.Load(z + O.Count), c = O.Load(z + 2 * O.Count), d = O.Load(z + 3 * O.Count);
            for (i = 4 * O.Count; i + 4 * O.Count <= count; i += 4 * O.Count)
            {
                a = O.Max(a, O.Load(z + i));
                b = O.Max(b, O.Load(z + i + O.Count));
                c = O.Max(c, O.Load(z + i + 2 * O.Count));
                d = O.Max(d, O.Load(z + i + 3 * O.Count));
            }
            V all = O.Max(O.Max(a, b), O.Max(c, d));
            for (int lane = 0; lane < O.Count; lane++)
                max = MathF.Max(max, ((float*)&all)[lane]);
        }
        for (; i < count; i++)
            max = MathF.Max(max, z[i]);
        return max;
    }
}
