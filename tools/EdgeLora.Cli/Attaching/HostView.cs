using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using EdgeLora.Models;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace EdgeLora.Cli.Attaching;

/// <summary>A host as it is now, asked for over a link: what the dashboard shows.</summary>
internal sealed class HostView
{
    private const int KeptEvents = 64, ShownEvents = 8;

    private readonly LinkClient _client;
    private readonly Queue<AdapterEvent> _events = new();
    private IReadOnlyList<LinkNode> _nodes = [];
    private IReadOnlyList<LinkSession> _sessions = [];
    private HostStats? _stats;
    private long _asked;
    private double _promptRate, _newRate;

    public HostView(LinkClient client) => _client = client;

    /// <summary>Asks again; rates are those since the time before.</summary>
    public async Task AskAsync(CancellationToken cancellation)
    {
        _nodes = await _client.ListAsync(cancellation).ConfigureAwait(false);
        _sessions = await _client.SessionsAsync(cancellation).ConfigureAwait(false);
        HostStats stats = await _client.StatsAsync(cancellation).ConfigureAwait(false);
        if (_stats is { } before)
        {
            double seconds = Stopwatch.GetElapsedTime(_asked).TotalSeconds;
            (_promptRate, _newRate) = ((stats.PromptTokens - before.PromptTokens) / seconds, (stats.NewTokens - before.NewTokens) / seconds);
        }
        (_stats, _asked) = (stats, Stopwatch.GetTimestamp());
    }

    /// <summary>Notes what happened.</summary>
    public void Add(AdapterEvent happened)
    {
        lock (_events)
        {
            if (_events.Count == KeptEvents)
                _events.Dequeue();
            _events.Enqueue(happened);
        }
    }

    /// <summary>Everything, as fields of one object.</summary>
    public void Write(Utf8JsonWriter w)
    {
        LinkJson.Write(w, _client.Hello);
        LinkJson.Write(w, _nodes);
        LinkJson.Write(w, _sessions);
        LinkJson.Write(w, _stats!);
        w.WriteFinite("newTokensPerSecond", Math.Round(_newRate, 1));
        w.WriteFinite("promptTokensPerSecond", Math.Round(_promptRate, 1));
        w.WriteStartArray("events");
        foreach (AdapterEvent happened in Events())
        {
            w.WriteStartObject();
            LinkJson.Write(w, happened);
            w.WriteEndObject();
        }
        w.WriteEndArray();
    }

    /// <summary>Everything, for people.</summary>
    /// <param name="lines">Lines that there are for it; the tree gives way.</param>
    public IRenderable Render(int lines = int.MaxValue)
    {
        HostStats s = _stats!;
        AdapterEvent[] events = [.. Events().TakeLast(ShownEvents)];
        int sessions = Math.Min(_sessions.Count, Math.Max(4, lines / 4)), nodes = Math.Max(4, lines - 9 - sessions - events.Length);
        List<IRenderable> rows =
        [
            Line($"{_client.Hello.Host} at {_client.Endpoint.Name}, process {_client.Hello.ProcessId}, base {_client.Hello.BaseFingerprint[..8]}, EdgeLora {_client.Hello.Version.Split('+')[0]}"),
            Line($"{_newRate:F0} tokens/s, prompts {_promptRate:F0} tokens/s; ticks {s.TickMedian.TotalMilliseconds:F2} ms, 99 % {s.Tick99.TotalMilliseconds:F2} ms, {(s.Ticks == 0 ? 1 : (double)s.TicksKept / s.Ticks):P1} kept; {s.Running} running, {s.Waiting} waiting"),
            Line($"base {Size(s.BaseBytes)}; on the device {s.ResidentAdapters} adapters {Size(s.ResidentBytes)}; in RAM {s.StagedAdapters} adapters {Size(s.StagedBytes)}; replaced, still used {s.RetiredAdapters}; keys and values {Size(s.KvBytes)}"),
            Nodes(nodes),
        ];
        if (sessions > 0)
            rows.Add(Sessions(sessions));
        rows.AddRange(events.Select(e => new Text($"{e.Time.ToLocalTime():HH:mm:ss} {e}") { Overflow = Overflow.Ellipsis }));
        return new Rows(rows);
    }

