using System.Text.Json;

namespace EdgeLora.Cli.Attaching;

/// <summary>What a host says, as JSON.</summary>
internal static class LinkJson
{
    public static void Write(Utf8JsonWriter w, LinkHello hello)
    {
        w.WriteString("host", hello.Host);
        w.WriteString("version", hello.Version);
        w.WriteString("baseFingerprint", hello.BaseFingerprint);
        w.WriteNumber("processId", hello.ProcessId);
    }

    public static void Write(Utf8JsonWriter w, IReadOnlyList<LinkNode> nodes)
    {
        w.WriteStartArray("nodes");
        foreach (LinkNode node in nodes)
        {
            w.WriteStartObject();
            w.WriteString("path", node.Path);
            w.WriteString("state", Name(node.State));
            w.WriteNumber("generation", node.Generation);
            w.WriteString("form", node.Form);
            w.WriteNumber("minRank", node.MinRank);
            w.WriteNumber("maxRank", node.MaxRank);
            w.WriteNumber("bytes", node.ByteLength);
            w.WriteString("folder", node.Folder);
            w.WriteTexts("faults", node.Faults);
            w.WriteEndObject();
        }
        w.WriteEndArray();
    }

    public static void Write(Utf8JsonWriter w, IReadOnlyList<LinkSession> sessions)
    {
        w.WriteStartArray("sessions");
        foreach (LinkSession session in sessions)
        {
            w.WriteStartObject();
            w.WriteNumber("id", session.Id);
            w.WriteString("node", session.Node.Node);
            w.WriteNumber("generation", session.Node.Generation);
            w.WriteString("state", Name(session.State));
            w.WriteNumber("waitingPlace", session.WaitingPlace);
            w.WriteNumber("tokens", session.TokenCount);
            w.WriteNumber("kvBytes", session.KvBytes);
            w.WriteNumber("priority", session.Priority);
            w.WriteNumber("weight", session.Weight);
            w.WriteEndObject();
        }
        w.WriteEndArray();
    }

    public static void Write(Utf8JsonWriter w, HostStats stats)
    {
        w.WriteStartObject("stats");
        w.WriteNumber("ticks", stats.Ticks);
        w.WriteNumber("ticksKept", stats.TicksKept);
        w.WriteNumber("steps", stats.Steps);
        w.WriteNumber("promptTokens", stats.PromptTokens);
        w.WriteNumber("newTokens", stats.NewTokens);
        w.WriteNumber("tickMedianMs", stats.TickMedian.TotalMilliseconds);
        w.WriteNumber("tick99Ms", stats.Tick99.TotalMilliseconds);
        w.WriteNumber("sessions", stats.Sessions);
        w.WriteNumber("running", stats.Running);
        w.WriteNumber("waiting", stats.Waiting);
        w.WriteNumber("kvBytes", stats.KvBytes);
        w.WriteNumber("residentAdapters", stats.ResidentAdapters);
        w.WriteNumber("residentBytes", stats.ResidentBytes);
        w.WriteNumber("stagedAdapters", stats.StagedAdapters);
        w.WriteNumber("stagedBytes", stats.StagedBytes);
        w.WriteNumber("retiredAdapters", stats.RetiredAdapters);
        w.WriteNumber("loads", stats.Loads);
        w.WriteNumber("evictions", stats.Evictions);
        w.WriteNumber("baseBytes", stats.BaseBytes);
        w.WriteEndObject();
    }

    public static void Write(Utf8JsonWriter w, LinkNews news)
    {
        if (news.Event is { } happened)
        {
            Write(w, happened);
            return;
        }
        if (news.Ticks is not { } ticks)
        {
            w.WriteNumber("dropped", news.Dropped);
            return;
        }
        w.WriteNumber("ticks", ticks.Ticks);
        w.WriteNumber("kept", ticks.Kept);
        w.WriteNumber("elapsedMs", ticks.Elapsed.TotalMilliseconds);
        w.WriteNumber("longestMs", ticks.Longest.TotalMilliseconds);
        w.WriteNumber("steps", ticks.Steps);
        w.WriteNumber("promptTokens", ticks.PromptTokens);
        w.WriteNumber("newTokens", ticks.NewTokens);
        w.WriteNumber("bytesMoved", ticks.BytesMoved);
        w.WriteNumber("running", ticks.Running);
        w.WriteNumber("waiting", ticks.Waiting);
    }

    public static void Write(Utf8JsonWriter w, AdapterEvent happened)
    {
        w.WriteString("event", Name(happened.Kind));
        w.WriteString("node", happened.Node);
        w.WriteNumber("generation", happened.Generation);
        w.WriteTexts("faults", happened.Faults);
        w.WriteString("time", happened.Time);
    }

    public static void Write(Utf8JsonWriter w, AdapterHandle handle)
    {
        w.WriteString("node", handle.Node);
        w.WriteNumber("generation", handle.Generation);
    }

    public static string Name<T>(T value)
        where T : struct, Enum => value.ToString().ToLowerInvariant();
}
