using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace EdgeLora.Cpu;

/// <summary>The best few of a row, in order. Comparisons round nothing, so every tier has the same result and one kernel serves all.</summary>
internal static unsafe class TopK
{
    /// <summary>One part: every so-many-th row.</summary>
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        for (int t = part; t < op.Rows; t += parts)
            OfRow(new(op.X + (long)t * op.Columns, op.Columns), MemoryMarshal.Cast<float, Place>(new Span<float>(op.Y + (long)t * op.Width, 2 * (int)op.Count)));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OfRow(ReadOnlySpan<float> x, Span<Place> best)
    {
        int at = 0;
        for (; at < best.Length; at++)
            Insert(best[..(at + 1)], new(x[at], at));
        if (Vector.IsHardwareAccelerated)
            for (; at + Vector<float>.Count <= x.Length; at += Vector<float>.Count)
                // Almost never is one of a block better than the last of the best. A NaN is not less or equal either.
                if (!Vector.LessThanOrEqualAll(new Vector<float>(x.Slice(at)), new Vector<float>(best[^1].Value)))
                    for (int i = at; i < at + Vector<float>.Count; i++)
                        Take(best, x[i], i);
        for (; at < x.Length; at++)
            Take(best, x[at], at);
    }

    private static void Take(Span<Place> best, float value, int column)
    {
        if (Before(value, best[^1].Value))
            Insert(best, new(value, column));
    }

    // Columns come in ascending order, so an equal one goes behind.
    private static void Insert(Span<Place> best, Place place)
    {
        int at = best.Length - 1;
        for (; at > 0 && Before(place.Value, best[at - 1].Value); at--)
            best[at] = best[at - 1];
        best[at] = place;
    }

    private static bool Before(float a, float b) => a > b || (float.IsNaN(a) && !float.IsNaN(b));

    // As it lies in the destination: a value and its column, both F32.
    private readonly struct Place(float value, float column)
    {
        public readonly float Value = value;
        public readonly float Column = column;
    }
}
