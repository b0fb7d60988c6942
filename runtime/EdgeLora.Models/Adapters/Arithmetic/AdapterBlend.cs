using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>How several adapters become one. The names and the meaning are those of PEFT's add_weighted_adapter (combination_type); s is always each adapter's own scale.</summary>
public enum BlendMethod
{
    /// <summary>The exact sum Σ w·ΔW, by stacking the factors: the ranks add up.</summary>
    Cat,
    /// <summary>Σ w·ΔW, decomposed exactly and cut to a rank.</summary>
    Svd,
    /// <summary>√(w·s) on each of A and B, added factor by factor. Not the sum of the deltas: cross terms arise.</summary>
    Linear,
    /// <summary>TIES on A and on B.</summary>
    Ties,
    /// <summary>TIES on ΔW, cut to a rank.</summary>
    TiesSvd,
    /// <summary>DARE on A and on B, added.</summary>
    DareLinear,
    /// <summary>DARE on A and on B, signs elected.</summary>
    DareTies,
    /// <summary>DARE on ΔW, added, cut to a rank.</summary>
    DareLinearSvd,
    /// <summary>DARE on ΔW, signs elected, cut to a rank.</summary>
    DareTiesSvd,
    /// <summary>The largest entries of A and of B, added.</summary>
    MagnitudePrune,
    /// <summary>The largest entries of ΔW, added, cut to a rank.</summary>
    MagnitudePruneSvd,
}

/// <summary>What a blend needs beside its adapters.</summary>
/// <param name="Method">The method.</param>
/// <param name="Weights">w of each adapter.</param>
public sealed record BlendOptions(BlendMethod Method, IReadOnlyList<double> Weights)
{
    /// <summary>The part of the entries that is kept, in (0, 1].</summary>
    public double Density { get; init; } = 1;

    /// <summary>How signs are elected.</summary>
    public SignElection Election { get; init; }

    /// <summary>Rank after decomposing; null: the largest rank of any adapter at the site, as in PEFT.</summary>
    public int? Rank { get; init; }

    /// <summary>In place of a rank: the smallest one whose relative error at the site is not above this.</summary>
    public double? Error { get; init; }

    /// <summary>Seed of DARE's draws: the same seed gives the same adapter.</summary>
    public int Seed { get; init; }
}

/// <summary>Blends adapters into one. Dense products are made only by the methods that prune ΔW, one site at a time.</summary>
public static class AdapterBlend
{
    /// <summary>Runs a blend. A site that only some adapters change takes their part alone. Throws <see cref="ModelFileException"/> naming everything that cannot be blended.</summary>
    /// <param name="operands">Adapters that <see cref="AdapterDeltas.Check"/> has passed.</param>
    /// <param name="options">Method and numbers.</param>
    /// <param name="progress">Told of sites done and in all.</param>
    /// <param name="cancellation">Stops between two sites.</param>
    public static AdapterResult Run(IReadOnlyList<AdapterDeltas> operands, BlendOptions options, Action<long, long>? progress = null, CancellationToken cancellation = default)
    {
        if (options.Weights.Count != operands.Count)
            throw new ArgumentException($"{operands.Count} adapters and {options.Weights.Count} weights");
        if (!(options.Density is > 0 and <= 1))
            throw new ArgumentException($"density {options.Density}: expected a number above 0 and at most 1");
        string title = string.Join(" + ", operands.Select(o => o.Name));
        string[] sites = [.. operands.SelectMany(o => o.Sites).Distinct().Order(StringComparer.Ordinal)];
        bool factorwise = options.Method is BlendMethod.Linear or BlendMethod.Ties or BlendMethod.DareLinear or BlendMethod.DareTies or BlendMethod.MagnitudePrune;
        FaultList faults = new(title);
        if (factorwise)
            foreach (string site in sites)
                if (operands.Where(o => o.Has(site)).Select(o => o.A(site).Shape[0]).Distinct().Count() > 1)
                    faults.Add($"{site}: {options.Method} adds factor by factor and needs one rank, found {string.Join(", ", operands.Where(o => o.Has(site)).Select(o => $"{o.Name} {o.A(site).Shape[0]}"))}; use cat, svd or a method on ΔW");
        faults.ThrowIfAny();
        AdapterAssembly assembly = new(operands[0]);
        Random random = new(options.Seed);
        for (int i = 0; i < sites.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            AdapterDeltas[] present = [.. operands.Where(o => o.Has(sites[i]))];
            double[] weights = [.. operands.Select((o, k) => (o, options.Weights[k])).Where(t => t.o.Has(sites[i])).Select(t => t.Item2)];
            (SiteFactors factors, double norm, double leftOut) = factorwise ? Factorwise(sites[i], present, weights, options, random) : OnDeltas(sites[i], present, weights, options, random);
            assembly.Add(sites[i], factors, present[0].A(sites[i]).Shape.Dimensions[2..], present[0].IsEmbedding(sites[i]), norm, leftOut);
            progress?.Invoke(i + 1, sites.Length);
        }
        return assembly.Build(title);
    }

