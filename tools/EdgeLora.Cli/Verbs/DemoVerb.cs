using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using EdgeLora.Models;
using Spectre.Console;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>edgelora demo</c>: one base, one tree, the same prompt at several nodes, and walks between them in the middle of a text.</summary>
internal static class DemoVerb
{
    /// <summary>The command.</summary>
    public static Command Create(CommandIo io)
    {
        Command command = new("demo", "Show one base under a tree of adapters: tell, walk, measure. Takes the shipped tree where none is named.");
        Argument<string?> tree = new("tree") { Description = "A tree's folder.", Arity = ArgumentArity.ZeroOrOne };
        command.Add(tree);
        command.SetAction(result => Run(result.GetValue(tree) ?? ShippedTree(), io.Console()));
        return command;
    }

    private static readonly string[] s_stories = ["", "shakespeare", "shakespeare/kings/richard", "holmes"];

    private static readonly (string Node, string Prompt)[] s_tasks =
    [
        ("assistant", "<|user|>Edit the following sentence for grammar.\nHe go to the park every day.<|end|><|assistant|>"),
        ("assistant/polite", "<|user|>Edit the following sentence for grammar.\nHe go to the park every day.<|end|><|assistant|>"),
        ("restaurant", "<|user|>name : Blue Spice | Type : pub | area : riverside<|end|><|assistant|>"),
    ];