    private AdapterEvent[] Events()
    {
        lock (_events)
            return [.. _events];
    }

    private Table Nodes(int most)
    {
        Table table = Columns("node", "state", "in", "generation", "form", "rank", "bytes", "sessions");
        // Those that someone stands on come first where there is no room for all.
        HashSet<string> used = [.. _sessions.Select(n => n.Node.Node)];
        HashSet<LinkNode> shown = [.. _nodes.OrderBy(n => used.Contains(n.Path) || n.Faults.Count > 0 ? 0 : 1).Take(most)];
        foreach (LinkNode node in _nodes.Where(shown.Contains))
        {
            int depth = node.Path.Count(c => c == '/') + (node.Path.Length > 0 ? 1 : 0);
            table.AddRow(Cell(new string(' ', 2 * depth) + (depth == 0 ? "(base)" : node.Path[(node.Path.LastIndexOf('/') + 1)..])), Cell(depth == 0 ? "" : LinkJson.Name(node.State)), Cell(depth == 0 ? "device" : Tier(node.State)),
                Cell(node.Generation.ToString(CultureInfo.InvariantCulture)), Cell(node.Form ?? ""),
                Cell(node.MaxRank == 0 ? "" : node.MinRank == node.MaxRank ? node.MaxRank.ToString(CultureInfo.InvariantCulture) : string.Create(CultureInfo.InvariantCulture, $"{node.MinRank}..{node.MaxRank}")),
                Cell(node.ByteLength.ToString("N0", CultureInfo.InvariantCulture)), Cell(_sessions.Count(s => s.Node.Node == node.Path).ToString(CultureInfo.InvariantCulture)));
            foreach (string fault in node.Faults.Take(2))
                table.AddRow(Cell(new string(' ', 2 * depth) + "! " + fault));
        }
        if (shown.Count < _nodes.Count)
            table.AddRow(Cell(string.Create(CultureInfo.InvariantCulture, $"and {_nodes.Count - shown.Count} more")));
        return table;
    }

    private Table Sessions(int most)
    {
        Table table = Columns("session", "node", "generation", "state", "tokens", "keys and values");
        foreach (LinkSession s in _sessions.Take(most))
            table.AddRow(Cell(s.Id.ToString(CultureInfo.InvariantCulture)), Cell(s.Node.Node.Length == 0 ? "(base)" : s.Node.Node), Cell(s.Node.Generation.ToString(CultureInfo.InvariantCulture)),
                Cell(s.WaitingPlace > 0 ? string.Create(CultureInfo.InvariantCulture, $"waiting, place {s.WaitingPlace}") : LinkJson.Name(s.State)), Cell(s.TokenCount.ToString(CultureInfo.InvariantCulture)), Cell(Size(s.KvBytes)));
        return table;
    }

    private static Table Columns(params string[] names)
    {
        Table table = new Table().Border(TableBorder.None);
        foreach (string name in names)
            table.AddColumn(name, column => column.PadRight(2));
        return table;
    }

    private static string Tier(AdapterState state) => state switch
    {
        AdapterState.Resident or AdapterState.Active => "device",
        AdapterState.Staged => "RAM",
        _ => "disk",
    };

    private static Text Cell(string text) => new(text);

    private static Text Line(FormattableString text) => new(FormattableString.Invariant(text));

    private static string Size(long bytes) => bytes < 1 << 20 ? FormattableString.Invariant($"{bytes / 1024.0:F1} KiB") : FormattableString.Invariant($"{bytes / 1048576.0:F1} MiB");
}
