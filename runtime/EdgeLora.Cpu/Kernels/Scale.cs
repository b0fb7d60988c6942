using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary><c>y = factor·x</c>.</summary>
internal static unsafe class Scale<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>One part: a run of elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (long start, long end) = Elements.Range((long)op.Rows * op.Columns, part, parts);
        float* x = op.X, y = op.Y;
        V factor = O.Broadcast(op.Factor);
        long i = start;
        for (; i + O.Count <= end; i += O.Count)
            O.Store(O.Multiply(O.Load(x + i), factor), y + i);
        for (; i < end; i++)
            y[i] = x[i] * op.Factor;
    }
}