    /// <summary>Runs the demonstration on <paramref name="tree"/>; 0 when every promise it shows held.</summary>
    public static int Run(string tree, IAnsiConsole console)
    {
        Stopwatch opened = Stopwatch.StartNew();
        using EdgeHost host = EdgeHost.Open(tree);
        console.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"[bold]EdgeLora[/] on {host.Backend.Description}. Opened {tree} in {opened.Elapsed.TotalMilliseconds:0} ms.");
        ShowTree(host, console);
        console.MarkupLine("\n[bold]One prompt, several nodes[/] — \"Once upon a time\", greedy");
        foreach (string node in s_stories)
            Tell(host, node, "<|endoftext|>Once upon a time", console);
        console.MarkupLine("\n[bold]What a node was taught[/]");
        foreach ((string node, string prompt) in s_tasks)
            Tell(host, node, "<|endoftext|>" + prompt, console);
        WalkMidSession(host, console);
        bool same = AwayAndBack(host, console);
        bool once = host.Store.ResidentCount == host.Tree.Nodes.Count(n => n.State is AdapterState.Active or AdapterState.Resident);
        console.MarkupLineInterpolated(CultureInfo.InvariantCulture,
            $"\nIn memory: the base once, {Bytes(host.Model.ByteLength)} mapped and read-only, under {host.Store.ResidentCount} resident adapters of {Bytes(host.Store.ResidentBytes)} together, each held once.");
        return same && once ? 0 : 1;
    }

    /// <summary>adapters/nano of the checkout or beside the program. Throws <see cref="DirectoryNotFoundException"/>.</summary>
    public static string ShippedTree()
    {
        foreach (string start in new[] { Directory.GetCurrentDirectory(), AppContext.BaseDirectory })
            for (DirectoryInfo? d = new(start); d is not null; d = d.Parent)
                if (Directory.Exists(Path.Combine(d.FullName, "adapters", "nano", "base")))
                    return Path.GetRelativePath(Directory.GetCurrentDirectory(), Path.Combine(d.FullName, "adapters", "nano"));
        throw new DirectoryNotFoundException("adapters/nano was found neither above the current folder nor above the program: name a tree");
    }

    private static void ShowTree(EdgeHost host, IAnsiConsole console)
    {
        Spectre.Console.Tree view = new(Markup.Escape($"base  {host.Model.Config.ModelType}, {Bytes(host.Model.ByteLength)}"));
        Dictionary<AdapterNode, IHasTreeNodes> drawn = new() { [host.Tree.Root] = view };
        foreach (AdapterNode node in host.Tree.Nodes.Skip(1))
        {
            host.Store.TryStage(node);
            string about = node.State == AdapterState.Faulted
                ? $"[red]{Markup.Escape(string.Join("; ", node.Faults))}[/]"
                : Markup.Escape($"{node.Form} r {(node.MinRank == node.MaxRank ? $"{node.MinRank}" : $"{node.MinRank}-{node.MaxRank}")}, {Bytes(node.ByteLength)}");
            drawn[node] = drawn[node.Parent!].AddNode($"[green]{Markup.Escape(node.Name)}[/]  {about}");
        }
        console.Write(view);
    }

    private static void Tell(EdgeHost host, string node, string prompt, IAnsiConsole console)
    {
        using Session session = host.CreateSession(host.Enter(node));
        session.Append(host.Tokenizer!.EncodeIds(prompt, addSpecialTokens: false));
        string text = Continue(host, session, 32);
        console.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"  [green]{(node.Length == 0 ? "(base)" : node)}[/] {text.Trim().ReplaceLineEndings(" ⏎ ")}");
    }

    private static string Continue(EdgeHost host, Session session, int tokens)
    {
        Generator generator = new(host.Model, session, new GenerationOptions { MaxTokens = tokens, EndIds = EndIds(host) });
        List<int> ids = [];
        while (generator.Next(out int token))
            ids.Add(token);
        return host.Tokenizer!.Decode(ids.ToArray());
    }

    // A dialogue's turn ends with <|end|>, which the base's config does not list.
    private static List<int> EndIds(EdgeHost host)
    {
        List<int> ids = [.. host.Model.Config.EndIds];
        if (host.Tokenizer!.TokenId("<|end|>") is { } end)
            ids.Add(end);
        return ids;
    }

    private static void WalkMidSession(EdgeHost host, IAnsiConsole console)
    {
        console.MarkupLine("\n[bold]Walking in the middle of a text[/] — one session, its keys and values recomputed exactly at each stop");
        string[] stops = ["", "shakespeare/kings", "holmes", ""];
        AdapterPath[] paths = Array.ConvertAll(stops, host.Enter);
        using Session session = host.CreateSession(paths[0]);
        session.Append(host.Tokenizer!.EncodeIds("<|endoftext|>Once upon a time", addSpecialTokens: false));
        for (int i = 0; i < stops.Length; i++)
        {
            if (i > 0)
            {
                TreeWalk walk = TreeWalk.Between(host.Tree.Get(stops[i - 1]), host.Tree.Get(stops[i]));
                (long loads, long bytes) = (host.Store.Loads, host.Store.ResidentBytes);
                double microseconds = MeasureSwitch(session, paths[i - 1], paths[i]);
                console.MarkupLineInterpolated(CultureInfo.InvariantCulture,
                    $"  leave {Names(walk.Leave)}, enter {Names(walk.Enter)}: {walk.Edges} edges, {host.Store.Loads - loads} adapters loaded, {host.Store.ResidentBytes - bytes} bytes moved, {microseconds:0.00} µs");
            }
            console.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"  [green]{(stops[i].Length == 0 ? "(base)" : stops[i])}[/] {Continue(host, session, 14).Trim().ReplaceLineEndings(" ⏎ ")}");
        }
    }

    // One switch is below the clock's step: go back and forth, and count.
    private static double MeasureSwitch(Session session, AdapterPath from, AdapterPath to)
    {
        const int rounds = 2000;
        Stopwatch watch = Stopwatch.StartNew();
        for (int i = 0; i < rounds; i++)
        {
            session.Switch(to);
            session.Switch(from);
        }
        double each = watch.Elapsed.TotalMicroseconds / (2 * rounds);
        session.Switch(to);
        return each;
    }

    private static bool AwayAndBack(EdgeHost host, IAnsiConsole console)
    {
        int[] ids = host.Tokenizer!.EncodeIds("<|endoftext|>Once upon a time", addSpecialTokens: false);
        AdapterPath home = host.Enter("shakespeare");
        float[] before = Logits(host, home, ids);
        foreach (AdapterNode node in host.Tree.Nodes)
            if (node.State != AdapterState.Faulted)
                Logits(host, host.Enter(node.Path), ids);
        bool same = before.AsSpan().SequenceEqual(Logits(host, home, ids));
        console.MarkupLineInterpolated(CultureInfo.InvariantCulture,
            $"\n[bold]Away and back[/]: shakespeare, through all {host.Tree.Nodes.Count} nodes, shakespeare again: {(same ? "the same bits" : "DIFFERENT BITS")}.");
        return same;
    }

    private static float[] Logits(EdgeHost host, AdapterPath path, int[] ids)
    {
        using Session session = host.CreateSession(path);
        session.Append(ids);
        new Batch(host.Model).Run(session);
        return session.Logits.ToArray();
    }

    private static string Names(IReadOnlyList<AdapterNode> nodes) => nodes.Count == 0 ? "nothing" : string.Join(" > ", nodes.Select(n => n.Name));

    private static string Bytes(long bytes) => bytes < 1 << 20
        ? string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:0.0} KiB")
        : string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:0.00} MiB");
}
