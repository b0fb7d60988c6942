using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Adapters;
using Xunit;

namespace EdgeLora.Tests.Hosting;

/// <summary>Adapters that come, change and go underneath.</summary>
public sealed class ReloadTests
{
    private static readonly int[] s_prompt = [0, 29, 202];

    private static readonly GenerationOptions s_ten = new() { MaxTokens = 10, IgnoreEnd = true };

    [Fact]
    public void A_folder_that_is_dropped_in_is_mounted_a_changed_one_reloaded_a_deleted_one_unmounted()
    {
        using RandomTree tree = new(51);
        tree.Add("", "a");
        using EdgeHost host = Open(tree);
        List<AdapterEvent> events = [];
        host.AdapterChanged += events.Add;
        host.Tick(Served.Budget);
        tree.Add("", "b");
        tree.Add("b", "c");
        Wait(host, () => host.Tree.Find("b/c")?.State == AdapterState.Staged && host.Tree.Get("b").State == AdapterState.Staged);
        Assert.Contains(events, e => e is { Kind: AdapterEventKind.Discovered, Node: "b/c" });
        Assert.Contains(events, e => e is { Kind: AdapterEventKind.Staged, Node: "b/c" });
        HostSession session = Served.Until(host, host.OpenSessionAsync("b/c"));
        int[] before = Say(host, session);
        events.Clear();
        tree.Add("", "b");
        Wait(host, () => events.Exists(e => e is { Kind: AdapterEventKind.Reloaded, Node: "b" }));
        // It stands on the generation it had; what it says next is said by the new one.
        Assert.Equal(new AdapterHandle("b/c", 0), session.Node);
        Served.Until(host, session.TruncateAsync(0));
        int[] after = Say(host, session);
        Assert.NotEqual(before, after);
        Assert.Equal(new AdapterHandle("b/c", 1), session.Node);
        Assert.Equal(Served.Alone(host, host.Enter("b/c"), s_prompt, 10), after);
        Directory.Delete(Path.Combine(tree.Folder, "b"), recursive: true);
        Wait(host, () => host.Tree.Find("b") is null && host.Tree.Find("b/c") is null);
        Assert.Contains(events, e => e is { Kind: AdapterEventKind.Unmounted, Node: "b/c" });
        // Whoever stands there may go on.
        Served.Until(host, session.TruncateAsync(0));
        Assert.Equal(after, Say(host, session));
    }

    [Theory, InlineData("truncated"), InlineData("garbage"), InlineData("config"), InlineData("other shape"), InlineData("not finite")]
    public void A_bad_file_leaves_the_last_good_generation_running_and_is_named(string kind)
    {
        using RandomTree tree = new(52);
        tree.Add("", "a");
        using EdgeHost host = Open(tree);
        List<AdapterEvent> events = [];
        host.AdapterChanged += events.Add;
        HostSession session = Served.Until(host, host.OpenSessionAsync("a", new HostSessionOptions { Reload = ReloadPolicy.MoveAtOnce }));
        int[] good = Say(host, session);
        string file = Path.Combine(tree.Folder, "a", "adapter_model.safetensors"), config = Path.Combine(tree.Folder, "a", "adapter_config.json");
        byte[] bytes = File.ReadAllBytes(file);
        switch (kind)
        {
            case "truncated":
                File.WriteAllBytes(file, bytes[..(bytes.Length / 2)]);
                break;
            case "garbage":
                File.WriteAllBytes(file, [.. Enumerable.Repeat((byte)0xEE, bytes.Length)]);
                break;
            case "config":
                File.WriteAllText(config, "{\"peft_type\": \"LORA\", \"r\": ");
                break;
            case "other shape":
                File.WriteAllText(config, File.ReadAllText(config).Replace("\"r\": 2", "\"r\": 3"));
                break;
            default:
                RandomTree.Overflow(Path.Combine(tree.Folder, "a"));
                break;
        }
        Wait(host, () => events.Exists(e => e is { Kind: AdapterEventKind.Faulted, Node: "a", Faults.Count: > 0 }));
        Assert.NotEmpty(host.Tree.Get("a").Faults);
        Served.Until(host, session.TruncateAsync(0));
        Assert.Equal(good, Say(host, session));
        Assert.Equal(0, session.Node.Generation);
        // Made good again, it is another generation with the same numbers.
        File.WriteAllBytes(file, bytes);
        File.WriteAllText(config, """{"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj", "v_proj", "down_proj"], "layers_to_transform": [0]}""");
        Wait(host, () => session.Node.Generation > 0);
        Served.Until(host, session.TruncateAsync(0));
        Assert.Equal(good, Say(host, session));
        Assert.Empty(host.Tree.Get("a").Faults);
        Assert.Equal(0, host.Store.RetiredCount);
    }

