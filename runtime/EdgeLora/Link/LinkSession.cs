namespace EdgeLora;

/// <summary>A session of a host, seen from another process: where it stands and how far it is, never its text.</summary>
/// <param name="Id">Unique in its host.</param>
/// <param name="Node">Where it stands, at the generation it has.</param>
/// <param name="State">What it does.</param>
/// <param name="WaitingPlace">Its place among those that wait, from 1; 0: it does not wait.</param>
/// <param name="TokenCount">Tokens of its text.</param>
/// <param name="KvBytes">Bytes of its keys and values.</param>
/// <param name="Priority">Higher is served first.</param>
/// <param name="Weight">Share of the tokens among sessions of one priority.</param>
public sealed record LinkSession(long Id, AdapterHandle Node, HostSessionState State, int WaitingPlace, int TokenCount, long KvBytes, int Priority, double Weight)
{
    internal static LinkSession From(LinkMessage m) => new(m.Number("session"), new(m.Text("node"), (int)m.Number("generation", 0, int.MaxValue)), LinkText.Value<HostSessionState>(m, "state"),
        (int)m.Number("place", 0, int.MaxValue), (int)m.Number("tokens", 0, int.MaxValue), m.Number("kvBytes"), (int)m.Number("priority", int.MinValue, int.MaxValue), m.Real("weight"));

    internal static LinkMessage ToMessage(HostSession session) => new()
    {
        ["session"] = session.Id,
        ["node"] = session.Node.Node,
        ["generation"] = session.Node.Generation,
        ["state"] = LinkText.Of(session.State),
        ["place"] = session.WaitingPlace,
        ["tokens"] = session.TokenCount,
        ["kvBytes"] = session.KvBytes,
        ["priority"] = session.Options.Priority,
        ["weight"] = session.Options.Weight,
    };
}
