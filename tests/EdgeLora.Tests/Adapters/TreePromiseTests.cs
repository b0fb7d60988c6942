using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>What the tree promises, on random trees over the shipped base.</summary>
public sealed class TreePromiseTests
{
    // F32 sums in another order, over logits of about ±15.
    private const double MergedTolerance = 2e-5;
    private static readonly int[] s_prompt = [0, 29, 202, 303, 300];

    [Theory, InlineData("cpu", 1000), InlineData("vulkan", 50)]
    public void Random_walks_away_and_back_give_the_same_bits(string device, int walks)
    {
        using RandomTree tree = new(11);
        Random random = new(12);
        List<string> nodes = [""];
        for (int i = 0; i < 12; i++)
            nodes.Add(tree.Add(nodes[random.Next(nodes.Count)], $"n{i}", random.Next(1, 5)));
        using EdgeHost host = Open(tree.Folder, device);
        float[][] fresh = nodes.Select(n => Logits(host, host.Enter(n))).ToArray();
        Assert.Equal(nodes.Count, fresh.Select(f => BitConverter.SingleToInt32Bits(f[100])).Distinct().Count());

        using Session session = host.CreateSession(host.Enter(""));
        session.Append(s_prompt);
        Batch batch = new(host.Model);
        for (int walk = 0; walk < walks; walk++)
        {
            int to = random.Next(nodes.Count);
            session.Switch(host.Enter(nodes[to]));
            batch.Run(session);
            Assert.True(session.Logits.SequenceEqual(fresh[to]), $"walk {walk} to '{nodes[to]}'");
        }
    }

