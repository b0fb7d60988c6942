using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>An optimizer step in the factors that the kernels multiply by.</summary>
/// <param name="Gradient">Factor on the gradient.</param>
/// <param name="Decay">AdamW: -lr·wd. SGD: wd.</param>
/// <param name="Keep1">β₁.</param>
/// <param name="Keep2">β₂.</param>
/// <param name="Take1">1-β₁.</param>
/// <param name="Take2">1-β₂.</param>
/// <param name="Rate">AdamW: -lr/(1-β₁ⁿ). SGD: -lr.</param>
/// <param name="Root">1/√(1-β₂ⁿ).</param>
/// <param name="Epsilon">eps.</param>
internal readonly record struct StepFactors(float Gradient, float Decay, float Keep1, float Keep2, float Take1, float Take2, float Rate, float Root, float Epsilon);

/// <summary>Steps of the optimizers over a run of elements: X the gradient, Y the parameter, Dx and Dx2 AdamW's m and v.</summary>
internal static unsafe class Optimizers<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>One part of an AdamW step.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AdamW(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (long start, long end) = Elements.Range(op.Count, part, parts);
        for (long i = start; i < end; i += O.Count)
        {
            int rest = (int)Math.Min(O.Count, end - i);
            bool whole = rest == O.Count;
            V g = whole ? O.Load(op.X + i) : Partial<O, V>.Load(op.X + i, rest), p = whole ? O.Load(op.Y + i) : Partial<O, V>.Load(op.Y + i, rest);
            V m = whole ? O.Load(op.Dx + i) : Partial<O, V>.Load(op.Dx + i, rest), v = whole ? O.Load(op.Dx2 + i) : Partial<O, V>.Load(op.Dx2 + i, rest);
            g = O.Multiply(g, O.Broadcast(op.Factors.Gradient));
            p = O.Fma(p, O.Broadcast(op.Factors.Decay), p);
            m = O.Fma(g, O.Broadcast(op.Factors.Take1), O.Multiply(m, O.Broadcast(op.Factors.Keep1)));
            v = O.Fma(O.Multiply(g, g), O.Broadcast(op.Factors.Take2), O.Multiply(v, O.Broadcast(op.Factors.Keep2)));
            V root = O.Fma(O.Sqrt(v), O.Broadcast(op.Factors.Root), O.Broadcast(op.Factors.Epsilon));
            p = O.Fma(O.Broadcast(op.Factors.Rate), O.Divide(m, root), p);
            if (whole)
            {
                O.Store(p, op.Y + i);
                O.Store(m, op.Dx + i);
                O.Store(v, op.Dx2 + i);
                continue;
            }
            Partial<O, V>.Store(p, op.Y + i, rest);
            Partial<O, V>.Store(m, op.Dx + i, rest);
            Partial<O, V>.Store(v, op.Dx2 + i, rest);
        }
    }

    /// <summary>One part of an SGD step.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Sgd(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (long start, long end) = Elements.Range(op.Count, part, parts);
        StepFactors f = op.Factors;
        long i = start;
        for (; i + O.Count <= end; i += O.Count)
        {
            V p = O.Load(op.Y + i), g = O.Fma(p, O.Broadcast(f.Decay), O.Multiply(O.Load(op.X + i), O.Broadcast(f.Gradient)));
            O.Store(O.Fma(g, O.Broadcast(f.Rate), p), op.Y + i);
        }
        for (; i < end; i++)
            op.Y[i] = Lanes.MultiplyAdd(Lanes.MultiplyAdd(op.Y[i], f.Decay, op.X[i] * f.Gradient), f.Rate, op.Y[i]);
    }
}

/// <summary>Σ x² in F64, block by block.</summary>
internal static unsafe class SumOfSquares
{
    /// <summary>Elements of one block.</summary>
    public const int Block = 4096;

    /// <summary>One part: a run of blocks of X, each into its own sum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (int start, int end) = WorkerPool.Split((int)((op.Count + Block - 1) / Block), part, parts);
        for (int b = start; b < end; b++)
        {
            float* x = op.X + (long)b * Block;
            int count = (int)Math.Min(Block, op.Count - (long)b * Block), i = 0;
            double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
            for (; i + 4 <= count; i += 4)
            {
                s0 += (double)x[i] * x[i];
                s1 += (double)x[i + 1] * x[i + 1];
                s2 += (double)x[i + 2] * x[i + 2];
                s3 += (double)x[i + 3] * x[i + 3];
            }
            for (; i < count; i++)
                s0 += (double)x[i] * x[i];
            op.Sums[b] = s0 + s1 + (s2 + s3);
        }
    }
}
