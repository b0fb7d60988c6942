using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary><c>z = f(x)·y</c>: x the gate, y the up projection.</summary>
internal static unsafe class GatedActivation<O, V, F> where O : struct, ILanes<V> where V : unmanaged where F : struct, IVectorFunction<V>
{
    /// <summary>One part: a run of elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (long start, long end) = Elements.Range((long)op.Rows * op.Columns, part, parts);
        float* x = op.X, y = op.Y, z = op.Z;
        long i = start;
        for (; i + O.Count <= end; i += O.Count)
            O.Store(One(O.Load(x + i), O.Load(y + i)), z + i);
        int rest = (int)(end - i);
        if (rest > 0)
            Partial<O, V>.Store(One(Partial<O, V>.Load(x + i, rest), Partial<O, V>.Load(y + i, rest)), z + i, rest);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V One(V gate, V up) => O.Multiply(F.Of(gate), up);
}

/// <summary>How element-wise ops are divided.</summary>
internal static class Elements
{
    /// <summary>The part of <paramref name="count"/> elements in whole cache lines, but for the last.</summary>
    public static (long Start, long End) Range(long count, int part, int parts)
    {
        long lines = (count + 15) / 16;
        return (lines * part / parts * 16, Math.Min(count, lines * (part + 1) / parts * 16));
    }
}
