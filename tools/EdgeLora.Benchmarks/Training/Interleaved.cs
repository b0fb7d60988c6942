using System.Diagnostics;

namespace EdgeLora.Benchmarks;

/// <summary>What a contender took, round by round.</summary>
/// <param name="Seconds">Wall clock.</param>
/// <param name="CpuSeconds">Of all threads of the process.</param>
internal sealed record Rounds(double[] Seconds, double[] CpuSeconds)
{
    /// <summary>Median wall clock.</summary>
    public double Median => MedianOf(Seconds);

    /// <summary>Shortest wall clock.</summary>
    public double Fastest => Seconds.Min();

    /// <summary>Median time of the processors.</summary>
    public double Cpu => MedianOf(CpuSeconds);

    /// <summary>How many times as fast as <paramref name="other"/>: the median of each round's ratio, so that what slows a whole round counts for both.</summary>
    public double FasterThan(Rounds other) => MedianOf([.. other.Seconds.Zip(Seconds, (o, own) => o / own)]);

    private static double MedianOf(double[] values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}

/// <summary>Runs contenders in turns, A B A B …, in one process: on a machine that others use too, both then meet the same noise.</summary>
internal static class Interleaved
{
    private const int Warmup = 2;

    /// <summary>Times each contender once a round.</summary>
    /// <param name="seconds">How long to measure, about.</param>
    /// <param name="contenders">What to run.</param>
    public static Rounds[] Run(double seconds, params Action[] contenders)
    {
        List<(double Wall, double Cpu)>[] taken = [.. contenders.Select(_ => new List<(double, double)>())];
        for (int i = 0; i < Warmup; i++)
            foreach (Action contender in contenders)
                contender();
        long start = Stopwatch.GetTimestamp();
        // Who is first changes: a pause of the machine's does not always meet the same one.
        for (int round = 0; round < 5 || Stopwatch.GetElapsedTime(start).TotalSeconds < seconds; round++)
            for (int i = 0; i < contenders.Length; i++)
            {
                int which = (round + i) % contenders.Length;
                TimeSpan cpu = Environment.CpuUsage.TotalTime;
                long from = Stopwatch.GetTimestamp();
                contenders[which]();
                taken[which].Add((Stopwatch.GetElapsedTime(from).TotalSeconds, (Environment.CpuUsage.TotalTime - cpu).TotalSeconds));
            }
        return [.. taken.Select(t => new Rounds([.. t.Select(r => r.Wall)], [.. t.Select(r => r.Cpu)]))];
    }
}
