using System.Globalization;

namespace EdgeLora.Benchmarks;

/// <summary>
/// <c>--train [peer] [parallel] [ops] [threads=N] [seconds=N]</c>: training, contenders in turns within one process instead of BenchmarkDotNet's one after the other.
/// Without a subject: all three.
/// </summary>
internal static class TrainingProgram
{
    private const string Peer = "peer", Parallel = "parallel", Ops = "ops";

    private static readonly TrainingCase s_15M = new(LlamaShape.Of15M, 8, 256), s_260K = new(LlamaShape.Of260K, 8, 256);

    /// <summary>Runs them. Returns the exit code.</summary>
    public static int Run(string[] args)
    {
        int threads = Environment.ProcessorCount;
        double seconds = 60;
        HashSet<string> subjects = [];
        foreach (string arg in args)
            if (arg is Peer or Parallel or Ops)
                subjects.Add(arg);
            else if (arg.Split('=') is ["threads", string count] && int.TryParse(count, out threads) && threads > 0)
                continue;
            else if (arg.Split('=') is ["seconds", string time] && double.TryParse(time, CultureInfo.InvariantCulture, out seconds))
                continue;
            else
                throw new ArgumentException($"{arg}: expected {Peer}, {Parallel}, {Ops}, threads=N or seconds=N");
        bool Wanted(string subject) => subjects.Count == 0 || subjects.Contains(subject);

        List<string> tables = [];
        if (Wanted(Ops))
            foreach (TrainingCase subject in new[] { s_15M, s_260K })
                InFolder(folder => OpShares.Print(folder, subject, threads));
        string? missing = Wanted(Peer) ? TorchLlama.Missing() : null;
        if (missing is not null)
            Console.WriteLine($"{Peer} is skipped: {missing}");
        else if (Wanted(Peer))
            Table(tables, TrainingBenchmark.Header, [s_15M, s_260K, s_15M with { Sequences = 1, Tokens = 64 }], (folder, subject) => TrainingBenchmark.Run(folder, subject, threads, seconds));
        if (Wanted(Parallel))
            Table(tables, ParallelTrainingBenchmark.Header,
                [new(LlamaShape.Of110M, 1, 16), new(LlamaShape.Of110M, 1, 4), .. from subject in new[] { s_15M, s_260K } from rows in new[] { (1, 64), (2, 128), (8, 256) } select subject with { Sequences = rows.Item1, Tokens = rows.Item2 }],
                (folder, subject) => ParallelTrainingBenchmark.Run(folder, subject, threads, seconds));
        tables.ForEach(Console.WriteLine);
        return missing is not null && subjects.Contains(Peer) ? 1 : 0;
    }

    private static void Table(List<string> tables, string header, TrainingCase[] subjects, Func<string, TrainingCase, string> run)
    {
        tables.Add(Environment.NewLine + header);
        foreach (TrainingCase subject in subjects)
            InFolder(folder =>
            {
                Console.WriteLine(subject);
                tables.Add(run(folder, subject));
                Console.WriteLine("  " + tables[^1]);
            });
    }

    private static void InFolder(Action<string> action)
    {
        string folder = Directory.CreateTempSubdirectory("edgelora-benchmarks-").FullName;
        try
        {
            action(folder);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
