using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary><c>dx += dy·f'(x)</c> over a run of elements; F is f'.</summary>
internal static unsafe class ElementwiseBackward<O, V, F> where O : struct, ILanes<V> where V : unmanaged where F : struct, IVectorFunction<V>
{
    /// <summary>One part.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (long start, long end) = Elements.Range((long)op.Rows * op.Columns, part, parts);
        float* x = op.X, dy = op.Dy, dx = op.Dx;
        long i = start;
        for (; i + O.Count <= end; i += O.Count)
            O.Store(O.Fma(O.Load(dy + i), F.Of(O.Load(x + i)), O.Load(dx + i)), dx + i);
        if ((int)(end - i) is > 0 and int rest)
            Partial<O, V>.Store(O.Fma(Partial<O, V>.Load(dy + i, rest), F.Of(Partial<O, V>.Load(x + i, rest)), Partial<O, V>.Load(dx + i, rest)), dx + i, rest);
    }
}

/// <summary>Φ(x) + x·φ(x).</summary>
internal readonly struct GeluExactSlope<O, V> : IVectorFunction<V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x)
    {
        V density = O.Multiply(Exponential<O, V>.Of(O.Multiply(O.Multiply(x, O.Broadcast(-0.5f)), x)), O.Broadcast(0.398942280f));
        return O.Fma(x, density, NormalCdf<O, V>.Of(x));
    }
}

/// <summary>With 2u the tanh's doubled argument and σ = 1/(1 + e^-2u): σ + x·σ·(1-σ)·2u'.</summary>
internal readonly struct GeluByTanhSlope<O, V> : IVectorFunction<V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x)
    {
        V one = O.Broadcast(1f), square = O.Multiply(x, x);
        V cubic = O.Fma(O.Multiply(square, O.Broadcast(0.044715f)), x, x);
        V e = Exponential<O, V>.Of(O.Multiply(cubic, O.Broadcast(-1.59576912f)));
        V sigmoid = O.Divide(one, O.Add(one, e));
        // 1-σ as e·σ: the difference would cancel.
        V slope = O.Fma(square, O.Broadcast(3 * 0.044715f * 1.59576912f), O.Broadcast(1.59576912f));
        return O.Fma(O.Multiply(O.Multiply(x, slope), O.Multiply(sigmoid, e)), sigmoid, sigmoid);
    }
}

/// <summary>1 above 0, else 0; NaN stays.</summary>
internal readonly struct ReluSlope<O, V> : IVectorFunction<V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x)
    {
        // A finite difference with itself is 0, a NaN's is NaN.
        V near = O.Min(O.Broadcast(1f), O.Max(O.Zero, x));
        return O.Add(O.WhereNegative(O.Subtract(O.Zero, x), O.Broadcast(1f), O.Zero), O.Subtract(near, near));
    }
}

/// <summary>With σ = 1/(1 + e^-x): σ·(1 + x·(1-σ)).</summary>
internal readonly struct SiluSlope<O, V> : IVectorFunction<V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x)
    {
        V one = O.Broadcast(1f), e = Exponential<O, V>.Of(O.Subtract(O.Zero, x)), sigmoid = O.Divide(one, O.Add(one, e));
        return O.Multiply(sigmoid, O.Fma(x, O.Multiply(sigmoid, e), one));
    }
}

/// <summary>1 - tanh² as 4e/(1+e)², e = e^-2|x|.</summary>
internal readonly struct HyperbolicTangentSlope<O, V> : IVectorFunction<V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x)
    {
        V magnitude = O.WhereNegative(x, O.Subtract(O.Zero, x), x);
        V e = Exponential<O, V>.Of(O.Multiply(magnitude, O.Broadcast(-2f))), sum = O.Add(O.Broadcast(1f), e);
        return O.Divide(O.Multiply(e, O.Broadcast(4f)), O.Multiply(sum, sum));
    }
}
