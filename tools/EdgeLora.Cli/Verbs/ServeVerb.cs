using System.CommandLine;
using System.Globalization;
using EdgeLora.Cli.Attaching;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>serve</c>: a host that ticks and listens.</summary>
internal static class ServeVerb
{
    /// <summary>Whether a command line names this verb.</summary>
    public static bool IsNamed(string[] args) => args is ["serve", ..];

    /// <summary>The verb; its flags only for the command line that names it.</summary>
    public static Command Create(CommandIo io, bool withFlags)
    {
        Command command = new("serve", "Open a tree as a host that ticks and listens, for 'push' and 'attach', until Ctrl-C or SIGTERM.");
        if (withFlags)
            AddFlags(command, io);
        return command;
    }

    private static void AddFlags(Command command, CommandIo io)
    {
        Argument<string> tree = new("tree-or-model") { Description = "A tree folder (with base/, base.gguf or base.json), a model folder, a .gguf file, or hf:owner/name[@revision][:file] that 'pull' brought." };
        Option<string[]> listen = new("--listen") { Description = "A socket's path, a pipe's name, or a TCP port of 127.0.0.1 (0: any that is free), which wants a token to be shown; at most one of a kind. Default: a socket or pipe of its own, which 'attach' finds.", HelpName = "path|port" };
        Option<string?> token = new("--token") { Description = $"What TCP clients must show, 16 characters at least. Default: ${LinkArguments.TokenVariable}, else a random one, printed.", HelpName = "text" };
        Option<bool> watch = new("--watch") { Description = "Watch the tree's folder: folders dropped in are mounted, changed files reloaded, deleted ones unmounted." };
        Option<int> demo = new("--demo-sessions") { Description = "Sessions that keep talking, so that there is something to see. Default: 0.", HelpName = "count" };
        Option<int> pause = new("--demo-pause") { Description = "Milliseconds between two texts of such a session. Default: 250.", DefaultValueFactory = _ => 250, HelpName = "ms" };
        Option<double> budget = new("--budget") { Description = "Milliseconds of a tick. Default: 10.", DefaultValueFactory = _ => 10, HelpName = "ms" };
        Option<bool> json = new("--json") { Description = "Print where it listens as one line of JSON." };
        DeviceArguments device = new();
        demo.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<int>() is < 0 or > 1024)
                r.AddError("--demo-sessions: expected 0..1024");
        });
        pause.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<int>() is < 0 or > 3_600_000)
                r.AddError("--demo-pause: expected 0..3600000");
        });
        budget.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<double>() is not (>= 0 and <= 10_000))
                r.AddError("--budget: expected 0..10000");
        });
        command.Add(tree);
        device.AddTo(command);
        foreach (Option option in (Option[])[listen, token, watch, demo, pause, budget, json])
            command.Add(option);
        command.SetAction((result, cancellation) => Task.Run(async () =>
        {
            LinkOptions options = Options(result.GetValue(listen) ?? [], result.GetValue(token) ?? Environment.GetEnvironmentVariable(LinkArguments.TokenVariable));
            using EdgeHost host = EdgeHost.Open(result.GetRequiredValue(tree), new EdgeHostOptions
            {
                Device = device.Name(result),
                Threads = device.Threads(result),
                Int8Activations = device.Int8Activations(result),
                DeviceReport = DeviceArguments.Report,
                WatchShaders = device.WatchShaders(result),
                Watch = result.GetValue(watch),
            });
            using HostLink link = host.Listen(options);
            Tell(io, link, shown: options.Token is null, result.GetValue(json));
            Task ticking = host.RunAsync(cancellation, TimeSpan.FromMilliseconds(result.GetValue(budget)));
            Task talking = DemoSessions.RunAsync(host, result.GetValue(demo), TimeSpan.FromMilliseconds(result.GetValue(pause)), cancellation);
            try
            {
                // Without sessions the talking is over at once; a fault in either ends both. What is still said when the ticks end, the host's end ends.
                Task first = await Task.WhenAny(ticking, talking).ConfigureAwait(false);
                await first.ConfigureAwait(false);
                await ticking.ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
                // Ctrl-C is how it ends.
                await ticking.ConfigureAwait(false);
            }
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
    }

    private static LinkOptions Options(string[] listen, string? token)
    {
        string[] ports = [.. listen.Where(IsPort)], paths = [.. listen.Where(l => !IsPort(l))];
        if (ports.Length > 1 || paths.Length > 1)
            throw new UsageException("--listen: at most one path or name, and one port");
        return new()
        {
            Local = paths.Length > 0 || ports.Length == 0,
            LocalPath = paths.Length > 0 && !OperatingSystem.IsWindows() ? Path.GetFullPath(paths[0]) : paths.FirstOrDefault(),
            TcpPort = ports.Length > 0 ? ushort.Parse(ports[0], NumberStyles.None, CultureInfo.InvariantCulture) : null,
            Token = ports.Length > 0 ? token : null,
        };
    }

    private static bool IsPort(string text) => ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out _);

    private static void Tell(CommandIo io, HostLink link, bool shown, bool json)
    {
        string? token = shown ? link.Token : null;
        if (json)
        {
            io.WriteJson(w =>
            {
                w.WriteTexts("endpoints", link.Endpoints.Select(e => e.ToString()));
                if (token is not null)
                    w.WriteString("token", token);
                w.WriteNumber("processId", Environment.ProcessId);
            });
            return;
        }
        foreach (LinkEndpoint endpoint in link.Endpoints)
            io.Output.WriteLine($"listens at {endpoint}");
        if (token is not null)
            io.Output.WriteLine($"token {token}");
        io.Output.WriteLine("attach with 'edgelora attach'; Ctrl-C ends it");
        io.Output.Flush();
    }
}
