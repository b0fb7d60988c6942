using System.Globalization;

namespace EdgeLora.Benchmarks;

/// <summary><c>--host [ticks] [zipf] [threads=N] [budget=ms]</c>: the ticked host. Without a subject: both.</summary>
internal static class HostProgram
{
    private const string Ticks = "ticks", Zipf = "zipf";

    /// <summary>Runs them. Returns the exit code.</summary>
    public static int Run(string[] args)
    {
        int threads = 0;
        double milliseconds = 2;
        HashSet<string> subjects = [];
        foreach (string arg in args)
            if (arg is Ticks or Zipf)
                subjects.Add(arg);
            else if (arg.Split('=') is ["threads", string count] && int.TryParse(count, out threads) && threads > 0)
                continue;
            else if (arg.Split('=') is ["budget", string time] && double.TryParse(time, CultureInfo.InvariantCulture, out milliseconds) && milliseconds > 0)
                continue;
            else
                throw new ArgumentException($"{arg}: expected {Ticks}, {Zipf}, threads=N or budget=milliseconds");
        if (subjects.Count == 0 || subjects.Contains(Ticks))
            TickBenchmark.Run(TimeSpan.FromMilliseconds(milliseconds), threads);
        if (subjects.Count == 0 || subjects.Contains(Zipf))
            ZipfBenchmark.Run(threads);
        return 0;
    }
}
