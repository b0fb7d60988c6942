using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>How paths share what they are made of. Adapters: ../shared/fixtures/peft, made by scripts/peft_adapters.py there.</summary>
public sealed class PathResolverTests
{
    [Fact]
    public void A_child_s_table_holds_its_parent_s_own_objects()
    {
        using PeftFixture fixture = new("llama-tree");
        ResidentAdapter p = fixture.Stage("p"), c = fixture.Stage("c");
        AdapterPath parent = fixture.Resolve((p, 1)), child = PathResolver.Extend(parent, "p/c", fixture.Model.Sites, fixture.Model.Backend, c);
        HashSet<int> touched = [.. c.Adapter.Deltas.Select(d => d.Site.Index)];
        foreach (ModelSite site in fixture.Model.Sites.Sites)
        {
            if (!touched.Contains(site.Index))
                Assert.Same(parent.Table[site.Index], child.Table[site.Index]);
            else if (parent.Table[site.Index] is { } own)
                Assert.Equal(own.Steps, child.Table[site.Index]!.Steps[..own.Steps.Length]);
        }
    }

    [Fact]
    public void Two_paths_through_one_adapter_share_its_tensors_and_gains()
    {
        using PeftFixture fixture = new("llama-stack");
        ResidentAdapter a = fixture.Stage("a"), d = fixture.Stage("d");
        AdapterPath first = fixture.Resolve((d, 1)), second = fixture.Resolve((a, 1), (d, 1));
        foreach (SiteDelta delta in d.Adapter.Deltas)
        {
            LowRankStep one = first.Table[delta.Site.Index]!.Steps[^1], two = second.Table[delta.Site.Index]!.Steps[^1];
            Assert.Same(one.A, two.A);
            Assert.Same(one.B, two.B);
            Assert.Same(one.Gain, two.Gain);
            Assert.NotNull(one.Gain);
        }
    }

    [Fact]
    public void Strength_zero_leaves_an_adapter_out()
    {
        using PeftFixture fixture = new("llama-stack");
        ResidentAdapter d = fixture.Stage("d");
        Assert.Same(SiteTable.Base, fixture.Resolve((d, 0)).Table);
        AdapterPath parent = fixture.Resolve((fixture.Stage("a"), 1));
        Assert.Same(parent.Table, PathResolver.Extend(parent, "x", fixture.Model.Sites, fixture.Model.Backend, d, 0).Table);
    }

    [Fact]
    public void An_adapter_named_twice_in_a_blend_stands_once_with_the_sum_of_its_strengths()
    {
        using PeftFixture fixture = new("llama-tree");
        ResidentAdapter p = fixture.Stage("p"), c = fixture.Stage("c"), s = fixture.Stage("s");
        AdapterPath blend = fixture.Resolve((p, 0.25f), (c, 0.25f), (p, 0.75f), (s, 0.75f));
        SiteDelta delta = p.Adapter.Deltas.First(d => d.LowRank is not null);
        Assert.Single(blend.Table[delta.Site.Index]!.Steps, t => t.Scale == delta.LowRank!.Scale);
    }

    [Fact]
    public void What_PiSSA_took_off_the_base_goes_with_the_adapter_s_strength()
    {
        using PeftFixture fixture = new("llama-pissa");
        ResidentAdapter trained = fixture.Stage("trained"), converted = fixture.Stage("converted");
        AdapterPath a = fixture.Resolve((trained, 0.5f)), b = fixture.Resolve((converted, 0.5f));
        foreach (SiteDelta delta in trained.Adapter.Deltas)
        {
            Tensor one = AdapterMerge.EffectiveWeight(delta.Site, a.Table[delta.Site.Index]!), two = AdapterMerge.EffectiveWeight(delta.Site, b.Table[delta.Site.Index]!);
            Assert.True(GoldenError.Relative(one.Floats, two.Floats) < 2e-5);
        }
    }

    [Fact]
    public void An_activated_adapter_acts_after_its_invocation_only()
    {
        using PeftFixture fixture = new("llama-alora");
        AdapterPath path = fixture.Resolve((fixture.Stage(), 1));
        Assert.NotNull(path.Invocation);
        Assert.Same(SiteTable.Base, path.BeforeInvocation);
        Assert.NotSame(SiteTable.Base, path.Table);
    }

    [Fact]
    public void Later_rows_win_over_earlier_ones_and_the_others_stay()
    {
        float[] table = new float[12];
        ReferenceBackend backend = new();
        ModelSite site = new("embed_tokens", Embedding: new("embed_tokens", 0, backend.Upload(Tensor.FromFloats("embed_tokens.weight", new Shape(6, 2), table))));
        SiteCatalog sites = new([site], null, "embed_tokens", false, 1);
        using ResidentAdapter first = Rows([4, 1], [1, 1, 2, 2]), second = Rows([1, 3], [3, 3, 4, 4]);
        ReplacedRows rows = PathResolver.Resolve("path", sites, backend, [(first, 1), (second, 1)]).Table[0]!.Rows!;
        Assert.Equal([1, 3, 4], rows.Ids);
        Assert.Equal([3, 3, 4, 4, 1, 1], rows.Values.ToFloats());

        ResidentAdapter Rows(int[] ids, float[] values)
        {
            PeftConfig config = new() { PeftType = "TRAINABLE_TOKENS", TargetModules = ["embed_tokens"], TokenRows = [new(null, ids)] };
            Tensor delta = Tensor.FromFloats(PeftAdapter.NameOf(config, "embed_tokens", PeftPart.TokenRows), new Shape(ids.Length, 2), values);
            TensorFile file = new("memory", new Dictionary<string, Tensor> { [delta.Name] = delta }, new Dictionary<string, string>(), []);
            return ResidentAdapter.Stage(LoraAdapter.Fit(PeftAdapter.From("memory", config, file), sites, "rows"), backend);
        }
    }
}
