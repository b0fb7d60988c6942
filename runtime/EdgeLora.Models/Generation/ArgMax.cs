using System.Numerics;
using System.Runtime.InteropServices;

namespace EdgeLora.Models;

/// <summary>The lowest index of the largest value.</summary>
public static class ArgMax
{
    /// <summary>Lowest index of the largest value; -0 equals 0.</summary>
    /// <exception cref="InvalidOperationException">A value is not a number, or no value is above negative infinity.</exception>
    public static int Of<T>(ReadOnlySpan<T> values) where T : unmanaged, IFloatingPointIeee754<T>
    {
        T max = Max(values);
        if (T.IsNegativeInfinity(max))
            throw new InvalidOperationException($"no token is left to choose: all {values.Length} scores are -infinity");
        return IndexOf(values, max);
    }

    private static T Max<T>(ReadOnlySpan<T> values) where T : unmanaged, IFloatingPointIeee754<T>
    {
        T max = T.NegativeInfinity;
        bool numbers = true;
        int done = 0;
        if (Vector.IsHardwareAccelerated && values.Length >= Vector<T>.Count)
        {
            ReadOnlySpan<Vector<T>> blocks = MemoryMarshal.Cast<T, Vector<T>>(values);
            Vector<T> best = new(T.NegativeInfinity), same = Vector<T>.AllBitsSet;
            foreach (Vector<T> block in blocks)
            {
                // A comparison, not Vector.Max: what that does with NaN differs between runtimes.
                best = Vector.ConditionalSelect(Vector.GreaterThan(block, best), block, best);
                same &= Vector.Equals(block, block);
            }
            numbers = Vector.EqualsAll(same.As<T, byte>(), Vector<byte>.AllBitsSet);
            for (int i = 0; i < Vector<T>.Count; i++)
                max = best[i] > max ? best[i] : max;
            done = blocks.Length * Vector<T>.Count;
        }
        foreach (T value in values[done..])
        {
            max = value > max ? value : max;
            numbers &= !T.IsNaN(value);
        }
        if (!numbers)
            throw new InvalidOperationException($"score of token {FirstNaN(values)}: expected a number, found NaN");
        return max;
    }

    private static int IndexOf<T>(ReadOnlySpan<T> values, T wanted) where T : unmanaged, IFloatingPointIeee754<T>
    {
        int at = 0;
        if (Vector.IsHardwareAccelerated && values.Length >= Vector<T>.Count)
        {
            ReadOnlySpan<Vector<T>> blocks = MemoryMarshal.Cast<T, Vector<T>>(values);
            Vector<T> target = new(wanted);
            int b = 0;
            while (b < blocks.Length && !Vector.EqualsAny(blocks[b], target))
                b++;
            at = b * Vector<T>.Count;
        }
        while (values[at] != wanted)
            at++;
        return at;
    }

    private static int FirstNaN<T>(ReadOnlySpan<T> values) where T : unmanaged, IFloatingPointIeee754<T>
    {
        int at = 0;
        while (!T.IsNaN(values[at]))
            at++;
        return at;
    }
}