    [Theory, InlineData("cpu"), InlineData("vulkan"), InlineData("onnx:cpu")]
    public void An_empty_path_is_the_base_bit_for_bit_also_beside_adapters(string device)
    {
        using RandomTree tree = new(13);
        string node = tree.Add("", "a");
        using EdgeHost host = Open(tree.Folder, device);
        using IComputeBackend backend = ComputeDevices.Open(device);
        using DecoderModel bare = DecoderModel.Load(BaseCheckpoint.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano", "base")), backend);
        float[] expected = new float[bare.Config.Vocabulary];
        ModelGolden.Logits(bare, AdapterPath.Root, s_prompt).AsSpan((s_prompt.Length - 1) * expected.Length).CopyTo(expected);
        Logits(host, host.Enter(node));
        Assert.Equal(expected, Logits(host, host.Enter("")));
    }

    [Fact]
    public void A_parent_of_a_thousand_children_is_resident_once()
    {
        using RandomTree tree = new(14);
        tree.Add("", "parent", 4);
        for (int i = 0; i < 1000; i++)
            tree.Add("parent", $"c{i}", 1);
        using EdgeHost host = EdgeHost.Open(tree.Folder);
        foreach (AdapterNode child in host.Tree.Get("parent").Children)
            host.Enter(child.Path);
        long Bytes(int rank) => sizeof(float) * (rank * (192 + 192) + rank * (96 + 192) + rank * (192 + 512));
        Assert.Equal(1001, host.Store.ResidentCount);
        Assert.Equal(Bytes(4) + 1000 * Bytes(1), host.Store.ResidentBytes);
        // The parent's steps are the very same objects on every path.
        LowRankStep[] first = [.. host.Tree.Get("parent").Children.Select(c => host.Enter(c.Path).Table[host.Model.Sites.Find("model.layers.0.self_attn.q_proj")!.Index]!.Steps[0])];
        Assert.All(first, step => Assert.Same(first[0].A, step.A));
    }

    [Theory, InlineData("cpu"), InlineData("vulkan")]
    public void A_resident_switch_and_a_generated_token_allocate_nothing(string device)
    {
        using EdgeHost host = Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"), device);
        AdapterNode kings = host.Tree.Get("shakespeare/kings"), holmes = host.Tree.Get("holmes");
        AdapterPath a = host.Store.Acquire(kings), b = host.Store.Acquire(holmes);
        using Session session = new(host.Model, a, reserveTokens: 512);
        session.Append(s_prompt);
        Generator generator = new(host.Model, session, new GenerationOptions { MaxTokens = 400, IgnoreEnd = true });
        // Both paths' slots and the step's buffers exist after one visit each.
        for (int i = 0; i < 20; i++)
        {
            session.Switch(i % 2 == 0 ? b : a);
            Assert.True(generator.Next(out _));
        }
        Assert.Equal(0, Least(() => Assert.True(generator.Next(out _))));
        Assert.Equal(0, Least(() =>
        {
            session.Switch(b);
            session.Switch(a);
            TreeWalk walk = TreeWalk.Between(kings, holmes);
            if (walk.Edges != 3 || !ReferenceEquals(host.Store.Acquire(holmes), b))
                throw new InvalidOperationException("the walk is wrong");
        }));
    }

    [Theory, InlineData("cpu"), InlineData("vulkan"), InlineData("onnx:cpu")]
    public void Segments_a_fused_overlay_and_the_sum_of_a_blend_agree(string device)
    {
        using EdgeHost host = Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"), device);
        foreach (string node in new[] { "shakespeare/kings/richard", "holmes", "math" })
        {
            using FusedPath overlay = host.Fuse(node);
            float[] segments = Logits(host, host.Enter(node)), fused = Logits(host, overlay.Path);
            Assert.True(GoldenError.Relative(fused, segments) <= MergedTolerance, $"{node}: {GoldenError.Relative(fused, segments):g3}");
        }
        float[] whole = Logits(host, host.Enter("restaurant")), halves = Logits(host, host.Blend([("restaurant", 0.5f), ("restaurant", 0.5f)]));
        Assert.True(GoldenError.Relative(halves, whole) <= MergedTolerance);
    }

    [Theory, InlineData("cpu"), InlineData("vulkan"), InlineData("onnx:cpu")]
    public void The_store_stays_within_its_budget_and_evicts_the_least_recently_used_but_no_ancestor_in_use(string device)
    {
        using RandomTree tree = new(15);
        for (int i = 0; i < 4; i++)
            tree.Add(tree.Add("", $"p{i}"), "c");
        using EdgeHost probe = Open(tree.Folder, device);
        probe.Enter("p0");
        long one = probe.Store.ResidentBytes;
        using EdgeHost host = Open(tree.Folder, device, 4 * one);
        float[] before = Logits(host, host.Enter("p0/c"));
        for (int i = 1; i < 4; i++)
        {
            host.Enter($"p{i}/c");
            host.Store.Release(host.Tree.Get($"p{i}/c"));
            Assert.True(host.Store.ResidentBytes <= 4 * one, $"{host.Store.ResidentBytes} > {4 * one}");
        }
        Assert.Equal(AdapterState.Active, host.Tree.Get("p0/c").State);
        Assert.Equal(AdapterState.Resident, host.Tree.Get("p0").State);
        Assert.Equal(AdapterState.Staged, host.Tree.Get("p1").State);
        Assert.Equal(4, host.Store.Evictions);
        Assert.Equal(before, Logits(host, host.Enter("p0/c")));
        Assert.NotNull(host.Enter("p1/c"));
    }

    [Theory, InlineData("cpu"), InlineData("vulkan"), InlineData("onnx:cpu")]
    public void Keeping_keys_and_values_replays_nothing_and_recomputing_afterwards_is_exact(string device)
    {
        using EdgeHost host = Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"), device);
        AdapterPath kings = host.Enter("shakespeare/kings"), root = host.Enter("");
        Batch batch = new(host.Model);
        using Session session = host.CreateSession(root);
        session.Append(s_prompt);
        batch.Run(session);
        session.Switch(kings, KvPolicy.Keep);
        Assert.Equal(s_prompt.Length, session.Cached);
        batch.Run(session);
        float[] exact = Logits(host, kings);
        Assert.False(session.Logits.SequenceEqual(exact), "kept keys and values of another path cannot be exact");
        session.Switch(root);
        Assert.Equal(0, session.Cached);
        session.Switch(kings);
        batch.Run(session);
        Assert.True(session.Logits.SequenceEqual(exact));
    }

    [Fact]
    public void A_refused_blend_leaves_nothing_pinned()
    {
        using RandomTree tree = new(16);
        tree.Add("", "good");
        tree.Add("", "bad");
        File.WriteAllText(Path.Combine(tree.Folder, "bad", "adapter_config.json"), "{}");
        using EdgeHost host = EdgeHost.Open(tree.Folder);
        Assert.Throws<ModelFileException>(() => host.Blend([("good", 1), ("bad", 1)]));
        Assert.Equal(AdapterState.Resident, host.Tree.Get("good").State);
        Assert.Equal(AdapterState.Faulted, host.Tree.Get("bad").State);
    }

    private static EdgeHost Open(string tree, string device, long budgetBytes = 1L << 30)
    {
        if (device == "vulkan")
            VulkanDriver.Require();
        return EdgeHost.Open(tree, new EdgeHostOptions { Device = device, AdapterBudgetBytes = budgetBytes });
    }

    private static float[] Logits(EdgeHost host, AdapterPath path)
    {
        using Session session = host.CreateSession(path);
        session.Append(s_prompt);
        new Batch(host.Model).Run(session);
        return session.Logits.ToArray();
    }

    // The least of several rounds: the runtime may allocate once while it retiers, a call's own allocation shows in every round.
    private static long Least(Action call)
    {
        long least = long.MaxValue;
        for (int round = 0; round < 20; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            call();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        return least;
    }
}
