using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary><c>y = gelu(x)</c>, exact and by tanh.</summary>
internal static unsafe class Gelu<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    // erfc(z) = t·exp(-z² + P(t)), t = 1/(1 + z/2), to 1.2e-7 relative: the Chebyshev fit of Numerical Recipes, 6.2 (erfcc).
    private static ReadOnlySpan<float> Erfc =>
        [0.17087277f, -0.82215223f, 1.48851587f, -1.13520398f, 0.27886807f, -0.18628806f, 0.09678418f, 0.37409196f, 1.00002368f, -1.26551223f];

    /// <summary>One part, x·Φ(x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Exact(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (long start, long end) = Elements.Range((long)op.Rows * op.Columns, part, parts);
        float* x = op.X, y = op.Y;
        long i = start;
        for (; i + O.Count <= end; i += O.Count)
            O.Store(ExactOf(O.Load(x + i)), y + i);
        int rest = (int)(end - i);
        if (rest > 0)
            Partial<O, V>.Store(ExactOf(Partial<O, V>.Load(x + i, rest)), y + i, rest);
    }

    /// <summary>One part, the tanh approximation.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Tanh(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (long start, long end) = Elements.Range((long)op.Rows * op.Columns, part, parts);
        float* x = op.X, y = op.Y;
        long i = start;
        for (; i + O.Count <= end; i += O.Count)
            O.Store(TanhOf(O.Load(x + i)), y + i);
        int rest = (int)(end - i);
        if (rest > 0)
            Partial<O, V>.Store(TanhOf(Partial<O, V>.Load(x + i, rest)), y + i, rest);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V ExactOf(V x)
    {
        V one = O.Broadcast(1f);
        V magnitude = O.WhereNegative(x, O.Subtract(O.Zero, x), x);
        V z = O.Multiply(magnitude, O.Broadcast(0.70710678f));
        V t = O.Divide(one, O.Fma(z, O.Broadcast(0.5f), one));
        ReadOnlySpan<float> c = Erfc;
        V p = O.Broadcast(c[0]);
        for (int i = 1; i < 10; i++)
            p = O.Fma(p, t, O.Broadcast(c[i]));
        // x²/2 and not z², whose rounding the exponential would magnify.
        V power = O.Fma(O.Multiply(magnitude, O.Broadcast(-0.5f)), magnitude, p);
        V upper = O.Multiply(O.Multiply(t, O.Broadcast(0.5f)), Exponential<O, V>.Of(power));
        return O.Multiply(x, O.WhereNegative(x, upper, O.Subtract(one, upper)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V TanhOf(V x)
    {
        // (1 + tanh u)/2 = 1/(1 + e^-2u): no cancellation on either side.
        V cubic = O.Fma(O.Multiply(O.Multiply(x, x), O.Broadcast(0.044715f)), x, x);
        V e = Exponential<O, V>.Of(O.Multiply(cubic, O.Broadcast(-1.59576912f)));
        return O.Divide(x, O.Add(O.Broadcast(1f), e));
    }
}
