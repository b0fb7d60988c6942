using System.Diagnostics;
using System.IO.Hashing;
using System.Text.Json;

namespace EdgeLora.Fuzz;

/// <summary>The child process: runs instrumented code, writes what it finds, prints how far it is. It may be killed at any time.</summary>
internal static class Worker
{
    /// <summary>Exit code of an input that does not end.</summary>
    public const int Hung = 97;

    private static readonly TimeSpan s_longestWall = TimeSpan.FromSeconds(60);

    /// <summary>Fuzzes one format in <paramref name="place"/>, whose current input the supervisor reads when this process dies.</summary>
    public static int Run(FuzzFormat format, FuzzOptions options, string place)
    {
        Coverage? coverage = Instrumented.IsHere ? new() : null;
        Watch watch = new();
        string? keep = options.Corpus is null ? null : Directory.CreateDirectory(Path.Combine(options.Corpus, format.Name)).FullName;
        long printed = Stopwatch.GetTimestamp();
        FuzzRun run = new(format, place, options.Seed, coverage)
        {
            Judging = count =>
            {
                watch.Next();
                if (count > 0 && Stopwatch.GetElapsedTime(printed) > TimeSpan.FromSeconds(2))
                {
                    printed = Stopwatch.GetTimestamp();
                    Console.Out.WriteLine($"at {count}");
                }
            },
            Kept = input =>
            {
                if (keep is not null)
                    File.WriteAllBytes(Path.Combine(keep, Sum(input)), input);
            },
        };
        FuzzReport report = run.Run(options.Inputs, TimeSpan.FromSeconds(options.Seconds), options.SeedsOf(format));
        watch.End();
        foreach ((Finding finding, byte[] input) in report.Findings)
            Write(options.Findings, format, finding, input);
        Console.Out.WriteLine("done " + JsonSerializer.Serialize(report with { Findings = [] }));
        return 0;
    }

    /// <summary>Keeps a finding: the input, and a text beside it.</summary>
    public static void Write(string folder, FuzzFormat format, Finding finding, byte[] input)
    {
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, $"{format.Name}-{finding.Kind}-{Sum(input)}");
        File.WriteAllBytes(path, input);
        File.WriteAllText(path + ".txt", $"{finding.Kind} {finding.Where}\n{finding.Detail}\n");
        Console.Out.WriteLine($"found {path}: {finding.Kind} {finding.Where}");
    }

    private static string Sum(byte[] input) => Convert.ToHexStringLower(XxHash64.Hash(input));

    /// <summary>Ends the process when one input takes over a second of its time, or a minute of anybody's: a busy machine alone is no hang.</summary>
    private sealed class Watch
    {
        private readonly Thread _thread;
        private long _input;
        private volatile bool _ended;

        public Watch()
        {
            _thread = new(Look) { IsBackground = true, Priority = ThreadPriority.AboveNormal };
            _thread.Start();
        }

        public void Next() => Interlocked.Increment(ref _input);

        public void End() => _ended = true;

        private void Look()
        {
            long last = -1, since = 0;
            TimeSpan used = default;
            using Process self = Process.GetCurrentProcess();
            while (!_ended)
            {
                Thread.Sleep(100);
                long input = Interlocked.Read(ref _input);
                self.Refresh();
                if (input != last)
                {
                    (last, since, used) = (input, Stopwatch.GetTimestamp(), self.TotalProcessorTime);
                    continue;
                }
                // Three tries of one input, each of at most a second.
                if (input > 1 && (self.TotalProcessorTime - used > 4 * Judge.Longest || Stopwatch.GetElapsedTime(since) > s_longestWall))
                    Environment.Exit(Hung);
            }
        }
    }
}
