using EdgeLora.Models;

namespace EdgeLora.Benchmarks;

/// <summary>Where a session stands while it is measured.</summary>
internal static class Places
{
    private const string Root = "base", Fused = " fused";

    /// <summary>The base, one adapter, an adapter on an adapter, and that fused into one overlay.</summary>
    public static IEnumerable<string> Names => [Root, "one", "one/two", "one/two" + Fused];

    /// <summary>A session there.</summary>
    public static Session Stand(EdgeHost host, string place, int reserveTokens)
    {
        if (!place.EndsWith(Fused, StringComparison.Ordinal))
            return host.CreateSession(host.Enter(place == Root ? "" : place), reserveTokens);
        using FusedPath fused = host.Fuse(place[..^Fused.Length]);
        return host.CreateSession(fused.Path, reserveTokens);
    }

    /// <summary>Token ids that every measured vocabulary has.</summary>
    public static int[] Prompt(int tokens) => [.. Enumerable.Range(0, tokens).Select(i => 3 + i * 37 % 500)];
}
