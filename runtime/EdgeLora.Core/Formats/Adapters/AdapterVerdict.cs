namespace EdgeLora.Core;

/// <summary>What a format does to an adapter.</summary>
/// <param name="Folds">Scales that have no place in it and round B where they are multiplied in: allowed with <see cref="AdapterOptions.Fold"/>.</param>
/// <param name="Refusals">What it cannot hold at all.</param>
public sealed record AdapterVerdict(IReadOnlyList<string> Folds, IReadOnlyList<string> Refusals)
{
    /// <summary>The verdict of a format that holds whatever the neutral form does: only rows in another order, ranks that the configuration denies and what is missing are in its way.</summary>
    public static AdapterVerdict OfNeutral(PeftAdapter adapter)
    {
        List<string> refusals = adapter.RowFault is { } fault ? [fault] : [];
        if (adapter.Tensors.Count == 0)
            refusals.Add("holds no tensor");
        AdapterContents.RefuseMissingMagnitudes(adapter, refusals);
        foreach (PeftModule module in adapter.Modules.Values)
        {
            if ((module[PeftPart.A] ?? module[PeftPart.EmbeddingA]) is { } first && LowRankPair.Fault(adapter.Config, module, first) is { } rank)
                refusals.Add(rank);
            foreach ((PeftPart a, PeftPart b) in (ReadOnlySpan<(PeftPart, PeftPart)>)[(PeftPart.A, PeftPart.B), (PeftPart.EmbeddingA, PeftPart.EmbeddingB)])
                if (module[a] is null != module[b] is null)
                    refusals.Add($"{module.Name}.{PeftAdapter.LabelOf(module[a] is null ? a : b)}: is missing");
        }
        return new([], refusals);
    }

    /// <summary>What is worth knowing and no reason against it: facts that are left behind.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>What <see cref="Folds"/> round off, of the pair that loses most: ‖what is stored − s·B‖ over ‖s·B‖. Reads every number when it is asked for.</summary>
    public Lazy<double> Rounding { get; init; } = new(0.0);

    /// <summary>What is to be said of folding that was allowed; none where nothing is folded.</summary>
    public IReadOnlyList<string> Folded => Folds.Count == 0 ? [] : [FormattableString.Invariant($"folding rounds B by {Rounding.Value:0.0E+0} of its norm at most")];

    /// <summary>Whether every number stays what it is.</summary>
    public bool IsExact => Folds.Count == 0 && Refusals.Count == 0;

    /// <summary>Throws <see cref="ModelFileException"/> for <paramref name="path"/> with every reason against writing.</summary>
    public void Demand(string path, bool fold)
    {
        FaultList faults = new(path);
        foreach (string refusal in Refusals)
            faults.Add(refusal);
        if (!fold)
            foreach (string reason in Folds)
                faults.Add($"{reason}; folding it into B rounds the numbers: allow it with --fold");
        faults.ThrowIfAny();
    }
}
