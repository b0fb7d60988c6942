using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Adapters;
using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Vulkan;

/// <summary>The tree's promises on a Vulkan device.</summary>
public sealed class VulkanHostTests
{
    // F32 sums in another order, over logits of about ±15.
    private const double Tolerance = 2e-5;

    private static readonly int[] s_prompt = [0, 29, 202, 303, 300];

    [Fact]
    public void A_greedy_run_on_stories260K_is_the_CPU_s_for_200_tokens()
    {
        string stories = SharedFolder.Require("data/lm-stories260k"), folder = Directory.CreateTempSubdirectory("edgelora-stories").FullName;
        VulkanDriver.Require();
        try
        {
            Llama2cConvert.ToHuggingFace(Path.Combine(stories, "stories260K.bin"), Path.Combine(stories, "tok512.bin"), folder);
            Assert.Equal(Greedy(folder, "cpu", 200), Greedy(folder, "vulkan", 200));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void A_switch_between_resident_nodes_records_nothing_and_brings_at_most_64_bytes_a_session()
    {
        using EdgeHost host = Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"));
        VulkanBackend backend = (VulkanBackend)host.Backend;
        AdapterPath[] nodes = [host.Enter("shakespeare/kings"), host.Enter("holmes"), host.Enter("math")];
        Session[] sessions = [.. Enumerable.Range(0, 3).Select(i => host.CreateSession(nodes[i]))];
        Batch batch = new(host.Model);
        foreach (Session session in sessions)
            session.Append(s_prompt);
        void Step(int round, bool walk)
        {
            for (int i = 0; i < sessions.Length; i++)
            {
                // Keep: a switch of adapters alone, without the replay of the text.
                if (walk)
                    sessions[i].Switch(nodes[(i + round) % nodes.Length], KvPolicy.Keep);
                sessions[i].Append(5 + round);
            }
            batch.Run(sessions);
        }
        for (int round = 0; round < 4; round++)
            Step(round, walk: true);
        const int steps = 24;
        VulkanCounters start = backend.Counters;
        for (int round = 4; round < 4 + steps; round++)
            Step(round, walk: false);
        VulkanCounters stayed = backend.Counters;
        for (int round = 4 + steps; round < 4 + 2 * steps; round++)
            Step(round, walk: true);
        VulkanCounters walked = backend.Counters;
        Assert.Equal(start.Recorded, walked.Recorded);
        Assert.Equal(start.UploadedBytes, walked.UploadedBytes);
        Assert.Equal(start.Submitted + 2 * steps, walked.Submitted);
        // A session is a row and a sequence in the control block, walking or not: 24 bytes each.
        Assert.Equal(stayed.ControlBytes - start.ControlBytes, walked.ControlBytes - stayed.ControlBytes);
        Assert.True(VulkanBackend.SessionBytes <= 64);
        foreach (Session session in sessions)
            session.Dispose();
    }

    [Fact]
    public void A_thousand_nodes_with_room_for_twenty_stay_within_the_budget_over_ten_thousand_switches()
    {
        using RandomTree tree = new(41);
        Random random = new(42);
        List<string> nodes = [];
        for (int i = 0; i < 1000; i++)
            nodes.Add(tree.Add(i < 10 || random.Next(3) == 0 ? "" : nodes[random.Next(Math.Min(i, 100))], $"n{i}"));
        using EdgeHost probe = Open(tree.Folder);
        probe.Enter(nodes[0]);
        long budget = 20 * probe.Store.ResidentBytes;
        using EdgeHost host = Open(tree.Folder, new EdgeHostOptions { Device = "vulkan", AdapterBudgetBytes = budget }), cpu = EdgeHost.Open(tree.Folder, new EdgeHostOptions { AdapterBudgetBytes = budget });
        VulkanBackend backend = (VulkanBackend)host.Backend;
        using Session session = host.CreateSession(AdapterPath.Root), other = cpu.CreateSession(AdapterPath.Root);
        session.Append(s_prompt);
        other.Append(s_prompt);
        Batch batch = new(host.Model), cpuBatch = new(cpu.Model);
        batch.Run(session);
        batch.Run(session);
        // Scratch of every size and the second frame's blocks are there after some steps.
        for (int i = 0; i < 20; i++)
            Visit(host, session, nodes[i], () => batch.Run(session));
        long rest = backend.Counters.DeviceBytes - host.Store.ResidentBytes;
        for (int i = 0; i < 10_000; i++)
        {
            string node = nodes[random.Next(random.Next(2) == 0 ? 100 : 1000)];
            bool compare = i % 500 == 0;
            Visit(host, session, node, () =>
            {
                if (compare)
                    batch.Run(session);
            });
            if (compare)
            {
                Visit(cpu, other, node, () => cpuBatch.Run(other));
                Assert.True(GoldenError.Relative(session.Logits, other.Logits) <= Tolerance, $"switch {i} to {node}: {GoldenError.Relative(session.Logits, other.Logits):g3}");
            }
            Assert.True(host.Store.ResidentBytes <= budget, $"switch {i}: {host.Store.ResidentBytes} of {budget}");
            Assert.True(backend.Counters.DeviceBytes <= budget + rest, $"switch {i}: {backend.Counters.DeviceBytes} of {budget} beside {rest}");
        }
        Assert.True(host.Store.Evictions > 1000);
    }

    private static EdgeHost Open(string tree, EdgeHostOptions? options = null)
    {
        VulkanDriver.Require();
        return EdgeHost.Open(tree, options ?? new EdgeHostOptions { Device = "vulkan" });
    }

    private static void Visit(EdgeHost host, Session session, string node, Action then)
    {
        session.Switch(host.Enter(node));
        then();
        session.Switch(AdapterPath.Root);
        host.Store.Release(host.Tree.Get(node));
    }

    private static int[] Greedy(string folder, string device, int tokens)
    {
        using EdgeHost host = EdgeHost.Open(folder, new EdgeHostOptions { Device = device });
        using Session session = host.CreateSession(AdapterPath.Root);
        session.Append(1);
        Batch batch = new(host.Model);
        for (int i = 0; i < tokens; i++)
        {
            batch.Run(session);
            session.Append(ArgMax.Of(session.Logits));
        }
        return session.Tokens.ToArray();
    }
}
