using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary><c>z = x + y</c>.</summary>
internal static unsafe class Add<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>One part: a run of elements.</summary>
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (long start, long end) = Elements.Range((long)op.Rows * op.Columns, part, parts);
        Of(op.X + start, op.Y + start, op.Z + start, end - start);
    }

    /// <summary><paramref name="count"/> elements; z may be x or y.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Of(float* x, float* y, float* z, long count)
    {
        long i = 0;
        for (; i + O.Count <= count; i += O.Count)
            O.Store(O.Add(O.Load(x + i), O.Load(y + i)), z + i);
        for (; i < count; i++)
            z[i] = x[i] + y[i];
    }
}
