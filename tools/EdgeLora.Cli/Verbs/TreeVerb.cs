using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using EdgeLora.Models;
using Spectre.Console;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>tree</c>: the nodes with their ranks, bytes, state and faults.</summary>
internal static class TreeVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("tree", "Show an adapter tree: form, ranks, bytes, state and faults of every node; --walk shows the way between two nodes.");
        Argument<string> folder = new("folder") { Description = "The tree's folder." };
        Option<string[]> walk = new("--walk") { Description = "Two nodes: print what a switch leaves and enters. An empty text is the root.", Arity = new ArgumentArity(2, 2), AllowMultipleArgumentsPerToken = true, HelpName = "from to" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        command.Add(folder);
        command.Add(walk);
        command.Add(json);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            using EdgeHost host = EdgeHost.Open(result.GetRequiredValue(folder), new EdgeHostOptions { Device = "reference" });
            string[] ends = result.GetValue(walk) ?? [];
            TreeWalk? way = ends.Length == 2 ? TreeWalk.Between(host.Tree.Get(ends[0]), host.Tree.Get(ends[1])) : null;
            foreach (AdapterNode node in host.Tree.Nodes)
            {
                cancellation.ThrowIfCancellationRequested();
                host.Store.TryStage(node);
            }
            if (result.GetValue(json))
                io.WriteJson(w => WriteJson(w, host, way));
            else
                Show(io, host, way);
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }

    private static void WriteJson(Utf8JsonWriter w, EdgeHost host, TreeWalk? way)
    {
        w.WriteString("tree", host.Name);
        w.WriteStartObject("base");
        w.WriteString("modelType", host.Model.Config.ModelType);
        w.WriteNumber("bytes", host.Model.ByteLength);
        w.WriteString("fingerprint", host.Model.BaseFingerprint);
        w.WriteEndObject();
        w.WriteStartArray("nodes");
        foreach (AdapterNode node in host.Tree.Nodes.Skip(1))
        {
            w.WriteStartObject();
            w.WriteString("path", node.Path);
            w.WriteString("parent", node.Parent!.Path);
            w.WriteNumber("depth", node.Depth);
            w.WriteString("form", node.Form);
            w.WriteNumber("minRank", node.MinRank);
            w.WriteNumber("maxRank", node.MaxRank);
            w.WriteNumber("alpha", node.Alpha);
            w.WriteNumber("bytes", node.ByteLength);
            w.WriteString("state", State(node));
            w.WriteTexts("faults", node.Faults);
            w.WriteEndObject();
        }
        w.WriteEndArray();
        if (way is not { } walk)
            return;
        w.WriteStartObject("walk");
        w.WriteString("from", walk.From.Path);
        w.WriteString("to", walk.To.Path);
        w.WriteString("ancestor", walk.Ancestor.Path);
        w.WriteTexts("leave", walk.Leave.Select(n => n.Path));
        w.WriteTexts("enter", walk.Enter.Select(n => n.Path));
        w.WriteNumber("edges", walk.Edges);
        w.WriteEndObject();
    }

    private static void Show(CommandIo io, EdgeHost host, TreeWalk? way)
    {
        if (way is not { } walk)
        {
            Tree tree = new(new Text(FormattableString.Invariant($"{host.Name}: {host.Model.Config.ModelType}, {host.Model.ByteLength:N0} bytes, {host.Tree.Nodes.Count - 1} adapters")));
            foreach (AdapterNode child in host.Tree.Root.Children)
                Add(tree, child);
            io.Console().Write(tree);
            return;
        }
        foreach (AdapterNode node in walk.Leave)
            io.Output.WriteLine($"leave {node}");
        io.Output.WriteLine($"at    {walk.Ancestor}");
        foreach (AdapterNode node in walk.Enter)
            io.Output.WriteLine($"enter {node}");
        io.Output.WriteLine(FormattableString.Invariant($"{walk.Edges} edges"));
    }

    private static void Add(IHasTreeNodes parent, AdapterNode node)
    {
        string ranks = node.MinRank == node.MaxRank ? node.MaxRank.ToString(CultureInfo.InvariantCulture) : FormattableString.Invariant($"{node.MinRank}..{node.MaxRank}");
        string line = node.State == AdapterState.Faulted
            ? $"{node.Name}  faulted: {string.Join("; ", node.Faults)}"
            : FormattableString.Invariant($"{node.Name}  {node.Form} r {ranks}, alpha {node.Alpha}, {node.ByteLength:N0} bytes, {State(node)}");
        TreeNode shown = parent.AddNode(new Text(line));
        foreach (AdapterNode child in node.Children)
            Add(shown, child);
    }

    private static string State(AdapterNode node) => node.State.ToString().ToLowerInvariant();
}
