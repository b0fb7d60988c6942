using System.Runtime.CompilerServices;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Fused mode on the shipped tree: what an overlay weighs, who holds it, and that it is gone when they leave.</summary>
public sealed class FusedOverlayTests
{
    // holmes acts on q and v of six layers; the base has no biases.
    private const long HolmesBytes = 6L * sizeof(float) * (192 * 192 + 96 * 192);
    private static readonly int[] s_prompt = [0, 29, 202, 303, 300];

    [Fact]
    public void An_overlay_is_dropped_when_the_last_session_leaves_and_its_budget_is_free_again()
    {
        using EdgeHost host = Open(HolmesBytes);
        using Session session = host.CreateSession(host.Enter("")), other = host.CreateSession(host.Enter(""));
        using (FusedPath fused = host.Fuse("holmes"))
        {
            Assert.Equal(HolmesBytes, fused.Bytes);
            session.Switch(fused.Path);
            other.Switch(fused.Path);
        }
        session.Switch(host.Enter("math"));
        Assert.Equal(HolmesBytes, host.Overlays.Bytes);
        Assert.Equal(AdapterState.Active, host.Tree.Get("holmes").State);
        Assert.Contains("0 are left", Assert.Throws<InvalidOperationException>(() => host.Fuse("restaurant")).Message);
        other.Switch(host.Enter(""), KvPolicy.Keep);
        Assert.Equal(0, host.Overlays.Bytes);
        Assert.Equal(AdapterState.Resident, host.Tree.Get("holmes").State);
        using FusedPath again = host.Fuse("holmes");
        Assert.Equal(HolmesBytes, host.Overlays.Bytes);
    }

    [Fact]
    public void Holders_of_one_node_share_one_overlay_and_each_counts_once()
    {
        using EdgeHost host = Open(HolmesBytes);
        FusedPath one = host.Fuse("holmes"), two = host.Fuse("holmes");
        Assert.Same(one.Path, two.Path);
        Assert.Equal(HolmesBytes, host.Overlays.Bytes);
        one.Dispose();
        one.Dispose();
        Assert.Equal(HolmesBytes, host.Overlays.Bytes);
        Session session = host.CreateSession(two.Path);
        two.Dispose();
        Assert.Equal(HolmesBytes, host.Overlays.Bytes);
        session.Dispose();
        session.Dispose();
        Assert.Equal(0, host.Overlays.Bytes);
        Assert.Equal(AdapterState.Resident, host.Tree.Get("holmes").State);
    }

    [Fact]
    public void A_dropped_path_is_refused_and_the_session_stays_where_it_is()
    {
        using EdgeHost host = Open(HolmesBytes);
        AdapterPath dropped;
        using (FusedPath fused = host.Fuse("holmes"))
            dropped = fused.Path;
        AdapterPath math = host.Enter("math");
        using Session session = host.CreateSession(math);
        Assert.Contains("fuse the node again", Assert.Throws<ObjectDisposedException>(() => session.Switch(dropped)).Message);
        Assert.Same(math, session.Path);
        Assert.Throws<ObjectDisposedException>(() => host.CreateSession(dropped));
        Assert.Throws<ObjectDisposedException>(() => dropped.Table);
        Assert.NotNull(Logits(host, math));
    }

    [Fact]
    public void A_node_that_is_fused_again_gives_the_same_bits()
    {
        using EdgeHost host = Open(long.MaxValue);
        float[] Fused()
        {
            using FusedPath fused = host.Fuse("shakespeare/kings");
            return Logits(host, fused.Path);
        }
        float[] first = Fused();
        Assert.Equal(0, host.Overlays.Bytes);
        Assert.Equal(first, Fused());
    }

    [Fact]
    public void The_memory_of_a_dropped_overlay_goes_back_though_sessions_remember_the_path()
    {
        using EdgeHost host = Open(HolmesBytes);
        using Session session = host.CreateSession(host.Enter(""));
        Batch batch = new(host.Model);
        session.Append(s_prompt);
        WeakReference weight = Visit(host, session, batch);
        GC.Collect();
        Assert.False(weight.IsAlive);
    }

    [Fact]
    public void An_overlay_beyond_its_budget_is_refused_and_nothing_is_held()
    {
        using EdgeHost host = Open(1000);
        Assert.Contains("1000", Assert.Throws<InvalidOperationException>(() => host.Fuse("holmes")).Message);
        Assert.Equal(0, host.Overlays.Bytes);
        Assert.Equal(AdapterState.Resident, host.Tree.Get("holmes").State);
    }

    [Fact]
    public void Holders_on_many_threads_build_one_overlay_and_leave_none()
    {
        using EdgeHost host = Open(HolmesBytes);
        for (int round = 0; round < 5; round++)
        {
            Parallel.For(0, 16, _ =>
            {
                using FusedPath fused = host.Fuse("holmes");
                using Session session = host.CreateSession(fused.Path);
                Assert.Equal(HolmesBytes, host.Overlays.Bytes);
            });
            Assert.Equal(0, host.Overlays.Bytes);
            Assert.Equal(AdapterState.Resident, host.Tree.Get("holmes").State);
        }
    }

    // In a method of its own, so that no local of the test keeps the weight.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference Visit(EdgeHost host, Session session, Batch batch)
    {
        using FusedPath fused = host.Fuse("holmes");
        session.Switch(fused.Path);
        batch.Run(session);
        WeakReference weight = new(fused.Path.Table[host.Model.Sites.Find("model.layers.0.self_attn.q_proj")!.Index]!.Weight);
        Assert.True(weight.IsAlive);
        session.Switch(host.Enter(""));
        return weight;
    }

    private static EdgeHost Open(long overlayBudgetBytes) =>
        EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"), new EdgeHostOptions { OverlayBudgetBytes = overlayBudgetBytes });

    private static float[] Logits(EdgeHost host, AdapterPath path)
    {
        using Session session = host.CreateSession(path);
        session.Append(s_prompt);
        new Batch(host.Model).Run(session);
        return session.Logits.ToArray();
    }
}
