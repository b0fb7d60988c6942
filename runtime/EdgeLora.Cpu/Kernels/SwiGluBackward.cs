using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary><c>dgate += dy·up·silu'(gate)</c>, <c>dup += dy·silu(gate)</c>: X the gate, Y the up projection.</summary>
internal static unsafe class SwiGluBackward<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>One part: a run of elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (long start, long end) = Elements.Range((long)op.Rows * op.Columns, part, parts);
        float* gate = op.X, up = op.Y, dy = op.Dy, dgate = op.Dx, dup = op.Dx2;
        long i = start;
        for (; i + O.Count <= end; i += O.Count)
        {
            (V g, V u) = One(O.Load(gate + i), O.Load(up + i), O.Load(dy + i), O.Load(dgate + i), O.Load(dup + i));
            O.Store(g, dgate + i);
            O.Store(u, dup + i);
        }
        if ((int)(end - i) is > 0 and int rest)
        {
            (V g, V u) = One(Partial<O, V>.Load(gate + i, rest), Partial<O, V>.Load(up + i, rest), Partial<O, V>.Load(dy + i, rest), Partial<O, V>.Load(dgate + i, rest), Partial<O, V>.Load(dup + i, rest));
            Partial<O, V>.Store(g, dgate + i, rest);
            Partial<O, V>.Store(u, dup + i, rest);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (V Gate, V Up) One(V gate, V up, V dy, V dgate, V dup)
    {
        V one = O.Broadcast(1f), e = Exponential<O, V>.Of(O.Subtract(O.Zero, gate)), sigmoid = O.Divide(one, O.Add(one, e)), scaled = O.Multiply(dy, sigmoid);
        // 1-σ as e·σ: the difference would cancel.
        V slope = O.Fma(gate, O.Multiply(sigmoid, e), one);
        return (O.Fma(O.Multiply(scaled, up), slope, dgate), O.Fma(scaled, gate, dup));
    }
}
