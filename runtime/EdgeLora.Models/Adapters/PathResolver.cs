using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Resolves what a path does at each site, once for each prefix and never per token: a child's table is its parent's with its own steps behind.
/// DoRA: <c>y ← m/‖W + s·B·A‖ ∘ (y + s·B·A·x)</c> with W the untouched base and y the result so far, so order counts (arXiv:2402.09353, PEFT's order).
/// </summary>
public static class PathResolver
{
    /// <summary>Extends a parent's path by one adapter. Throws <see cref="ModelFileException"/> where two adapters on it have different invocation tokens.</summary>
    public static AdapterPath Extend(AdapterPath parent, string name, SiteCatalog sites, IComputeBackend backend, ResidentAdapter adapter, float strength = 1)
    {
        int[]? invocation = adapter.Adapter.Config.InvocationTokens;
        if (invocation is not null && parent.Invocation is { } other && !other.AsSpan().SequenceEqual(invocation))
            throw new ModelFileException(name, $"alora_invocation_tokens: expected [{string.Join(", ", other)}] as its parents have, found [{string.Join(", ", invocation)}]");
        SiteTable table = Extend(parent.Table, sites, backend, adapter, strength);
        if (invocation is null && parent.Invocation is null)
            return new(name, table);
        SiteTable before = invocation is not null ? parent.BeforeInvocation : Extend(parent.BeforeInvocation, sites, backend, adapter, strength);
        return new(name, table, invocation ?? parent.Invocation, before);
    }

    /// <summary>Resolves adapters in order, each with its strength: a path without a tree, or a blend.</summary>
    public static AdapterPath Resolve(string name, SiteCatalog sites, IComputeBackend backend, IReadOnlyList<(ResidentAdapter Adapter, float Strength)> adapters)
    {
        AdapterPath path = AdapterPath.Root;
        foreach ((ResidentAdapter adapter, float strength) in adapters)
            path = Extend(path, name, sites, backend, adapter, strength);
        return path;
    }

    private static SiteTable Extend(SiteTable parent, SiteCatalog sites, IComputeBackend backend, ResidentAdapter adapter, float strength)
    {
        SiteAdapter?[] table = new SiteAdapter?[sites.Sites.Count];
        for (int i = 0; i < table.Length; i++)
            table[i] = parent[i];
        foreach (SiteDelta delta in adapter.Adapter.Deltas)
            table[delta.Site.Index] = Extend(table[delta.Site.Index] ?? new SiteAdapter([]), delta, backend, adapter, strength);
        return new(table);
    }

    private static SiteAdapter Extend(SiteAdapter site, SiteDelta delta, IComputeBackend backend, ResidentAdapter adapter, float strength)
    {
        if (delta.Weight is not null)
            site = new([], adapter.Device(delta.Weight), site.Bias);
        if (delta.Bias is not null)
            site = site with { Bias = adapter.Device(delta.Bias) };
        if (delta.TokenIds is not null)
            site = site with { Rows = Merge(site.Rows, delta.TokenIds, delta.TokenRows!, backend, adapter) };
        if (delta.A is null)
            return site;
        List<LowRankStep> steps = [.. site.Steps];
        if (adapter.Adapter.Config.BaseChange is { } change)
            steps.Add(BaseResidual.Step(change, delta, backend));
        float scale = (float)(delta.Scale * strength);
        DeviceTensor? gain = delta.Magnitude is null ? null : backend.Upload(Gain(delta, scale));
        steps.Add(new(adapter.Device(delta.A), adapter.Device(delta.B!), (int)delta.A.Shape[0], scale, delta.LoraBias is null ? null : adapter.Device(delta.LoraBias), gain));
        return site with { Steps = [.. steps] };
    }

    private static ReplacedRows Merge(ReplacedRows? parent, int[] ids, Tensor rows, IComputeBackend backend, ResidentAdapter adapter)
    {
        if (parent is null)
            return new(ids, adapter.Device(rows));
        SortedDictionary<int, float[]> merged = [];
        int width = rows.Shape.Columns;
        float[] old = parent.Values.ToFloats(), values = rows.ToFloats();
        for (int i = 0; i < parent.Ids.Length; i++)
            merged[parent.Ids[i]] = old.AsSpan(i * width, width).ToArray();
        for (int i = 0; i < ids.Length; i++)
            merged[ids[i]] = values.AsSpan(i * width, width).ToArray();
        float[] all = merged.Values.SelectMany(r => r).ToArray();
        return new([.. merged.Keys], backend.Upload(Tensor.FromFloats(rows.Name, new Shape(merged.Count, width), all)));
    }

    // m/‖W + s·B·A‖, the norm over the inputs of each output (for a table: over the vocabulary, for each dimension).
    private static Tensor Gain(SiteDelta delta, float scale)
    {
        float[] w = AdapterMerge.Oriented(delta.Site, AdapterMerge.StoredWeight(delta.Site).ToFloats()), a = delta.A!.ToFloats(), b = delta.B!.ToFloats(), m = delta.Magnitude!.ToFloats();
        int outputs = m.Length, inputs = w.Length / outputs, rank = (int)delta.A.Shape[0];
        double[] row = new double[inputs];
        float[] gain = new float[outputs];
        for (int o = 0; o < outputs; o++)
        {
            for (int i = 0; i < inputs; i++)
                row[i] = w[o * inputs + i];
            for (int r = 0; r < rank; r++)
            {
                double up = (double)scale * b[o * rank + r];
                for (int i = 0; i < inputs; i++)
                    row[i] += up * a[r * inputs + i];
            }
            double square = 0;
            foreach (double v in row)
                square += v * v;
            gain[o] = (float)(m[o] / Math.Sqrt(square));
        }
        return Tensor.FromFloats(delta.Site.Name + ".gain", new Shape(outputs), gain);
    }
}
