using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>The weight that a path makes of a site's: what merging writes and fused mode runs. F32, computed in F64, a site at a time.</summary>
public static class AdapterMerge
{
    /// <summary>The base's stored weight (or gain) of a site.</summary>
    public static DeviceTensor StoredWeight(ModelSite site) => site.Linear?.Weight ?? site.Embedding?.Table ?? site.Norm!.Gain;

    /// <summary>W' of a site in the base's own orientation: replaced weight and rows, then every step with its gain. It has the name of the base's tensor.</summary>
    public static Tensor EffectiveWeight(ModelSite site, SiteAdapter adapter)
    {
        DeviceTensor stored = adapter.Weight ?? StoredWeight(site);
        // A norm's gain is a row without columns; it has no steps.
        return Tensor.FromFloats(StoredWeight(site).Name, stored.Shape, site.Norm is not null ? stored.ToFloats() : new WeightRows(site, stored, adapter.Rows).Apply(adapter.Steps));
    }

    /// <summary>Whether <see cref="EffectiveBias"/> gives one.</summary>
    public static bool HasBias(ModelSite site, SiteAdapter adapter) => StoredBias(site, adapter) is not null || adapter.Steps.Any(s => s.OutputBias is not null);

    /// <summary>The bias that goes with <see cref="EffectiveWeight"/>; null where neither base nor path has one.</summary>
    public static Tensor? EffectiveBias(ModelSite site, SiteAdapter adapter)
    {
        if (!HasBias(site, adapter))
            return null;
        DeviceTensor? stored = StoredBias(site, adapter);
        int outputs = site.Linear?.Outputs ?? stored!.Columns;
        double[] bias = new double[outputs];
        foreach (LowRankStep step in adapter.Steps)
        {
            float[]? own = step.OutputBias?.ToFloats(), gain = step.Gain?.ToFloats();
            for (int o = 0; o < outputs; o++)
                bias[o] = (bias[o] + (own is null ? 0 : (double)step.Scale * own[o])) * (gain?[o] ?? 1);
        }
        float[]? start = stored?.ToFloats();
        for (int o = 0; o < outputs; o++)
            bias[o] += start?[o] ?? 0;
        return Tensor.FromFloats(site.Name + ".bias", new Shape(outputs), Array.ConvertAll(bias, x => (float)x));
    }

    private static DeviceTensor? StoredBias(ModelSite site, SiteAdapter adapter) => adapter.Bias ?? site.Bias;
}
