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
        foreach (int i in ByImportance(cases))
        {
            double elapsed = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (elapsed + Foreseen(cases, repetitions, first, i) > settings.LimitSeconds)
                errors[i] = string.Create(CultureInfo.InvariantCulture, $"{NotMeasured}: {settings.LimitSeconds} seconds were over");
            Try(i, c => ((repetitions[i], first[i]) = c.Calibrate(settings.SampleSeconds)).Item2);
            Taken();
        }
        double spent = Stopwatch.GetElapsedTime(start).TotalSeconds, left = settings.LimitSeconds - spent;
        // No time for a round: finding the repetitions is all there is, and counts. Little time: that was the warm-up.
        int warmup = (settings.Warmup + 1) * spent > left ? 0 : settings.Warmup;
        Rounds[] rounds = spent > left ? [.. first.Select(f => new Rounds([f], []))] : Interleaved.Run(settings.Seconds, warmup, settings.Rounds, left, [.. Enumerable.Range(0, cases.Count).Select(i => (Func<double>)(() => Try(i, c => c.Run(repetitions[i]))))], Taken);
        return [.. cases.Select((c, i) => errors[i] is { } error
            ? new CaseResult(c.Name, [], 0, error)
            : new CaseResult(c.Name, [.. rounds[i].Seconds.Select(s => c.Sample(repetitions[i], s))], repetitions[i], null, c.BytesPerToken?.Invoke()))];
    }

    // The corner of every table first, then outwards: where a time limit leaves cases out, each table has some.
    private static IEnumerable<int> ByImportance(IReadOnlyList<BenchCase> cases)
    {
        static int IndexOf(Dictionary<string, List<string>> lists, string group, string item)
        {
            if (!lists.TryGetValue(group, out List<string>? known))
                lists[group] = known = [];
            if (!known.Contains(item))
                known.Add(item);
            return known.IndexOf(item);
        }
        Dictionary<string, List<string>> rows = [], columns = [];
        return [.. cases.Select((c, i) => (Row: IndexOf(rows, c.Name.Group, c.Name.Row), Column: IndexOf(columns, c.Name.Group, c.Name.Column), i)).OrderBy(c => c.Row).ThenBy(c => c.Column).Select(c => c.i)];
    }

    // One repetition at the pace of another case of its table; 0 where there is none yet. A device may be so slow that a single prompt takes minutes.
    private static double Foreseen(IReadOnlyList<BenchCase> cases, int[] repetitions, double[] first, int index) => Enumerable.Range(0, cases.Count)
        .Where(j => repetitions[j] > 0 && cases[j].Name.Unit.Rate && cases[j].Name.Group == cases[index].Name.Group)
        .Select(j => first[j] / repetitions[j] / cases[j].Work * cases[index].Work).DefaultIfEmpty(0).Min();

    /// <summary>An exception in words. Whatever a device's driver or backend throws is a result, so the type is told where the message alone may say little.</summary>
    public static string Describe(Exception e) => e is NotSupportedException or ModelFileException or InvalidOperationException ? e.Message : $"{e.GetType().Name}: {e.Message}";
}
