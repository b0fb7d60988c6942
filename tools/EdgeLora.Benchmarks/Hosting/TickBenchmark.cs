using System.Diagnostics;
using System.Globalization;
using EdgeLora.Core;
using EdgeLora.Measuring;
using EdgeLora.Models;

namespace EdgeLora.Benchmarks;

/// <summary>Whether ticks keep their budget while a long prompt is read and others stream.</summary>
internal static class TickBenchmark
{
    private const int Streams = 4, PromptTokens = 2000;

    /// <summary>The shipped base's sizes, with room for the prompt.</summary>
    private static readonly LlamaShape s_nano = new("nano", 192, 512, 6, 4, 2, 2048);

    /// <summary>Ticks with <paramref name="budget"/> until the prompt is read, and prints how they went.</summary>
    public static void Run(TimeSpan budget, int threads)
    {
        string folder = Directory.CreateTempSubdirectory("edgelora-ticks-").FullName;
        try
        {
            RandomModel.WriteFolder(folder, s_nano, DType.F32);
            using EdgeHost host = EdgeHost.Open(folder, new EdgeHostOptions { Threads = threads });
            // A short run first: code is compiled, and the host learns what a step takes.
            Measure(host, budget, 200);
            List<TickReport> ticks = Measure(host, budget, PromptTokens);
            double Share(Func<TickReport, bool> kept) => 100.0 * ticks.Count(kept) / ticks.Count;
            TimeSpan[] times = [.. ticks.Select(t => t.Elapsed).Order()];
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{ticks.Count} ticks of {budget.TotalMilliseconds:0.##} ms on {host.Backend.Description}: {Share(t => t.Kept):0.00} % within the budget, {Share(t => t.KeptWithinOneStep):0.00} % within it and one forward pass; median {times[times.Length / 2].TotalMilliseconds:0.000} ms, 99 % {times[times.Length * 99 / 100].TotalMilliseconds:0.000} ms, longest {times[^1].TotalMilliseconds:0.000} ms; {ticks.Sum(t => t.PromptTokens)} tokens of prompts, {ticks.Sum(t => t.NewTokens)} new ones"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static List<TickReport> Measure(EdgeHost host, TimeSpan budget, int promptTokens)
    {
        List<TickReport> ticks = [];
        List<Task> all = [];
        HostSession reader = Wait(host, budget, host.OpenSessionAsync());
        for (int i = 0; i < Streams; i++)
        {
            HostSession session = Wait(host, budget, host.OpenSessionAsync());
            all.Add(Drain(session.GenerateAsync([1 + i], new GenerationOptions { MaxTokens = 1500, IgnoreEnd = true })));
        }
        for (int i = 0; i < 20; i++)
            host.Tick(budget);
        int[] prompt = [.. Enumerable.Range(0, promptTokens).Select(i => i * 7 % 2000)];
        Task reading = Drain(reader.GenerateAsync(prompt, new GenerationOptions { MaxTokens = 20, IgnoreEnd = true }));
        while (!reading.IsCompleted)
        {
            ticks.Add(host.Tick(budget));
            // What an application does with the rest of its frame.
            Thread.Yield();
        }
        foreach (HostSession session in Wait(host, budget, host.SessionsAsync()))
            session.Dispose();
        while (!Task.WhenAll(all).IsCompleted)
            host.Tick(budget);
        return ticks;
    }

    private static T Wait<T>(EdgeHost host, TimeSpan budget, Task<T> task)
    {
        while (!task.IsCompleted)
            host.Tick(budget);
        return task.Result;
    }

    private static async Task Drain(IAsyncEnumerable<GeneratedPiece> pieces)
    {
        await foreach (GeneratedPiece _ in pieces)
        {
        }
    }
}
