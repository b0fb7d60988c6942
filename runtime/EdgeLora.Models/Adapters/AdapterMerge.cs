using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>The weight that a path makes of a site's: what merging writes and fused mode runs. F32, computed in F64, a site at a time.</summary>
public static class AdapterMerge
{
    /// <summary>The base's stored weight (or gain) of a site.</summary>
    public static DeviceTensor StoredWeight(ModelSite site) => site.Linear?.Weight ?? site.Embedding?.Table ?? site.Norm!.Gain;

    /// <summary>W' of a site in the base's own orientation: replaced weight and rows, then every step with its gain.</summary>
    public static Tensor EffectiveWeight(ModelSite site, SiteAdapter adapter)
    {
        DeviceTensor stored = adapter.Weight ?? StoredWeight(site);
        float[] start = stored.ToFloats();
        if (adapter.Rows is { } rows)
        {
            float[] values = rows.Values.ToFloats();
            int width = rows.Values.Columns;
            for (int i = 0; i < rows.Ids.Length; i++)
                values.AsSpan(i * width, width).CopyTo(start.AsSpan(rows.Ids[i] * width));
        }
        if (adapter.Steps.Length == 0)
            return Tensor.FromFloats(stored.Name, stored.Shape, start);
        float[] oriented = Oriented(site, start);
        int outputs = adapter.Steps[0].B.Shape.Rank > 0 ? (int)adapter.Steps[0].B.Shape[0] : 0, inputs = oriented.Length / outputs;
        double[] w = Array.ConvertAll(oriented, x => (double)x);
        foreach (LowRankStep step in adapter.Steps)
        {
            float[] a = step.A.ToFloats(), b = step.B.ToFloats();
            float[]? gain = step.Gain?.ToFloats();
            for (int o = 0; o < outputs; o++)
            {
                Span<double> row = w.AsSpan(o * inputs, inputs);
                for (int r = 0; r < step.Rank; r++)
                {
                    double up = (double)step.Scale * b[o * step.Rank + r];
                    for (int i = 0; i < inputs; i++)
                        row[i] += up * a[r * inputs + i];
                }
                if (gain is not null)
                    for (int i = 0; i < inputs; i++)
                        row[i] *= gain[o];
            }
        }
        return Tensor.FromFloats(stored.Name, stored.Shape, Oriented(site, Array.ConvertAll(w, x => (float)x), back: true));
    }

    /// <summary>The bias that goes with <see cref="EffectiveWeight"/>; null where neither base nor path has one.</summary>
    public static Tensor? EffectiveBias(ModelSite site, SiteAdapter adapter)
    {
        DeviceTensor? stored = adapter.Bias ?? site.Linear?.Bias ?? site.Norm?.Bias;
        bool added = adapter.Steps.Any(s => s.OutputBias is not null);
        if (stored is null && !added)
            return null;
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

    /// <summary>[O, I] from the stored orientation ([I, O] for Conv1D and tables), or back.</summary>
    internal static float[] Oriented(ModelSite site, float[] weight, bool back = false)
    {
        if (site.Linear is { InputMajor: false } || site.Norm is not null)
            return weight;
        int storedRows = (int)StoredWeight(site).Shape[0], storedColumns = StoredWeight(site).Columns;
        (int rows, int columns) = back ? (storedColumns, storedRows) : (storedRows, storedColumns);
        float[] result = new float[weight.Length];
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++)
                result[c * rows + r] = weight[r * columns + c];
        return result;
    }
}
