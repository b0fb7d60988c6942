using System.Diagnostics;
using System.Globalization;
using EdgeLora.Core;

namespace EdgeLora.Cli.Bench;

/// <summary>Runs every case once a round, in turns. A case that fails is reported, and the others go on.</summary>
internal static class CaseRounds
{
    /// <summary>How the error of a case begins that a time limit left out: nothing is wrong with it.</summary>
    public const string NotMeasured = "not measured";

    /// <summary>Finds each case's repetitions, which warms up, and takes samples.</summary>
    /// <param name="cases">What is run; one result each, in order.</param>
    /// <param name="settings">How often.</param>
    /// <param name="progress">Told after each run: runs done, runs in all as far as it is known.</param>
    /// <param name="cancellation">Stops between two runs.</param>
    public static CaseResult[] Run(IReadOnlyList<BenchCase> cases, BenchSettings settings, Action<int, int> progress, CancellationToken cancellation)
    {
        int[] repetitions = new int[cases.Count];
        double[] first = new double[cases.Count];
        string?[] errors = new string?[cases.Count];
        int done = 0, most = cases.Count * (1 + settings.Warmup + settings.Rounds);
        double Try(int i, Func<BenchCase, double> run)
        {
            cancellation.ThrowIfCancellationRequested();
            if (errors[i] is not null)
                return double.NaN;
            try
            {
                return run(cases[i]);
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                errors[i] = Describe(e);
                return double.NaN;
            }
        }
        void Taken() => progress(++done, Math.Max(done, most));
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < cases.Count; i++)
        {
            if (Stopwatch.GetElapsedTime(start).TotalSeconds > settings.LimitSeconds)
                errors[i] = string.Create(CultureInfo.InvariantCulture, $"{NotMeasured}: {settings.LimitSeconds} seconds were over");
            Try(i, c => ((repetitions[i], first[i]) = c.Calibrate(settings.SampleSeconds)).Item2);
            Taken();
        }
        double spent = Stopwatch.GetElapsedTime(start).TotalSeconds, left = settings.LimitSeconds - spent;
        // No time for a round: the warm-up is all there is, and counts.
        Rounds[] rounds = spent > left ? [.. first.Select(f => new Rounds([f], []))] : Interleaved.Run(settings.Seconds, settings.Warmup, settings.Rounds, left, [.. Enumerable.Range(0, cases.Count).Select(i => (Func<double>)(() => Try(i, c => c.Run(repetitions[i]))))], Taken);
        return [.. cases.Select((c, i) => errors[i] is { } error
            ? new CaseResult(c.Name, [], 0, error)
            : new CaseResult(c.Name, [.. rounds[i].Seconds.Select(s => c.Sample(repetitions[i], s))], repetitions[i], null, c.BytesPerToken?.Invoke()))];
    }

    /// <summary>An exception in words. Whatever a device's driver or backend throws is a result, so the type is told where the message alone may say little.</summary>
    public static string Describe(Exception e) => e is NotSupportedException or ModelFileException or InvalidOperationException ? e.Message : $"{e.GetType().Name}: {e.Message}";
}
