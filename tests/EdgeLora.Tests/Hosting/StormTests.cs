using System.Collections.Concurrent;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Adapters;
using Xunit;

namespace EdgeLora.Tests.Hosting;

/// <summary>Sessions generate while a writer overwrites, truncates, corrupts, renames and deletes adapters. EDGELORA_STORM sets how often; by default a short form.</summary>
public sealed class StormTests
{
    private const int Variants = 3, Tokens = 12;

    private static readonly int[] s_prompt = [0, 29, 202];

    private static readonly GenerationOptions s_options = new() { MaxTokens = Tokens, IgnoreEnd = true };

    private static readonly string[] s_nodes = ["p0", "p0/c0", "p0/c1", "p1", "p1/c0", "p1/c1", "q"];

    [Fact]
    public async Task Sixteen_sessions_say_what_they_would_say_without_the_storm()
    {
        int blows = int.TryParse(Environment.GetEnvironmentVariable("EDGELORA_STORM"), out int wanted) ? wanted : 150;
        using RandomTree tree = new(61);
        Storm storm = new(tree, s_nodes, Variants);
        using EdgeHost host = EdgeHost.Open(tree.Folder, new EdgeHostOptions { Threads = 1, Watch = true, WatchInterval = TimeSpan.FromMilliseconds(50), WatchQuiet = TimeSpan.FromMilliseconds(5) });
        ConcurrentQueue<string> wrong = new();
        ConcurrentDictionary<AdapterHandle, string> contents = new();
        int faults = 0, reloads = 0;
        host.AdapterChanged += e =>
        {
            if (e.Kind == AdapterEventKind.Faulted && Interlocked.Increment(ref faults) > 0 && (e.Faults.Count == 0 || e.Node.Length == 0))
                wrong.Enqueue($"a fault without a name: {e}");
            if (e.Kind == AdapterEventKind.Reloaded)
                Interlocked.Increment(ref reloads);
        };
        using CancellationTokenSource stop = new();
        // Handlers of ticks run between steps, where generations do not change: what a session stands on can be looked up.
        host.Ticked += _ =>
        {
            foreach (AdapterNode node in host.Tree.Nodes)
                if (node.Parent is not null && host.Store.IsResident(node) && !contents.ContainsKey(new(node.Path, node.Generation)))
                    contents.TryAdd(new(node.Path, node.Generation), string.Join('+', node.Chain().Select(n => host.Store.Resident(n).Adapter.ContentFingerprint)));
        };
        Task ticking = host.RunAsync(stop.Token, TimeSpan.FromMilliseconds(5));
        ConcurrentDictionary<(AdapterHandle Handle, string Text), int> said = new();
        using CancellationTokenSource calm = new();
        Task[] talkers = [.. Enumerable.Range(0, 16).Select(i => Task.Run(() => Talk(host, i, said, wrong, calm.Token)))];

        // On a busy machine they may take longer to begin than the storm lasts.
        for (DateTime begun = DateTime.UtcNow.AddMinutes(2); said.IsEmpty && wrong.IsEmpty && DateTime.UtcNow < begun;)
            await Task.Delay(5, TestContext.Current.CancellationToken);
        storm.Blow(blows);
        storm.Restore();
        await calm.CancelAsync();
        await Task.WhenAll(talkers).WaitAsync(TimeSpan.FromMinutes(2), TestContext.Current.CancellationToken);
        Assert.Empty(wrong);
        Assert.NotEmpty(said);
        Assert.True(faults > 0 && reloads > 0, $"{faults} faults, {reloads} reloads");

        // Each text is what a quiet host says with the same contents.
        Dictionary<string, string> quiet = storm.QuietTexts(s_prompt, s_options);
        int looked = 0;
        foreach (((AdapterHandle handle, string text), int _) in said)
        {
            if (!contents.TryGetValue(handle, out string? content))
                continue;
            looked++;
            Assert.True(quiet.TryGetValue(content, out string? expected), $"{handle} has contents that were never written whole");
            Assert.Equal(expected, text);
        }
        Assert.True(looked > said.Count / 2, $"{looked} of {said.Count} texts could be looked up");

        // Everything is back: nothing retired, no keys and values, every node as it was at the start.
        DateTime end = DateTime.UtcNow.AddSeconds(60);
        while (host.Store.RetiredCount > 0 || s_nodes.Any(n => host.Tree.Find(n) is not { Faults.Count: 0 }))
        {
            await Task.Delay(20, TestContext.Current.CancellationToken);
            Assert.True(DateTime.UtcNow < end, $"{host.Store.RetiredCount} generations are left; {string.Join(", ", host.Tree.Nodes.Select(n => $"{n.Path} {n.State} {n.Faults.Count}"))}");
        }
        HostStats stats = await host.StatsAsync();
        Assert.Equal((0, 0L), (stats.Sessions, stats.KvBytes));
        // Between two steps: a last reload may still come to the device.
        await host.Request(() => Assert.Equal(host.Tree.Nodes.Where(host.Store.IsResident).Sum(n => n.ByteLength), host.Store.ResidentBytes));
        await stop.CancelAsync();
        await ticking;
    }

    private static async Task Talk(EdgeHost host, int index, ConcurrentDictionary<(AdapterHandle, string), int> said, ConcurrentQueue<string> wrong, CancellationToken calm)
    {
        Random random = new(index);
        using HostSession session = await host.OpenSessionAsync();
        while (!calm.IsCancellationRequested)
            try
            {
                await session.SwitchAsync(s_nodes[random.Next(s_nodes.Length)]);
                await session.TruncateAsync(0);
                List<int> tokens = [];
                StopReason reason = StopReason.None;
                AdapterHandle handle = default;
                await foreach (GeneratedPiece piece in session.GenerateAsync(s_prompt, s_options, CancellationToken.None))
                {
                    // The generation of text began on it and stays on it.
                    handle = session.Node;
                    reason = piece.Stop;
                    if (piece.Token >= 0)
                        tokens.Add(piece.Token);
                }
                if (tokens.Count != Tokens || reason != StopReason.MaxTokens)
                    wrong.Enqueue($"session {index}: {tokens.Count} tokens, ended by {reason}");
                said.AddOrUpdate((handle, string.Join(' ', tokens)), 1, (_, n) => n + 1);
            }
            catch (Exception e) when (e is KeyNotFoundException or ModelFileException)
            {
                // Gone for the moment, or back with a file that is none: refused by name, and the session stands where it stood.
                if (e.Message.Length == 0)
                    wrong.Enqueue("a refusal without a reason");
            }
            catch (Exception e)
            {
                wrong.Enqueue($"session {index}: {e}");
                return;
            }
    }
}