    /// <summary>The same adapter with every scale times <paramref name="factor"/>: alphas change, no number of A or B does. The original stays the owner of the tensors.</summary>
    public static PeftAdapter Scaled(AdapterDeltas operand, double factor)
    {
        PeftConfig config = operand.Adapter.Config;
        return operand.Adapter.With(config with { Alpha = config.Alpha * factor, AlphaPattern = [.. config.AlphaPattern.Select(p => p with { Value = p.Value * factor })] });
    }

    private static (SiteFactors Factors, double Norm, double LeftOut) Factorwise(string site, AdapterDeltas[] present, double[] weights, BlendOptions options, Random random)
    {
        double[] scaled = [.. present.Select((p, i) => weights[i] * p.Scale(site))];
        // The sign goes to one side: on both it would cancel.
        double[] a = Merge([.. present.Select(p => LowRankRows.Widen(p.A(site).ToFloats()))], [.. scaled.Select(w => Math.Sqrt(Math.Abs(w)) * (w >= 0 ? 1 : -1))], options, random);
        double[] b = Merge([.. present.Select(p => LowRankRows.Widen(p.B(site).ToFloats()))], [.. scaled.Select(w => Math.Sqrt(Math.Abs(w)))], options, random);
        int rank = (int)present[0].A(site).Shape[0];
        SiteFactors factors = new(b, a, b.Length / rank, rank, a.Length / rank);
        return (factors, factors.Norm(), 0);
    }

    private static (SiteFactors Factors, double Norm, double LeftOut) OnDeltas(string site, AdapterDeltas[] present, double[] weights, BlendOptions options, Random random)
    {
        SiteFactors[] parts = [.. present.Select(p => p.Factors(site))];
        int rank = options.Rank ?? parts.Max(p => p.Rank);
        if (options.Method is BlendMethod.Cat or BlendMethod.Svd)
        {
            SiteFactors sum = SiteFactors.Sum(parts, weights);
            return options.Method == BlendMethod.Cat ? (sum, sum.Norm(), 0) : Cut(sum, rank, options.Error);
        }
        double[] dense = Merge([.. parts.Select(p => p.Dense())], weights, options, random);
        int outputs = parts[0].Outputs, columns = parts[0].Columns;
        (double[] left, double[] right, double leftOut, double norm) = ThinSvd.Leading(dense, outputs, columns, rank);
        return (new(left, right, outputs, Math.Min(rank, Math.Min(outputs, columns)), columns), norm, leftOut);
    }

    private static double[] Merge(double[][] tensors, double[] weights, BlendOptions options, Random random)
    {
        foreach (double[] tensor in tensors)
            switch (options.Method)
            {
                case BlendMethod.Ties or BlendMethod.TiesSvd or BlendMethod.MagnitudePrune or BlendMethod.MagnitudePruneSvd:
                    Pruning.Magnitude(tensor, options.Density);
                    break;
                case BlendMethod.DareLinear or BlendMethod.DareTies or BlendMethod.DareLinearSvd or BlendMethod.DareTiesSvd:
                    Pruning.Random(tensor, options.Density, random);
                    break;
            }
        return options.Method is BlendMethod.Ties or BlendMethod.TiesSvd or BlendMethod.DareTies or BlendMethod.DareTiesSvd
            ? Pruning.Disjoint(tensors, weights, options.Election)
            : Pruning.Sum(tensors, weights);
    }

    private static (SiteFactors, double, double) Cut(SiteFactors sum, int rank, double? error)
    {
        (double[] singular, Func<int, SiteFactors> leading) = sum.Decompose();
        double total = singular.Sum(s => s * s);
        if (error is { } most)
        {
            double rest = total;
            for (rank = 0; rank < singular.Length && rest > most * most * total; rank++)
                rest -= singular[rank] * singular[rank];
        }
        rank = Math.Clamp(rank, 1, singular.Length);
        double left = 0;
        for (int k = rank; k < singular.Length; k++)
            left += singular[k] * singular[k];
        return (leading(rank), Math.Sqrt(total), Math.Sqrt(left));
    }
}
