using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary><c>z = x + y</c>.</summary>
internal static unsafe class Add<O, V> where O : struct, ILanes<V> where V : unmanaged
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
            O.Store(O.Add(O.Load(x + i), O.Load(y + i)), z + i);
        for (; i < end; i++)
            z[i] = x[i] + y[i];
    }
}
