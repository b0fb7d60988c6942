using System.Numerics;

namespace EdgeLora.Core;

/// <summary>
/// Dropout of an adapter's inputs: element (row, column) is dropped with probability p, what stays is multiplied by 1/(1-p). Which ones is a function of seed, row and
/// column alone, so that a backward pass finds the same mask without storing it. A row counts within its path's run of rows. arXiv:1207.0580.
/// </summary>
public sealed class Dropout(double probability)
{
    private const ulong Step = 0x9E3779B97F4A7C15;

    private readonly ulong _threshold = (ulong)(probability * (1UL << 32));

    /// <summary>p, from 0 to below 1.</summary>
    public double Probability { get; } = probability is >= 0 and < 1 ? probability : throw new ArgumentOutOfRangeException(nameof(probability), probability, "expected 0 to below 1");

    /// <summary>An element stays where the upper half of its 64 bits is at least this.</summary>
    public uint Threshold => (uint)_threshold;

    /// <summary>What an element that stays is multiplied by: 1/(1-p).</summary>
    public float Gain => (float)(1 / (1 - Probability));

    /// <summary>Set anew for each micro-batch, kept through its backward pass.</summary>
    public ulong Seed { get; set; }

    /// <summary>0, or 1/(1-p).</summary>
    public float Factor(int row, int column) => Kept(Seed + ((ulong)(uint)row << 32 | (uint)column) * Step) ? Gain : 0;

    /// <summary><c>y[i] = x[i]·Factor(row, i)</c>. y may be x.</summary>
    public void Apply(int row, ReadOnlySpan<float> x, Span<float> y)
    {
        int i = 0, half = Vector<ulong>.Count;
        ulong element = Seed + ((ulong)(uint)row << 32) * Step;
        Vector<float> factor = new(Gain);
        Vector<uint> threshold = new(Threshold);
        Vector<ulong> first = new Vector<ulong>(element) + Vector<ulong>.Indices * Step;
        for (; i + 2 * half <= x.Length; i += 2 * half, first += new Vector<ulong>(Step * (ulong)(2 * half)))
        {
            Vector<uint> bits = Vector.Narrow(Mixed(first) >>> 32, Mixed(first + new Vector<ulong>(Step * (ulong)half)) >>> 32);
            Vector<float> kept = Vector.ConditionalSelect(Vector.AsVectorSingle(Vector.GreaterThanOrEqual(bits, threshold)), factor, Vector<float>.Zero);
            (new Vector<float>(x[i..]) * kept).CopyTo(y[i..]);
        }
        for (; i < x.Length; i++)
            y[i] = x[i] * Factor(row, i);
    }

    private static Vector<ulong> Mixed(Vector<ulong> z)
    {
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EB;
        return z ^ (z >>> 31);
    }

    // SplitMix64's finaliser over the element's number.
    private bool Kept(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return ((z ^ (z >> 31)) >> 32) >= _threshold;
    }
}
