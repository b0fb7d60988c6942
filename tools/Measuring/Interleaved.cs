using System.Diagnostics;

namespace EdgeLora.Measuring;

/// <summary>What a contender took, round by round.</summary>
/// <param name="Seconds">Wall clock; NaN for a run that said so.</param>
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

    /// <summary>The middle value, or the mean of the two in the middle. NaN for none.</summary>
    public static double MedianOf(double[] values)
    {
        if (values.Length == 0)
            return double.NaN;
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}

/// <summary>Runs contenders in turns, A B A B …, in one process: on a machine that others use too, both then meet the same noise.</summary>
internal static class Interleaved
{
    /// <summary>Times each contender once a round.</summary>
    /// <param name="seconds">How long to measure, about.</param>
    /// <param name="contenders">What to run.</param>
    public static Rounds[] Run(double seconds, params Action[] contenders) => Run(seconds, warmup: 2, atLeast: 5, double.PositiveInfinity, Array.ConvertAll(contenders, c => (Func<double>)(() =>
    {
        long from = Stopwatch.GetTimestamp();
        c();
        return Stopwatch.GetElapsedTime(from).TotalSeconds;
    })), () => { });

    /// <summary>Runs each contender once a round; each says itself how long what counts of it took.</summary>
    /// <param name="seconds">No round begins that would end later, going by the rounds before it.</param>
    /// <param name="warmup">Rounds that do not count, before the clock starts.</param>
    /// <param name="atLeast">Rounds that are run also when they take longer.</param>
    /// <param name="limit">Seconds after which no round begins but the first, however few there were.</param>
    /// <param name="contenders">What to run; each returns seconds.</param>
    /// <param name="taken">Called after every run.</param>
    public static Rounds[] Run(double seconds, int warmup, int atLeast, double limit, IReadOnlyList<Func<double>> contenders, Action taken)
    {
        List<(double Wall, double Cpu)>[] all = [.. contenders.Select(_ => new List<(double, double)>())];
        for (int i = 0; i < warmup; i++)
            foreach (Func<double> contender in contenders)
            {
                contender();
                taken();
            }
        long start = Stopwatch.GetTimestamp();
        double elapsed = 0;
        // Who is first changes: a pause of the machine's does not always meet the same one.
        for (int round = 0; round == 0 || elapsed * (round + 1) / round <= (round < atLeast ? limit : seconds); round++)
        {
            for (int i = 0; i < contenders.Count; i++)
            {
                int which = (round + i) % contenders.Count;
                TimeSpan cpu = Environment.CpuUsage.TotalTime;
                double wall = contenders[which]();
                all[which].Add((wall, (Environment.CpuUsage.TotalTime - cpu).TotalSeconds));
                taken();
            }
            elapsed = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
        return [.. all.Select(t => new Rounds([.. t.Select(r => r.Wall)], [.. t.Select(r => r.Cpu)]))];
    }
}
