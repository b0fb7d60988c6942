using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
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
        int i = Vectors<O, V>(head, cos, sin, 0, n, sign);
        // Half a head is rarely whole wide vectors.
        if (typeof(O) != typeof(LanesScalar))
            i = Vectors<Lanes128, Vector128<float>>(head, cos, sin, i, n, sign);
        for (; i < n; i++)
            Rotate(ref head[i], ref head[n + i], cos[i], sign * sin[i]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Vectors<P, Q>(float* head, float* cos, float* sin, int i, int n, float sign) where P : struct, ILanes<Q> where Q : unmanaged
    {
        Q factor = P.Broadcast(sign);
        for (; i + P.Count <= n; i += P.Count)
        {
            Q a = P.Load(head + i), b = P.Load(head + n + i), c = P.Load(cos + i), s = P.Multiply(factor, P.Load(sin + i));
            P.Store(P.Fma(a, c, P.Subtract(P.Zero, P.Multiply(b, s))), head + i);
            P.Store(P.Fma(a, s, P.Multiply(b, c)), head + n + i);
        }
        return i;
    }

    private static void Rotate(ref float first, ref float second, float c, float s)
    {
        float a = first, b = second;
        first = Lanes.MultiplyAdd(a, c, 0f - b * s);
        second = Lanes.MultiplyAdd(a, s, b * c);
    }
}
