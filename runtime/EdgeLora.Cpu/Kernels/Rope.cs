using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>Rotates the first 2·n dimensions of every head of Y by the row's angles, or back: X the cosines, Z the sines.</summary>
internal static unsafe class Rope<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>One part: a run of rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        (int start, int end) = WorkerPool.Split(op.Rows, part, parts);
        int n = op.Pairs;
        for (int t = start; t < end; t++)
        {
            float* cos = op.X + (long)t * n, sin = op.Z + (long)t * n, row = op.Y + (long)t * op.Columns;
            for (int head = 0; head < op.Columns; head += op.Width)
            {
                if (op.PairLayout == RopePairs.Halves)
                    Halves(row + head, cos, sin, n, op.Sign);
                else
                    for (int i = 0; i < n; i++)
                        Rotate(ref row[head + 2 * i], ref row[head + 2 * i + 1], cos[i], op.Sign * sin[i]);
            }
        }
    }

    private static void Halves(float* head, float* cos, float* sin, int n, float sign)
    {
        int i = 0;
        V factor = O.Broadcast(sign);
        for (; i + O.Count <= n; i += O.Count)
        {
            V a = O.Load(head + i), b = O.Load(head + n + i), c = O.Load(cos + i), s = O.Multiply(factor, O.Load(sin + i));
            O.Store(O.Fma(a, c, O.Subtract(O.Zero, O.Multiply(b, s))), head + i);
            O.Store(O.Fma(a, s, O.Multiply(b, c)), head + n + i);
        }
        for (; i < n; i++)
            Rotate(ref head[i], ref head[n + i], cos[i], sign * sin[i]);
    }

    private static void Rotate(ref float first, ref float second, float c, float s)
    {
        float a = first, b = second;
        first = Lanes.MultiplyAdd(a, c, 0f - b * s);
        second = Lanes.MultiplyAdd(a, s, b * c);
    }
}
