using System.Diagnostics;
using EdgeLora.Cpu;

namespace EdgeLora.Benchmarks;

/// <summary>Which ops a LoRA step spends its time in.</summary>
internal static class OpShares
{
    private const int Warmup = 2, Steps = 5;

    /// <summary>Prints the shares of a case.</summary>
    public static void Print(string folder, TrainingCase subject, int threads)
    {
        LoraJobs.Write(folder, subject, 1);
        using TimedBackend backend = new(new CpuBackend(threads));
        using LoraJobs jobs = new(folder, subject, 1, backend);
        for (int i = 0; i < Warmup; i++)
            jobs.Complete(jobs.Train());
        backend.Reset();
        TimeSpan cpu = Environment.CpuUsage.TotalTime;
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < Steps; i++)
            jobs.Complete(jobs.Train());
        TimeSpan wall = Stopwatch.GetElapsedTime(start);
        cpu = Environment.CpuUsage.TotalTime - cpu;
        Console.WriteLine(FormattableString.Invariant($"{subject}, {threads} threads: {Steps} steps, {Steps * subject.Sequences * subject.Tokens / wall.TotalSeconds:F0} tokens/s, {Steps * subject.Sequences * subject.Tokens / cpu.TotalSeconds:F0} a cpu second"));
        foreach (string line in backend.Lines(wall, cpu))
            Console.WriteLine("  " + line);
    }
}
