namespace EdgeLora;

/// <summary>Something that a host tells who tails it: exactly one of the three.</summary>
/// <param name="Event">What happened to an adapter; null: it is something else.</param>
/// <param name="Ticks">What ticks did since the last time; null: it is something else.</param>
/// <param name="Dropped">Events that were dropped here, because this client did not read; 0: it is something else.</param>
public sealed record LinkNews(AdapterEvent? Event, TickSum? Ticks, long Dropped)
{
    internal static LinkNews From(LinkMessage m) => m.Text("event") switch
    {
        "adapter" => new(new(LinkText.Value<AdapterEventKind>(m, "kind"), m.Text("node"), (int)m.Number("generation", 0, int.MaxValue), m.Texts("faults"), DateTimeOffset.FromUnixTimeMilliseconds(m.Number("timeMs", 0, 1L << 47))), null, 0),
        "ticks" => new(null, TickSum.From(m), 0),
        "dropped" => new(null, null, m.Number("count", 1)),
        string other => throw new LinkException(LinkErrorKind.Frame, $"event: '{LinkText.Short(other)}' is not known"),
    };

    internal LinkMessage ToMessage(long id) => Event is { } happened
        ? new() { ["id"] = id, ["event"] = "adapter", ["kind"] = LinkText.Of(happened.Kind), ["node"] = happened.Node, ["generation"] = happened.Generation, ["faults"] = LinkText.Short(happened.Faults), ["timeMs"] = happened.Time.ToUnixTimeMilliseconds() }
        : Ticks is { } ticks ? ticks.ToMessage(id) : new() { ["id"] = id, ["event"] = "dropped", ["count"] = Dropped };
}