    [Fact]
    public void A_bad_file_of_a_node_that_waits_in_RAM_leaves_its_last_good_generation_there()
    {
        using RandomTree tree = new(57);
        tree.Add("", "a");
        tree.Add("", "b");
        using EdgeHost host = EdgeHost.Open(tree.Folder, new EdgeHostOptions { Watch = true, Threads = 1, StagedBudgetBytes = long.MaxValue, WatchInterval = TimeSpan.FromHours(1), AdapterBudgetBytes = 1 });
        HostSession session = Served.Until(host, host.OpenSessionAsync("a"));
        int[] good = Say(host, session);
        Served.Until(host, session.SwitchAsync("b"));
        Assert.True(host.Store.IsStaged(host.Tree.Get("a")));
        RandomTree.Overflow(Path.Combine(tree.Folder, "a"));
        ModelFileException refused = Assert.Throws<ModelFileException>(() => Served.Until(host, host.ReloadAsync("a")));
        Assert.Contains("not finite", refused.Message);
        Assert.NotEmpty(host.Tree.Get("a").Faults);
        Served.Until(host, session.TruncateAsync(0));
        Served.Until(host, session.SwitchAsync("a"));
        Assert.Equal(good, Say(host, session));
        // A good one takes its place.
        tree.Add("", "a");
        Assert.Equal(1, Served.Until(host, host.ReloadAsync("a")).Generation);
        Served.Until(host, session.TruncateAsync(0));
        Assert.NotEqual(good, Say(host, session));
    }

    [Fact]
    public void The_last_folder_that_is_deleted_is_unmounted_too()
    {
        using RandomTree tree = new(58);
        tree.Add("", "a");
        using EdgeHost host = Open(tree);
        host.Tick(Served.Budget);
        Directory.Delete(Path.Combine(tree.Folder, "a"), recursive: true);
        Wait(host, () => host.Tree.Find("a") is null);
    }

    [Fact]
    public void Sessions_that_want_to_move_at_once_do_so_between_two_tokens()
    {
        using RandomTree tree = new(53);
        tree.Add("", "a");
        // Not watched: the reload that is asked for is the only one.
        using EdgeHost host = EdgeHost.Open(tree.Folder, new EdgeHostOptions { Threads = 1 });
        HostSession mover = Served.Until(host, host.OpenSessionAsync("a", new HostSessionOptions { Reload = ReloadPolicy.MoveAtOnce })), keeper = Served.Until(host, host.OpenSessionAsync("a"));
        GenerationOptions many = new() { MaxTokens = 300, IgnoreEnd = true };
        int[] old = Served.Alone(host, host.Enter("a"), s_prompt, 300);
        var moving = Served.Collect(mover.GenerateAsync(s_prompt, many, TestContext.Current.CancellationToken));
        var keeping = Served.Collect(keeper.GenerateAsync(s_prompt, many, TestContext.Current.CancellationToken));
        while (mover.TokenCount < 20)
            host.Tick(TimeSpan.Zero);
        tree.Add("", "a");
        Task<AdapterHandle> reload = host.ReloadAsync("a");
        while (!reload.IsCompleted)
            host.Tick(TimeSpan.Zero);
        int at = mover.TokenCount - s_prompt.Length;
        Assert.Equal((1, 0), (mover.Node.Generation, keeper.Node.Generation));
        Assert.Equal(1, host.Store.RetiredCount);
        Assert.Equal(old, Served.Until(host, keeping).Tokens);
        int[] moved = Served.Until(host, moving).Tokens;
        Assert.NotEqual(old, moved);
        // From there on it is what the new generation says to the same text.
        int same = 0;
        while (moved[same] == old[same])
            same++;
        Assert.True(same >= at - 1, $"{same} tokens as before, moved at {at}");
        Assert.Equal(Served.Alone(host, host.Enter("a"), [.. s_prompt, .. moved[..at]], 300 - at), moved[at..]);
    }

