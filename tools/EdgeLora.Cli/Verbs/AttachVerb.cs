using System.CommandLine;
using System.Text.Json;
using EdgeLora.Cli.Attaching;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>attach</c>: a running host, seen and changed from another process.</summary>
internal static class AttachVerb
{
    /// <summary>Whether a command line names this verb.</summary>
    public static bool IsNamed(string[] args) => args is ["attach", ..];

    /// <summary>The verb; its flags and sub-verbs only for the command line that names it.</summary>
    public static Command Create(CommandIo io, bool withFlags)
    {
        Command command = new("attach", "Watch a running host: its tree, memory, sessions, ticks and events, live on a terminal, once elsewhere; sub-verbs list and change what it serves.");
        if (withFlags)
            AddFlags(command, io);
        return command;
    }

    private static void AddFlags(Command command, CommandIo io)
    {
        Option<bool> once = new("--once") { Description = "Show it once; always where the output is no terminal." };
        Option<bool> json = new("--json") { Description = "Print lines of JSON: once, or one a piece of news for tail.", Recursive = true };
        LinkArguments link = new();
        link.AddTo(command);
        command.Add(json);
        command.Add(once);
        command.SetAction(async (result, cancellation) =>
        {
            using LinkClient asking = await link.ConnectAsync(result, cancellation).ConfigureAwait(false), tailing = await link.ConnectAsync(result, cancellation).ConfigureAwait(false);
            if (!result.GetValue(once) && !result.GetValue(json) && !io.OutputRedirected)
            {
                await Dashboard.RunAsync(io, asking, tailing, cancellation).ConfigureAwait(false);
                return EdgeLoraCommand.Ok;
            }
            HostView view = await Dashboard.OnceAsync(asking, tailing, cancellation).ConfigureAwait(false);
            if (result.GetValue(json))
                io.WriteJson(view.Write);
            else
                io.Console().Write(view.Render());
            return EdgeLoraCommand.Ok;
        });

        Command Sub(string name, string description, Func<ParseResult, LinkClient, CancellationToken, Task<(string Text, Action<Utf8JsonWriter> Json)>> work, params Symbol[] symbols)
        {
            Command sub = new(name, description);
            foreach (Symbol symbol in symbols)
                if (symbol is Argument argument)
                    sub.Add(argument);
                else
                    sub.Add((Option)symbol);
            sub.SetAction(async (result, cancellation) =>
            {
                using LinkClient client = await link.ConnectAsync(result, cancellation).ConfigureAwait(false);
                (string text, Action<Utf8JsonWriter> fields) = await work(result, client, cancellation).ConfigureAwait(false);
                if (result.GetValue(json))
                    io.WriteJson(fields);
                else
                    io.Output.WriteLine(text);
                return EdgeLoraCommand.Ok;
            });
            command.Add(sub);
            return sub;
        }

        Sub("list", "The tree: state, generation, form, ranks, bytes and faults of every node.", async (result, client, cancellation) =>
        {
            IReadOnlyList<LinkNode> nodes = await client.ListAsync(cancellation).ConfigureAwait(false);
            return (string.Join('\n', nodes.SelectMany(Lines)), w => LinkJson.Write(w, nodes));
        });
        Sub("sessions", "Where each session stands and how far it is.", async (result, client, cancellation) =>
        {
            IReadOnlyList<LinkSession> sessions = await client.SessionsAsync(cancellation).ConfigureAwait(false);
            return (string.Join('\n', sessions.Select(s => FormattableString.Invariant($"{s.Id} {(s.Node.Node.Length == 0 ? "(base)" : s.Node.Node)} #{s.Node.Generation} {LinkJson.Name(s.State)}, {s.TokenCount} tokens, {s.KvBytes:N0} bytes"))), w => LinkJson.Write(w, sessions));
        });
        Sub("stats", "The host in numbers.", async (result, client, cancellation) =>
        {
            HostStats s = await client.StatsAsync(cancellation).ConfigureAwait(false);
            return (FormattableString.Invariant($"""
                {s.Ticks} ticks, {s.TicksKept} kept, median {s.TickMedian.TotalMilliseconds:F2} ms, 99 % {s.Tick99.TotalMilliseconds:F2} ms; {s.Steps} steps, {s.PromptTokens} prompt tokens, {s.NewTokens} new tokens
                {s.Sessions} sessions, {s.Running} running, {s.Waiting} waiting; keys and values {s.KvBytes:N0} bytes
                base {s.BaseBytes:N0} bytes; on the device {s.ResidentAdapters} adapters, {s.ResidentBytes:N0} bytes; in RAM {s.StagedAdapters} adapters, {s.StagedBytes:N0} bytes; replaced, still used {s.RetiredAdapters}; {s.Loads} loads, {s.Evictions} evictions
                """), w => LinkJson.Write(w, s));
        });
        Argument<string> folder = new("folder") { Description = "An adapter in the host's file system; 'push' sends one from here." }, node = new("node") { Description = "A path in the tree; an empty text is the base." };
        Option<string?> at = new("--as") { Description = "Its path in the tree. Default: below the base, with the folder's name.", HelpName = "path" };
        Sub("mount", "Mount an adapter that lies in the host's file system.", async (result, client, cancellation) =>
        {
            string? path = result.GetValue(at)?.Trim('/');
            int slash = path?.LastIndexOf('/') ?? -1;
            // A relative folder is meant from here, not from where the host was started.
            return Done(await client.MountAsync(Path.GetFullPath(result.GetRequiredValue(folder)), slash < 0 ? "" : path![..slash], path?[(slash + 1)..], cancellation).ConfigureAwait(false));
        }, folder, at);
        Sub("unmount", "Take a node and what builds on it out of the tree; sessions on it stay until they walk.", async (result, client, cancellation) =>
        {
            string path = result.GetRequiredValue(node);
            await client.UnmountAsync(path, cancellation).ConfigureAwait(false);
            return ($"{path}: unmounted", w => w.WriteString("node", path));
        }, node);
        Sub("reload", "Have a node's files read again.", async (result, client, cancellation) => Done(await client.ReloadAsync(result.GetRequiredValue(node), cancellation).ConfigureAwait(false)), node);
        Argument<string> session = new("session") { Description = "A session's id, see 'attach sessions', or all." };
        session.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<string>() is { } id && id != "all" && !long.TryParse(id, out _))
                r.AddError($"session: expected its id or all, found '{id}'");
        });
        Sub("switch", "Walk a session, or all of them, to a node.", async (result, client, cancellation) =>
        {
            string to = result.GetRequiredValue(node), id = result.GetRequiredValue(session);
            int walked = await client.SwitchAsync(to, id == "all" ? null : long.Parse(id, System.Globalization.CultureInfo.InvariantCulture), cancellation).ConfigureAwait(false);
            return (FormattableString.Invariant($"{walked} {(walked == 1 ? "session" : "sessions")} to {(to.Length == 0 ? "(base)" : to)}"), w => w.WriteNumber("switched", walked));
        }, session, node);
        AddTail(command, io, link, json);
    }

    private static void AddTail(Command command, CommandIo io, LinkArguments link, Option<bool> json)
    {
        Command tail = new("tail", "Print what happens to adapters, line by line, until Ctrl-C or the host's end.");
        Option<bool> recent = new("--recent") { Description = "The last 64 events before, first." };
        Option<int?> ticks = new("--ticks") { Description = "Also what the ticks did, every so many milliseconds. Default: not.", HelpName = "ms" };
        ticks.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<int?>() is not (null or (>= 10 and <= 3_600_000)))
                r.AddError("--ticks: expected 10..3600000");
        });
        tail.Add(recent);
        tail.Add(ticks);
        tail.SetAction(async (result, cancellation) =>
        {
            using LinkClient client = await link.ConnectAsync(result, cancellation).ConfigureAwait(false);
            TimeSpan? every = result.GetValue(ticks) is { } ms ? TimeSpan.FromMilliseconds(ms) : null;
            try
            {
                await foreach (LinkNews news in client.TailAsync(result.GetValue(recent), every, cancellation).ConfigureAwait(false))
                    if (result.GetValue(json))
                    {
                        io.WriteJson(w => LinkJson.Write(w, news));
                    }
                    else
                    {
                        io.Output.WriteLine(Line(news));
                        io.Output.Flush();
                    }
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
                // Ctrl-C is how one leaves.
            }
            return EdgeLoraCommand.Ok;
        });
        command.Add(tail);
    }

    private static (string Text, Action<Utf8JsonWriter> Json) Done(AdapterHandle handle) => (FormattableString.Invariant($"{handle.Node}: generation {handle.Generation}"), w => LinkJson.Write(w, handle));

    private static IEnumerable<string> Lines(LinkNode n) =>
    [
        n.Path.Length == 0 ? FormattableString.Invariant($"(base) {n.ByteLength:N0} bytes") : FormattableString.Invariant($"{n.Path} #{n.Generation} {LinkJson.Name(n.State)}{(n.Form is null ? "" : $", {n.Form}")}, rank {n.MinRank}..{n.MaxRank}, {n.ByteLength:N0} bytes"),
        .. n.Faults.Select(f => "  ! " + f),
    ];

    private static string Line(LinkNews news) => news switch
    {
        { Event: { } happened } => $"{happened.Time.ToLocalTime():HH:mm:ss.fff} {happened}",
        { Ticks: { } t } => FormattableString.Invariant($"{t.Ticks} ticks, {t.Kept} kept, longest {t.Longest.TotalMilliseconds:F2} ms; {t.Steps} steps, {t.PromptTokens} prompt tokens, {t.NewTokens} new tokens; {t.Running} running, {t.Waiting} waiting"),
        _ => FormattableString.Invariant($"{news.Dropped} events were dropped"),
    };
}
