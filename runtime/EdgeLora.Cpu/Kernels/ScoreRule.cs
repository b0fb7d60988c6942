using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>What becomes of a row of products q·k before the softmax where an architecture has biases by position or a soft cap.</summary>
internal static unsafe class ScoreRule<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>
    /// Adds the head's biases and caps. What is left to multiply by is returned: the shape's factor, or 1 where a cap took it. Elements stand for themselves: the same bits wherever a row begins.
    /// </summary>
    /// <param name="shape">The rule.</param>
    /// <param name="head">Query head.</param>
    /// <param name="first">Position of the first product.</param>
    /// <param name="p">Products, [count].</param>
    /// <param name="count">Positions.</param>
    /// <param name="slopes">Takes 1 - (s/c)² of the capped scores s, [count]; null: nobody asks.</param>
    public static float Apply(in AttentionShape shape, int head, int first, float* p, int count, float* slopes = null)
    {
        if (shape.Slopes is { } alibi)
        {
            float slope = Pointer.In(alibi)[head];
            for (int j = 0; j < count; j++)
                p[j] += Alibi.Bias(slope, first + j);
        }
        if (shape.Cap <= 0)
            return shape.Scale;
        Cap(p, count, shape.Scale / shape.Cap, shape.Cap, slopes);
        return 1;
    }

    /// <summary>x ∘ y into x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Multiply(float* x, float* y, int count)
    {
        int j = 0;
        for (; j + O.Count <= count; j += O.Count)
            O.Store(O.Multiply(O.Load(x + j), O.Load(y + j)), x + j);
        for (; j < count; j++)
            x[j] *= y[j];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Cap(float* p, int count, float factor, float cap, float* slopes)
    {
        V f = O.Broadcast(factor), c = O.Broadcast(cap);
        for (int j = 0; j < count; j += O.Count)
        {
            int rest = Math.Min(O.Count, count - j);
            V u = O.Multiply(rest == O.Count ? O.Load(p + j) : Partial<O, V>.Load(p + j, rest), f), t = HyperbolicTangent<O, V>.Of(u), s = O.Multiply(t, c);
            if (rest == O.Count)
                O.Store(s, p + j);
            else
                Partial<O, V>.Store(s, p + j, rest);
            if (slopes is null)
                continue;
            V slope = HyperbolicTangentSlope<O, V>.Of(u);
            if (rest == O.Count)
                O.Store(slope, slopes + j);
            else
                Partial<O, V>.Store(slope, slopes + j, rest);
        }
    }
}
