namespace EdgeLora.Core;

/// <summary>One site's A [R, I], B [O, R] and scale.</summary>
/// <param name="Module">The module, in the checkpoint's spelling.</param>
/// <param name="A">A [R, I]; of an embedding [R, V].</param>
/// <param name="B">B [O, R]; of an embedding [D, R].</param>
/// <param name="Rank">R.</param>
/// <param name="Scale">s of s·B·A.</param>
/// <param name="IsEmbedding">Whether the site is a table.</param>
public sealed record LowRankPair(string Module, Tensor A, Tensor B, int Rank, double Scale, bool IsEmbedding)
{
    /// <summary>Why a module's A is not what the configuration says, on whose rank its scale depends, or why its numbers are no weights; null where nothing is wrong.</summary>
    public static string? Fault(PeftConfig config, PeftModule module, Tensor a)
    {
        foreach (Tensor factor in module.Parts.Where(p => p.Key is PeftPart.A or PeftPart.B or PeftPart.EmbeddingA or PeftPart.EmbeddingB).Select(p => p.Value))
            if (factor.Type is DType.Bool or DType.U8 or DType.I8 or DType.U16 or DType.I16 or DType.U32 or DType.I32 or DType.U64 or DType.I64)
                return $"{module.Name}: expected numbers with a fraction, found {factor.Type}";
        return config.PeftType == "LORA" && a.Shape.Rank > 0 && !FusedExperts.Holds(config, module) && a.Shape[0] != config.RankOf(module.Name)
            ? $"{module.Name}: expected rank {config.RankOf(module.Name)} of {PeftConfigReader.FileName}, found A {a.Shape}" : null;
    }

    /// <summary>All pairs of an adapter in ordinal order; what is no pair is added to <paramref name="faults"/>.</summary>
    public static List<LowRankPair> Of(PeftAdapter adapter, List<string> faults)
    {
        List<LowRankPair> pairs = [];
        foreach (PeftModule module in adapter.Modules.Values)
            foreach (bool embedding in (ReadOnlySpan<bool>)[false, true])
            {
                (PeftPart partA, PeftPart partB) = embedding ? (PeftPart.EmbeddingA, PeftPart.EmbeddingB) : (PeftPart.A, PeftPart.B);
                Tensor? a = module[partA], b = module[partB];
                if (a is null && b is null)
                    continue;
                if (FusedExperts.Holds(adapter.Config, module))
                    faults.Add($"{module.Name}: holds the pair of a parameter (target_parameters), experts side by side");
                else if (a is null || b is null)
                    faults.Add($"{module.Name}.{PeftAdapter.LabelOf(a is null ? partA : partB)}: is missing");
                else if (Fault(adapter.Config, module, a) is { } fault)
                    faults.Add(fault);
                else if (a.Shape.Rank != 2 || b.Shape.Rank != 2 || a.Shape[0] != b.Shape[1] || a.Shape[0] is < 1 or > int.MaxValue)
                    faults.Add($"{module.Name}: expected A [rank, inputs] and B [outputs, rank], found {a.Shape} and {b.Shape}");
                else
                    pairs.Add(new(module.Name, a, b, (int)a.Shape[0], adapter.Config.ScaleOf(module.Name, (int)a.Shape[0]), embedding));
            }
        return pairs;
    }
}
