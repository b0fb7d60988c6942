using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// What PiSSA and OLoRA took off the base before training, rebuilt from the untouched base in F64: a low-rank part that a path takes off again, so that the
/// base itself is never written. Strength scales it with the adapter: at 0 the base is whole.
/// Cost a weight [O, I] of rank r: OLoRA O·r² + O·I·r; PiSSA O·I·(2r + 16) for each of some tens of rounds (seconds for 4096×4096, once when staged).
/// </summary>
internal static class BaseResidual
{
    /// <summary>A0 [R, I] and B0 [O, R] with residual = W − B0·A0; null where the adapter's initialisation left the base alone. Throws <see cref="ModelFileException"/> where it cannot be rebuilt.</summary>
    public static (Tensor A, Tensor B)? Of(LoraAdapter adapter, SiteDelta delta)
    {
        if (adapter.Config.Residual == PeftResidual.None || delta.LowRank is null)
            return null;
        ModelSite site = delta.Site;
        bool pissa = adapter.Config.Residual == PeftResidual.Pissa;
        if (site.Linear is not { } linear || linear.InputMajor && !pissa)
            throw Refusal(adapter, site, pissa, "is defined for linear layers only");
        // PiSSA divides the singular values by s first, so s drops out; OLoRA takes off s·Q·R.
        int rank = Math.Min(delta.LowRank.Rank, Math.Min(linear.Outputs, linear.Inputs));
        (double[] b, double[] a) = pissa
            ? LeadingPart(linear, rank) ?? throw Refusal(adapter, site, pissa, "the leading part does not stand apart from the rest")
            : QrPart(LowRankRows.Widen(linear.Weight.ToFloats()), linear.Outputs, linear.Inputs, rank) ?? throw Refusal(adapter, site, pissa, "the first columns depend on each other");
        double scale = pissa ? 1 : delta.LowRank.Scale;
        return (Tensor.FromFloats($"{site.Name}.residual_A", new Shape(rank, linear.Inputs), Array.ConvertAll(a, x => (float)x)),
            Tensor.FromFloats($"{site.Name}.residual_B", new Shape(linear.Outputs, rank), Array.ConvertAll(b, x => (float)(x * scale))));
    }

    /// <summary>U [O, R] and S·Vᵀ [R, I] of the weight's largest singular values, in its stored row order; null where they do not settle.</summary>
    internal static (double[] Left, double[] Right)? LeadingPart(LinearSite linear, int rank)
    {
        double[] w = LowRankRows.Widen(linear.Weight.ToFloats());
        if (linear.InputMajor)
            w = ThinSvd.Transpose(w, linear.Inputs, linear.Outputs);
        return ThinSvd.Truncate(w, linear.Outputs, linear.Inputs, rank);
    }

    // First r columns of Q by Gram-Schmidt, twice (as good as Householder's), and R's rows = Qᵀ·W. Signs cancel in the product.
    private static (double[] Q, double[] R)? QrPart(double[] w, int outputs, int inputs, int rank)
    {
        double[] columns = new double[rank * outputs];
        for (int c = 0; c < rank; c++)
            for (int o = 0; o < outputs; o++)
                columns[c * outputs + o] = w[o * inputs + c];
        if (ThinSvd.Orthonormalize(columns, rank, outputs) < rank)
            return null;
        double[] r = new double[rank * inputs];
        for (int c = 0; c < rank; c++)
            for (int o = 0; o < outputs; o++)
                LowRankRows.AddScaled(columns[c * outputs + o], w.AsSpan(o * inputs, inputs), r.AsSpan(c * inputs, inputs));
        return (ThinSvd.Transpose(columns, rank, outputs), r);
    }

    private static ModelFileException Refusal(LoraAdapter adapter, ModelSite site, bool pissa, string why) =>
        new(adapter.File.FilePath, $"{site.Name}: init_lora_weights {(pissa ? "pissa" : "olora")}: {why}");
}
