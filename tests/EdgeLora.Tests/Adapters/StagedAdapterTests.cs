using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Device, RAM, disk: where an adapter waits.</summary>
public sealed class StagedAdapterTests
{
    [Fact]
    public void An_evicted_adapter_waits_in_RAM_and_comes_back_without_the_disk()
    {
        using RandomTree tree = new(31);
        for (int i = 0; i < 6; i++)
            tree.Add("", $"n{i}");
        using EdgeHost host = EdgeHost.Open(tree.Folder, Options(device: 2, staged: 2));
        for (int i = 0; i < 4; i++)
            Visit(host, $"n{i}");
        Assert.Equal((2, 2, 4), (host.Store.ResidentCount, host.Store.StagedCount, (int)host.Store.DiskLoads));
        Visit(host, "n0");
        Assert.Equal((5, 4), ((int)host.Store.Loads, (int)host.Store.DiskLoads));
        for (int i = 1; i < 6; i++)
            Visit(host, $"n{i}");
        Assert.Equal(AdapterState.Evicted, host.Tree.Get("n0").State);
        Assert.Equal(AdapterState.Staged, host.Tree.Get("n3").State);
        Assert.Equal(AdapterState.Resident, host.Tree.Get("n5").State);
        Assert.True(host.Store.StagedBytes <= 2 * One && host.Store.ResidentBytes <= 2 * One);
    }

    [Fact]
    public void A_file_that_changed_while_its_adapter_waited_is_read_again()
    {
        using RandomTree tree = new(32);
        tree.Add("", "a");
        tree.Add("", "b");
        using EdgeHost host = EdgeHost.Open(tree.Folder, Options(device: 1, staged: 4));
        float[] before = Logits(host, "a");
        Visit(host, "b");
        Assert.Equal(AdapterState.Staged, host.Tree.Get("a").State);
        string file = Path.Combine(tree.Folder, "a", "adapter_model.safetensors"), other = Path.Combine(tree.Folder, "b", "adapter_model.safetensors");
        File.Copy(other, file + ".new");
        File.SetLastWriteTimeUtc(file + ".new", DateTime.UtcNow.AddMinutes(1));
        File.Move(file + ".new", file, overwrite: true);
        long disk = host.Store.DiskLoads;
        float[] after = Logits(host, "a");
        Assert.Equal(disk + 1, host.Store.DiskLoads);
        Assert.NotEqual(before, after);
        Assert.Equal(Logits(host, "b"), after);
    }

    [Fact]
    public void Children_and_siblings_are_fetched_ahead_while_there_is_room_and_nobody_is_evicted()
    {
        using RandomTree tree = new(33);
        tree.Add("", "p");
        for (int i = 0; i < 3; i++)
            tree.Add("p", $"c{i}");
        for (int i = 0; i < 3; i++)
            tree.Add("", $"s{i}");
        using EdgeHost host = EdgeHost.Open(tree.Folder, Options(device: 5, staged: 0));
        Visit(host, "p");
        Assert.Equal(0, host.Store.Prefetch(host.Tree.Get("p"), One - 1));
        Assert.Equal(One, host.Store.Prefetch(host.Tree.Get("p"), One));
        Assert.Equal(3 * One, host.Store.Prefetch(host.Tree.Get("p"), long.MaxValue));
        Assert.Equal((5, 0L), (host.Store.ResidentCount, host.Store.Evictions));
        Assert.All(host.Tree.Get("p").Children, c => Assert.Equal(AdapterState.Resident, c.State));
    }

    [Fact]
    public void The_bytes_of_a_trusted_container_are_taken_as_they_are_and_its_header_is_not()
    {
        using RandomTree tree = new(34);
        string folder = Path.Combine(tree.Folder, tree.Add("", "a"));
        float[] expected;
        using (EdgeHost host = EdgeHost.Open(tree.Folder))
            expected = Logits(host, "a");
        string elora = Path.Combine(folder, PeftAdapter.EdgeName);
        using (PeftAdapter adapter = PeftAdapter.Open(folder))
            adapter.WriteElora(elora + ".new", "a");
        foreach (string file in Directory.GetFiles(folder, "adapter_*"))
            File.Delete(file);
        File.Move(elora + ".new", elora);
        foreach (bool trust in (bool[])[false, true])
            using (EdgeHost host = EdgeHost.Open(tree.Folder, new EdgeHostOptions { TrustElora = trust }))
                Assert.Equal(expected, Logits(host, "a"));

        Turn(elora, ^1);
        using (EdgeHost host = EdgeHost.Open(tree.Folder))
            Assert.Contains("checksum", Assert.Throws<ModelFileException>(() => host.Enter("a")).Message);
        using (EdgeHost host = EdgeHost.Open(tree.Folder, new EdgeHostOptions { TrustElora = true }))
            Assert.NotEqual(expected, Logits(host, "a"));

        Turn(elora, 40);
        using (EdgeHost host = EdgeHost.Open(tree.Folder, new EdgeHostOptions { TrustElora = true }))
            Assert.Contains("header: the checksum", Assert.Throws<ModelFileException>(() => host.Enter("a")).Message);
    }

    private static void Turn(string file, Index at)
    {
        byte[] bytes = File.ReadAllBytes(file);
        bytes[at] ^= 0x40;
        File.WriteAllBytes(file, bytes);
    }

    private const long One = sizeof(float) * 2 * (192 + 192 + 96 + 192 + 192 + 512);

    private static EdgeHostOptions Options(int device, int staged) => new() { AdapterBudgetBytes = device * One, StagedBudgetBytes = staged * One };

    private static void Visit(EdgeHost host, string node)
    {
        host.Enter(node);
        host.Store.Release(host.Tree.Get(node));
    }

    private static float[] Logits(EdgeHost host, string node)
    {
        AdapterPath path = host.Enter(node);
        using Session session = host.CreateSession(path);
        session.Append(0, 29, 202);
        new Batch(host.Model).Run(session);
        host.Store.Release(host.Tree.Get(node));
        return session.Logits.ToArray();
    }
}