    [Fact]
    public void An_adapter_from_elsewhere_is_mounted_by_hand_and_a_refused_one_is_not()
    {
        using RandomTree tree = new(54), other = new(55);
        other.Add("", "guest");
        using EdgeHost host = EdgeHost.Open(tree.Folder, new EdgeHostOptions { Threads = 1 });
        AdapterHandle handle = Served.Until(host, host.MountAsync(Path.Combine(other.Folder, "guest"), name: "visitor"));
        Assert.Equal(new AdapterHandle("visitor", 0), handle);
        HostSession session = Served.Until(host, host.OpenSessionAsync("visitor"));
        Assert.Equal(10, Say(host, session).Length);
        Assert.Throws<ArgumentException>(() => Served.Until(host, host.MountAsync(Path.Combine(other.Folder, "guest"), name: "visitor")));
        Assert.Throws<ModelFileException>(() => Served.Until(host, host.MountAsync(Path.Combine(other.Folder, "nothing"))));
        Assert.Equal(["", "visitor"], host.Tree.Nodes.Select(n => n.Path));
        Served.Until(host, host.UnmountAsync("visitor"));
        Assert.Null(host.Tree.Find("visitor"));
        Assert.Equal(1, host.Store.RetiredCount);
        session.Dispose();
        host.Tick(Served.Budget);
        Assert.Equal((0, 0L), (host.Store.RetiredCount, host.Store.ResidentBytes));
    }

    [Fact]
    public void An_editor_that_saves_by_renaming_reloads_once()
    {
        using RandomTree tree = new(56), other = new(57);
        tree.Add("", "a");
        other.Add("", "a");
        using EdgeHost host = Open(tree);
        HostSession session = Served.Until(host, host.OpenSessionAsync("a"));
        List<AdapterEvent> events = [];
        host.AdapterChanged += events.Add;
        host.Tick(Served.Budget);
        string file = Path.Combine(tree.Folder, "a", "adapter_model.safetensors");
        File.Copy(Path.Combine(other.Folder, "a", "adapter_model.safetensors"), file + "~");
        File.Move(file, file + ".old");
        File.Move(file + "~", file);
        File.Delete(file + ".old");
        Wait(host, () => events.Exists(e => e.Kind == AdapterEventKind.Reloaded));
        Thread.Sleep(300);
        host.Tick(Served.Budget);
        Assert.Single(events, e => e.Kind == AdapterEventKind.Reloaded);
        Assert.DoesNotContain(events, e => e.Kind is AdapterEventKind.Faulted or AdapterEventKind.Unmounted);
    }

    private static EdgeHost Open(RandomTree tree) =>
        EdgeHost.Open(tree.Folder, new EdgeHostOptions { Threads = 1, Watch = true, WatchInterval = TimeSpan.FromMilliseconds(100), WatchQuiet = TimeSpan.FromMilliseconds(20) });

    private static int[] Say(EdgeHost host, HostSession session) => Served.Until(host, Served.Collect(session.GenerateAsync(s_prompt, s_ten, TestContext.Current.CancellationToken))).Tokens;

    private static void Wait(EdgeHost host, Func<bool> condition)
    {
        DateTime end = DateTime.UtcNow.AddSeconds(30);
        while (!condition())
        {
            host.Tick(Served.Budget);
            Thread.Sleep(2);
            Assert.True(DateTime.UtcNow < end, "it did not happen in 30 s");
        }
    }
}
