using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>A function of one vector.</summary>
internal interface IVectorFunction<V> where V : unmanaged
{
    /// <summary>f(x), lane by lane.</summary>
    static abstract V Of(V x);
}

/// <summary><c>y = f(x)</c> over a run of elements.</summary>
internal static unsafe class Elementwise<O, V, F> where O : struct, ILanes<V> where V : unmanaged where F : struct, IVectorFunction<V>
{
    /// <summary>One part.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (long start, long end) = Elements.Range((long)op.Rows * op.Columns, part, parts);
        float* x = op.X, y = op.Y;
        long i = start;
        for (; i + O.Count <= end; i += O.Count)
            O.Store(F.Of(O.Load(x + i)), y + i);
        int rest = (int)(end - i);
        if (rest > 0)
            Partial<O, V>.Store(F.Of(Partial<O, V>.Load(x + i, rest)), y + i, rest);
    }
}

/// <summary>x·Φ(x).</summary>
internal readonly struct GeluExact<O, V> : IVectorFunction<V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x) => O.Multiply(x, NormalCdf<O, V>.Of(x));
}

/// <summary>Φ(x), the standard normal's distribution function.</summary>
internal static class NormalCdf<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    // erfc(z) = t·exp(-z² + P(t)), t = 1/(1 + z/2), to 1.2e-7 relative: the Chebyshev fit of Numerical Recipes, 6.2 (erfcc).
    private static ReadOnlySpan<float> Erfc =>
        [0.17087277f, -0.82215223f, 1.48851587f, -1.13520398f, 0.27886807f, -0.18628806f, 0.09678418f, 0.37409196f, 1.00002368f, -1.26551223f];

    /// <summary>To 1e-7 relative, in both tails.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x)
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
        return O.WhereNegative(x, upper, O.Subtract(one, upper));
    }
}

/// <summary>GELU by its tanh approximation.</summary>
internal readonly struct GeluByTanh<O, V> : IVectorFunction<V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x)
    {
        // (1 + tanh u)/2 = 1/(1 + e^-2u): no cancellation on either side.
        V cubic = O.Fma(O.Multiply(O.Multiply(x, x), O.Broadcast(0.044715f)), x, x);
        V e = Exponential<O, V>.Of(O.Multiply(cubic, O.Broadcast(-1.59576912f)));
        return O.Divide(x, O.Add(O.Broadcast(1f), e));
    }
}

/// <summary>max(0, x); NaN stays.</summary>
internal readonly struct Relu<O, V> : IVectorFunction<V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x) => O.Max(O.Zero, x);
}

/// <summary>x/(1 + e^-x).</summary>
internal readonly struct Silu<O, V> : IVectorFunction<V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x) => O.Divide(x, O.Add(O.Broadcast(1f), Exponential<O, V>.Of(O.Subtract(O.Zero, x))));
}

/// <summary>tanh(x).</summary>
internal readonly struct HyperbolicTangent<O, V> : IVectorFunction<V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x)
    {
        // Below 0.625 the difference of exponentials cancels: Cephes' tanhf polynomial there.
        V magnitude = O.WhereNegative(x, O.Subtract(O.Zero, x), x);
        V e = Exponential<O, V>.Of(O.Multiply(magnitude, O.Broadcast(-2f)));
        V far = O.Divide(O.Subtract(O.Broadcast(1f), e), O.Add(O.Broadcast(1f), e));
        V s = O.Multiply(x, x);
        V p = O.Broadcast(-5.70498872745e-3f);
        p = O.Fma(p, s, O.Broadcast(2.06390887954e-2f));
        p = O.Fma(p, s, O.Broadcast(-5.37397155531e-2f));
        p = O.Fma(p, s, O.Broadcast(1.33314422036e-1f));
        p = O.Fma(p, s, O.Broadcast(-3.33332819422e-1f));
        V near = O.Fma(O.Multiply(p, s), x, x);
        return O.WhereNegative(O.Subtract(magnitude, O.Broadcast(0.625f)), near, O.WhereNegative(x, O.Subtract(O.Zero, far), far));
    }
}
