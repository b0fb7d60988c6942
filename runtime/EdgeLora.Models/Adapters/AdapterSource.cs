using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What a fresh adapter takes from the base, in the orientation and row order of a checkpoint, F32: copies to train, norms for DoRA, leading parts for PiSSA.</summary>
/// <param name="site">The module.</param>
/// <param name="under">What the parents' path does there; null: nothing.</param>
public sealed class AdapterSource(ModelSite site, SiteAdapter? under)
{
    private readonly SiteAdapter _under = under ?? new([]);

    /// <summary>A copy of the weight as the parents left it, with everything that they add.</summary>
    public Tensor Weight()
    {
        Tensor weight = AdapterMerge.EffectiveWeight(site, _under);
        return Tensor.FromFloats(weight.Name, site.WeightLayout.ToFile(weight.Shape), site.WeightLayout.ToFile(weight.ToFloats(), weight.Shape));
    }

    /// <summary>A copy of the bias that goes with <see cref="Weight"/>; null where there is none.</summary>
    public Tensor? BiasOfWeight() => AdapterMerge.EffectiveBias(site, _under) is { } bias ? Copy(bias.ToFloats()) : null;

    /// <summary>A copy of the bias that the parents' low-rank steps stand beside; null where there is none.</summary>
    public Tensor? Bias() => (_under.Bias ?? site.Bias) is { } bias ? Copy(bias.ToFloats()) : null;

    /// <summary>‖W‖ of each output [O] (of each column of an embedding [D]): DoRA's magnitudes before anything was learned. W is the base's or what replaced it, as in <see cref="PathResolver"/>.</summary>
    public Tensor Norms() => Copy(Array.ConvertAll(new WeightRows(site, _under.Weight ?? AdapterMerge.StoredWeight(site), _under.Rows).Norms(), n => (float)n));

    /// <summary>
    /// PiSSA's start A₀ = √(Σ/s)·Vᵀ [R, I] and B₀ = U·√(Σ/s) [O, R], so that s·B₀·A₀ is the weight's leading part, which a path takes off the base again.
    /// Null where the leading singular values do not stand apart from the rest. arXiv:2404.02948.
    /// </summary>
    public (Tensor A, Tensor B)? LeadingFactors(int rank, double scale)
    {
        LinearSite linear = site.Linear!;
        if (BaseResidual.LeadingPart(linear, rank) is not var (left, right))
            return null;
        float[] a = new float[rank * linear.Inputs], b = new float[linear.Outputs * rank];
        for (int r = 0; r < rank; r++)
        {
            double sigma = 0;
            for (int i = 0; i < linear.Inputs; i++)
                sigma += right[r * linear.Inputs + i] * right[r * linear.Inputs + i];
            // Rows of the right part are σ·v: their norm is σ.
            sigma = Math.Sqrt(sigma);
            double root = Math.Sqrt(sigma / scale), part = sigma > 0 ? root / sigma : 0;
            for (int i = 0; i < linear.Inputs; i++)
                a[r * linear.Inputs + i] = (float)(part * right[r * linear.Inputs + i]);
            for (int o = 0; o < linear.Outputs; o++)
                b[o * rank + r] = (float)(root * left[o * rank + r]);
        }
        Shape shapeB = new(linear.Outputs, rank);
        return (Tensor.FromFloats("", new Shape(rank, linear.Inputs), a), Tensor.FromFloats("", shapeB, site.RowLayout.ToFile(b, shapeB)));
    }

    private Tensor Copy(float[] values) => Tensor.FromFloats(site.Name, new Shape(values.Length), site.RowLayout.ToFile(values, new Shape(values.Length)));
}
