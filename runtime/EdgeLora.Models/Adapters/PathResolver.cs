using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Resolves what a path does at each site, once for each prefix and never per token: a child's table is its parent's with its own steps behind; what a child does not
/// touch is the parent's object. DoRA, in path order: <c>y ← m/‖W + s·B·A‖ ∘ (y + s·B·A·x)</c> with y the result so far and W the base's weight (or the one that replaced
/// it): the norm is over this adapter's own delta, so order counts (arXiv:2402.09353, PEFT's order).
/// A strength is a factor on an adapter's own scale; negative takes away, 0 leaves the adapter out. Replaced weights, biases and rows know no strength: they are taken
/// whole unless it is 0; IA3, OFT and BOFT go that part of the way from the identity. DoRA's norm is that of W + strength·ΔW. What PiSSA and OLoRA took off the base goes with the strength too.
/// </summary>
public static class PathResolver
{
    /// <summary>Extends a parent's path by one adapter. Throws <see cref="ModelFileException"/> where two adapters on it have different invocation tokens.</summary>
    public static AdapterPath Extend(AdapterPath parent, string name, SiteCatalog sites, IComputeBackend backend, ResidentAdapter adapter, float strength = 1)
    {
        int[]? invocation = strength == 0 ? null : adapter.Adapter.Config.InvocationTokens;
        if (invocation is not null && parent.Invocation is { } other && !other.AsSpan().SequenceEqual(invocation))
            throw new ModelFileException(name, $"alora_invocation_tokens: expected [{string.Join(", ", other)}] as its parents have, found [{string.Join(", ", invocation)}]");
        SiteTable table = Extend(parent.Table, sites, adapter, strength);
        if (invocation is null && parent.Invocation is null)
            return new(name, table);
        SiteTable before = invocation is not null ? parent.BeforeInvocation : Extend(parent.BeforeInvocation, sites, adapter, strength);
        return new(name, table, invocation ?? parent.Invocation, before);
    }

    /// <summary>
    /// Resolves adapters in order, each with its strength: a path without a tree, or a blend. An adapter that is named more than once (a common ancestor of the blended
    /// nodes) stands once, where it came first, with the sum of its strengths.
    /// </summary>
    public static AdapterPath Resolve(string name, SiteCatalog sites, IComputeBackend backend, IReadOnlyList<(ResidentAdapter Adapter, float Strength)> adapters)
    {
        AdapterPath path = AdapterPath.Root;
        HashSet<ResidentAdapter> seen = [];
        foreach ((ResidentAdapter adapter, float _) in adapters)
            if (seen.Add(adapter))
                path = Extend(path, name, sites, backend, adapter, adapters.Sum(a => ReferenceEquals(a.Adapter, adapter) ? a.Strength : 0));
        return path;
    }

    private static SiteTable Extend(SiteTable parent, SiteCatalog sites, ResidentAdapter adapter, float strength)
    {
        if (strength == 0 || adapter.Deltas.Count + adapter.Bottlenecks.Count == 0)
            return parent;
        SiteAdapter?[] table = new SiteAdapter?[sites.Count];
        for (int i = 0; i < table.Length; i++)
            table[i] = parent[i];
        foreach (ResidentDelta delta in adapter.Deltas)
            table[delta.Host.Site.Index] = Extend(table[delta.Host.Site.Index] ?? new SiteAdapter([]), adapter, delta, strength);
        foreach ((int index, BottleneckStep step) in adapter.Bottlenecks)
            table[index] = new([], Bottlenecks: [.. table[index]?.Bottlenecks ?? [], strength == 1 ? step : adapter.Scaled(step, strength)]);
        return new(table);
    }

    private static SiteAdapter Extend(SiteAdapter site, ResidentAdapter adapter, ResidentDelta delta, float strength)
    {
        if (site.ScaledForNext && (delta.Weight is not null || delta.Rows is not null || delta.Host.LowRank is not null || delta.Bias is not null))
            throw new ModelFileException(adapter.Adapter.Name, $"{delta.Host.Site.Name}: a parent (IA3) scales its outputs for the layer behind; no later adapter can act there. Merge the parent first");
        if (delta.Weight is not null)
            site = new([], delta.Weight, site.Bias);
        if (delta.Rows is not null)
            site = site with { Rows = site.Rows is null ? delta.Rows : adapter.RowsOver(site.Rows, delta) };
        if (delta.Host.Map is { } map)
            site = Mapped(site, adapter, delta, map, strength);
        if (delta.Host.LowRank is { } lowRank)
            site = site with { Steps = AddSteps(site, adapter, delta, lowRank, strength) };
        return delta.Bias is null ? site : site with { Bias = delta.Bias };
    }

    // W·T under all steps so far is s·B·(A·T) beside W·T: what a step does to outputs stays.
    private static SiteAdapter Mapped(SiteAdapter site, ResidentAdapter adapter, ResidentDelta delta, WeightMap map, float strength)
    {
        if (map.Inputs is not null)
            site = site with { Weight = adapter.MappedWeight(delta, site, strength), Rows = null, Steps = [.. site.Steps.Select(s => s with { A = adapter.MappedA(delta, s.A, strength) })] };
        if (map.Gain is null)
            return site;
        DeviceTensor? bias = map.ScalesBias ? site.Bias ?? delta.Host.Site.Bias : null;
        return site with
        {
            Steps = [.. site.Steps, adapter.GainStep(delta, strength)],
            Bias = bias is null ? site.Bias : adapter.ScaledBias(delta, bias, strength),
            ScaledForNext = site.ScaledForNext || map.ForNext,
        };
    }

    private static LowRankStep[] AddSteps(SiteAdapter site, ResidentAdapter adapter, ResidentDelta delta, LowRankDelta lowRank, float strength)
    {
        float scale = lowRank.Scale * strength;
        List<LowRankStep> steps = [.. site.Steps];
        if (delta.ResidualA is not null)
            steps.Add(new(delta.ResidualA, delta.ResidualB!, (int)delta.ResidualA.Shape[0], -strength));
        DeviceTensor? gain = null;
        if (lowRank.Magnitude is not null)
            gain = adapter.Gain(delta, scale, shared: site.Weight is null && site.Rows is null, DoraSiteOf(site, delta, scale, strength));
        steps.Add(new(delta.A!, delta.B!, lowRank.Rank, scale, delta.OutputBias, gain, delta.Host.Site.Embedding is null ? adapter.Dropout : null));
        return [.. steps];
    }

    private static DoraSite DoraSiteOf(SiteAdapter under, ResidentDelta delta, float scale, float strength)
    {
        ModelSite site = delta.Host.Site;
        LowRankStep own = new(delta.A!, delta.B!, delta.Host.LowRank!.Rank, scale);
        return new(site.Name, under.Weight ?? AdapterMerge.StoredWeight(site), WeightRows.AreInputs(site), under.Rows,
            delta.ResidualA is null ? [own] : [own, new(delta.ResidualA, delta.ResidualB!, (int)delta.ResidualA.Shape[0], -strength)]);
    }
}
