using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary><c>dgate += dy·up·f'(gate)</c>, <c>dup += dy·f(gate)</c>: X the gate, Y the up projection; F is f, S its slope.</summary>
internal static unsafe class GatedActivationBackward<O, V, F, S> where O : struct, ILanes<V> where V : unmanaged where F : struct, IVectorFunction<V> where S : struct, IVectorFunction<V>
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
    private static (V Gate, V Up) One(V gate, V up, V dy, V dgate, V dup) => (O.Fma(O.Multiply(dy, up), S.Of(gate), dgate), O.Fma(dy, F.Of(gate), dup));
}
