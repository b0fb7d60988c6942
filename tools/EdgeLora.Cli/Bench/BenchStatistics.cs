using EdgeLora.Models;

namespace EdgeLora.Cli.Bench;

/// <summary>A ratio with its interval.</summary>
/// <param name="Value">The estimate.</param>
/// <param name="Low">Lower end, 95 %.</param>
/// <param name="High">Upper end.</param>
internal readonly record struct RatioInterval(double Value, double Low, double High);

/// <summary>What samples say.</summary>
internal static class BenchStatistics
{
    private const int Resamples = 5000;

    /// <summary>Half the distance between the quartiles, as a part of the median. 0 for fewer than two samples.</summary>
    public static double Spread(double[] samples)
    {
        if (samples.Length < 2)
            return 0;
        (double lower, double upper) = Quartiles(samples);
        return (upper - lower) / 2 / Math.Abs(Rounds.MedianOf(samples));
    }

    /// <summary>The quartiles, interpolated. At least one sample.</summary>
    public static (double Lower, double Upper) Quartiles(double[] samples)
    {
        double[] sorted = [.. samples.Order()];
        return (Quantile(sorted, 0.25), Quantile(sorted, 0.75));
    }

    /// <summary>How many times as large the median of <paramref name="b"/> is as that of <paramref name="a"/>: both are drawn again from themselves, with replacement; the interval holds the middle 95 % of the ratios. The same samples give the same interval.</summary>
    public static RatioInterval MedianRatio(double[] a, double[] b)
    {
        if (a.Length == 0 || b.Length == 0)
            throw new ArgumentException("a ratio needs samples of both");
        Xoshiro256 random = new(1);
        double[] drawnA = new double[a.Length], drawnB = new double[b.Length], ratios = new double[Resamples];
        for (int i = 0; i < Resamples; i++)
        {
            Draw(a, drawnA, random);
            Draw(b, drawnB, random);
            ratios[i] = Rounds.MedianOf(drawnB) / Rounds.MedianOf(drawnA);
        }
        Array.Sort(ratios);
        return new(Rounds.MedianOf(b) / Rounds.MedianOf(a), Quantile(ratios, 0.025), Quantile(ratios, 0.975));
    }

    private static void Draw(double[] from, double[] to, Xoshiro256 random)
    {
        for (int i = 0; i < to.Length; i++)
            to[i] = from[random.NextBelow(from.Length)];
    }

    // Between two values: on the line from one to the other.
    private static double Quantile(double[] sorted, double part)
    {
        double at = part * (sorted.Length - 1);
        int below = (int)at;
        return below + 1 < sorted.Length ? sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]) : sorted[below];
    }
}
