using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using EdgeLora.Core;
using EdgeLora.Measuring;
using EdgeLora.Models;

namespace EdgeLora.Benchmarks;

/// <summary>A thousand adapters, few of them on the device, asked for as popularity has it.</summary>
internal static class ZipfBenchmark
{
    private const int Adapters = 1000, Staged = 100, Resident = 20, Sessions = 64, Requests = 4000, Tokens = 4;

    private static readonly LlamaShape s_nano = new("nano", 192, 512, 6, 4, 2, 2048);

    /// <summary>Runs the traffic with all adapters resident, and with room for a few, and prints hit rates and times. Throws <see cref="InvalidDataException"/> for an answer that differs.</summary>
    public static void Run(int threads)
    {
        string tree = Directory.CreateTempSubdirectory("edgelora-zipf-").FullName;
        try
        {
            RandomModel.WriteFolder(Path.Combine(tree, "base"), s_nano, DType.F32);
            using (BaseCheckpoint checkpoint = BaseCheckpoint.Open(Path.Combine(tree, "base")))
                for (int i = 0; i < Adapters; i++)
                    RandomAdapter.Write(Path.Combine(tree, $"a{i}"), RandomAdapter.LayersOf(checkpoint.Config), rank: 8, seed: 1000 * (i + 1));
            long one;
            using (EdgeHost probe = EdgeHost.Open(tree, new EdgeHostOptions { Threads = threads }))
            {
                probe.Enter("a0");
                one = probe.Store.ResidentBytes;
            }
            Dictionary<string, string> answers = [];
            Console.WriteLine($"{Adapters} adapters of {one} bytes, {Requests} requests of {Tokens} tokens over {Sessions} sessions, popularity 1/rank");
            Traffic(tree, "all resident", new EdgeHostOptions { Threads = threads, AdapterBudgetBytes = long.MaxValue }, answers);
            Traffic(tree, $"room for {Resident} on the device, {Staged} in RAM", new EdgeHostOptions { Threads = threads, AdapterBudgetBytes = Resident * one, StagedBudgetBytes = Staged * one }, answers);
        }
        finally
        {
            Directory.Delete(tree, recursive: true);
        }
    }

    private static void Traffic(string tree, string what, EdgeHostOptions options, Dictionary<string, string> answers)
    {
        using EdgeHost host = EdgeHost.Open(tree, options);
        using CancellationTokenSource stop = new();
        Task ticking = host.RunAsync(stop.Token, TimeSpan.FromMilliseconds(5));
        double[] cumulative = new double[Adapters];
        for (int i = 0; i < Adapters; i++)
            cumulative[i] = (i == 0 ? 0 : cumulative[i - 1]) + 1.0 / (i + 1);
        ConcurrentBag<double> switches = [];
        ConcurrentDictionary<string, string> said = new();
        int left = Requests;
        long start = Stopwatch.GetTimestamp();
        Task[] all = [.. Enumerable.Range(0, Sessions).Select(async s =>
        {
            Random random = new(s);
            using HostSession session = await host.OpenSessionAsync();
            while (Interlocked.Decrement(ref left) >= 0)
            {
                int at = Array.BinarySearch(cumulative, random.NextDouble() * cumulative[^1]);
                string node = $"a{Math.Min(at < 0 ? ~at : at, Adapters - 1)}";
                long asked = Stopwatch.GetTimestamp();
                await session.SwitchAsync(node);
                switches.Add(Stopwatch.GetElapsedTime(asked).TotalMilliseconds);
                await session.TruncateAsync(0);
                List<int> tokens = [];
                await foreach (GeneratedPiece piece in session.GenerateAsync([1, 2, 3], new GenerationOptions { MaxTokens = Tokens, IgnoreEnd = true }))
                    if (piece.Token >= 0)
                        tokens.Add(piece.Token);
                string text = string.Join(' ', tokens);
                if (said.GetOrAdd(node, text) != text)
                    throw new InvalidDataException($"{node}: said '{text}' and '{said[node]}'");
            }
        })];
        Task.WaitAll(all);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        stop.Cancel();
        ticking.Wait();
        foreach ((string node, string text) in said)
            if (answers.TryGetValue(node, out string? expected) && expected != text)
                throw new InvalidDataException($"{node}: expected '{expected}', as with all resident, found '{text}'");
            else
                answers[node] = text;
        double[] sorted = [.. switches.Order()];
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{what}: {100 - 100.0 * host.Store.Loads / sorted.Length:0.0} % found on the device, {100.0 * (host.Store.Loads - host.Store.DiskLoads) / sorted.Length:0.0} % in RAM, {100.0 * host.Store.DiskLoads / sorted.Length:0.0} % on disk; switch with the wait for its tick median {sorted[sorted.Length / 2]:0.000} ms, 99 % {sorted[sorted.Length * 99 / 100]:0.000} ms; {Requests / seconds:0} requests/s; {host.Store.ResidentBytes} bytes of adapters at the end; every answer right"));
    }
}
