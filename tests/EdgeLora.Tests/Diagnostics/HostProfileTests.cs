using System.Text.Json;
using EdgeLora.Models;
using EdgeLora.Tests.Hosting;
using Xunit;

namespace EdgeLora.Tests.Diagnostics;

/// <summary>The trace of a host's time.</summary>
public sealed class HostProfileTests
{
    [Fact]
    public void The_trace_is_JSON_whose_scopes_nest()
    {
        using EdgeHost host = Shipped.Open();
        host.Profile.Start();
        HostSession session = Served.Until(host, host.OpenSessionAsync("holmes"));
        Served.Until(host, Served.Collect(session.GenerateAsync([1, 2, 3], new GenerationOptions { MaxTokens = 6, IgnoreEnd = true }, TestContext.Current.CancellationToken)));
        Served.Until(host, session.SwitchAsync("math"));
        Served.Until(host, host.ReloadAsync("math"));
        host.Profile.Stop();
        int count = host.Profile.Count;
        host.Tick(Served.Budget);
        Assert.Equal((count, 0L), (host.Profile.Count, host.Profile.Dropped));
        List<Scope> scopes = Scopes(host.Profile, out string[] threads);
        Assert.Equal(count, scopes.Count);
        Assert.Contains("EdgeLora ticks", threads);
        Assert.Contains("EdgeLora staging", threads);
        Assert.Equal(["canary", "commit", "events", "forward", "read", "reload", "step", "switch", "tick"], scopes.Select(s => s.Name).Distinct().Order(StringComparer.Ordinal));
        Dictionary<string, string?> around = new() { ["commit"] = "tick", ["step"] = "tick", ["events"] = "tick", ["forward"] = "step", ["switch"] = "commit", ["reload"] = "commit", ["tick"] = null, ["read"] = null };
        foreach (IGrouping<int, Scope> thread in scopes.GroupBy(s => s.Thread))
        {
            Stack<Scope> open = new();
            foreach (Scope scope in thread)
            {
                while (open.TryPeek(out Scope? last) && last.End <= scope.Start)
                    open.Pop();
                if (open.TryPeek(out Scope? parent))
                    Assert.True(scope.End <= parent.End, $"{scope} ends after {parent}");
                if (around.TryGetValue(scope.Name, out string? expected))
                    Assert.Equal(expected, parent?.Name);
                open.Push(scope);
            }
        }
        Assert.Equal("math", Assert.Single(scopes, s => s.Name == "switch").Node);
        Assert.Equal(6, scopes.Count(s => s.Name == "forward"));
        Assert.Contains(scopes, s => s is { Name: "canary", Node: "holmes" });
    }

    [Fact]
    public void The_ring_keeps_the_last_scopes_and_a_second_start_begins_anew()
    {
        using EdgeHost host = Shipped.Open();
        host.Profile.Start(4);
        for (int i = 0; i < 10; i++)
            host.Profile.Add($"{i}", System.Diagnostics.Stopwatch.GetTimestamp());
        Assert.Equal((4, 6L), (host.Profile.Count, host.Profile.Dropped));
        Assert.Equal(["6", "7", "8", "9"], Scopes(host.Profile, out _).Select(s => s.Name));
        host.Profile.Start(4);
        Assert.Equal((0, 0L), (host.Profile.Count, host.Profile.Dropped));
        Assert.Empty(Scopes(host.Profile, out _));
    }

    private static List<Scope> Scopes(HostProfile profile, out string[] threads)
    {
        using MemoryStream stream = new();
        profile.WriteTo(stream);
        using JsonDocument document = JsonDocument.Parse(stream.ToArray());
        JsonElement[] events = [.. document.RootElement.EnumerateArray()];
        threads = [.. events.Where(e => e.GetProperty("ph").GetString() == "M").Select(e => e.GetProperty("args").GetProperty("name").GetString()!)];
        return [.. events.Where(e => e.GetProperty("ph").GetString() == "X").Select(e => new Scope(e.GetProperty("name").GetString()!, e.GetProperty("tid").GetInt32(), e.GetProperty("ts").GetDecimal(),
            e.GetProperty("ts").GetDecimal() + e.GetProperty("dur").GetDecimal(), e.GetProperty("args").TryGetProperty("node", out JsonElement node) ? node.GetString() : null))];
    }

    private sealed record Scope(string Name, int Thread, decimal Start, decimal End, string? Node);
}
