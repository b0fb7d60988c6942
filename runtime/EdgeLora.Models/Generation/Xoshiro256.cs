using System.Numerics;

namespace EdgeLora.Models;

/// <summary>xoshiro256** 1.0 (Blackman and Vigna, https://prng.di.unimi.it), its state filled by SplitMix64 from one seed. Integer arithmetic only: the same numbers on every platform.</summary>
public sealed class Xoshiro256
{
    private ulong s0, s1, s2, s3;

    /// <summary>The sequence of <paramref name="seed"/>, from its start.</summary>
    public Xoshiro256(ulong seed) => Restart(seed);

    /// <summary>Starts the sequence of <paramref name="seed"/> over.</summary>
    public void Restart(ulong seed)
    {
        s0 = SplitMix(ref seed);
        s1 = SplitMix(ref seed);
        s2 = SplitMix(ref seed);
        s3 = SplitMix(ref seed);
    }

    /// <summary>The next 64 random bits.</summary>
    public ulong Next()
    {
        ulong result = BitOperations.RotateLeft(s1 * 5, 7) * 9;
        ulong t = s1 << 17;
        s2 ^= s0;
        s3 ^= s1;
        s1 ^= s2;
        s0 ^= s3;
        s2 ^= t;
        s3 = BitOperations.RotateLeft(s3, 45);
        return result;
    }

    /// <summary>Uniform in [0, 1) with 53 bits.</summary>
    public double NextDouble() => (Next() >> 11) * (1.0 / (1UL << 53));

    /// <summary>Uniform in [0, <paramref name="bound"/>), without bias: Lemire, arXiv:1805.10941.</summary>
    public int NextBelow(int bound)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bound);
        ulong threshold = (0UL - (ulong)bound) % (ulong)bound;
        while (true)
        {
            ulong high = Math.BigMul(Next(), (ulong)bound, out ulong low);
            if (low >= threshold)
                return (int)high;
        }
    }

    private static ulong SplitMix(ref ulong state)
    {
        ulong z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
