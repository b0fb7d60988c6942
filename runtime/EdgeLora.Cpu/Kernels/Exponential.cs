using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>Vector e^x.</summary>
internal static class Exponential<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>
    /// e^x to about 1e-7 relative in [-87.3, 88.3]; clamped outside, NaN stays NaN. x = n·ln 2 + r, Cephes' expf polynomial in r, times 2^n.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(V x)
    {
        x = O.Max(O.Broadcast(-87.3f), O.Min(O.Broadcast(88.3f), x));
        // Adding 1.5·2^23 rounds to an integer and leaves it in the low bits.
        V shift = O.Broadcast(12582912f);
        V shifted = O.Add(O.Multiply(x, O.Broadcast(1.44269504f)), shift);
        V n = O.Subtract(shifted, shift);
        V r = O.Fma(n, O.Broadcast(-0.693359375f), x);
        r = O.Fma(n, O.Broadcast(2.12194440e-4f), r);
        V p = O.Broadcast(1.9875691500e-4f);
        p = O.Fma(p, r, O.Broadcast(1.3981999507e-3f));
        p = O.Fma(p, r, O.Broadcast(8.3334519073e-3f));
        p = O.Fma(p, r, O.Broadcast(4.1665795894e-2f));
        p = O.Fma(p, r, O.Broadcast(1.6666665459e-1f));
        p = O.Fma(p, r, O.Broadcast(5.0000001201e-1f));
        p = O.Add(O.Fma(p, O.Multiply(r, r), r), O.Broadcast(1f));
        return O.Multiply(p, O.PowerOfTwo(shifted));
    }
}
