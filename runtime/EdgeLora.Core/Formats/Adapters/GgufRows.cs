namespace EdgeLora.Core;

/// <summary>The order in which a GGUF file has the rows of q and k, alone or fused, against a checkpoint's.</summary>
public static class GgufRows
{
    private const string Query = ".self_attn.q_proj", Key = ".self_attn.k_proj";

    /// <summary>Whether a module's rows stand in another order in GGUF than in a checkpoint.</summary>
    public static bool AreMoved(string architecture, string module) =>
        AreFused(architecture, module) || GgufNames.PermutesQueryKeyRows(architecture) && (module.EndsWith(Query, StringComparison.Ordinal) || module.EndsWith(Key, StringComparison.Ordinal));

    /// <summary>
    /// The same adapter with rows in the checkpoint's order. Takes ownership of <paramref name="adapter"/>, also when it throws <see cref="ModelFileException"/>: for another architecture than
    /// <paramref name="baseArchitecture"/>, or rows that are not heads of an even size.
    /// </summary>
    /// <param name="adapter">An adapter whose <see cref="PeftAdapter.RowOrder"/> is set; another is given back.</param>
    /// <param name="baseArchitecture">The base's architecture in GGUF's spelling.</param>
    /// <param name="headsOf">Which heads the rows of a module are; null: it is no module of the base's, or that is not known.</param>
    public static PeftAdapter ToCheckpoint(PeftAdapter adapter, string baseArchitecture, Func<string, HeadRows?> headsOf)
    {
        if (adapter.RowOrder is not { } architecture)
            return adapter;
        try
        {
            FaultList faults = new(adapter.FilePath);
            if (architecture != baseArchitecture)
                faults.Add($"key 'general.architecture': is made for {architecture}, the base is {baseArchitecture}");
            faults.ThrowIfAny();
            Dictionary<string, Tensor> tensors = adapter.Tensors.ToDictionary(StringComparer.Ordinal);
            foreach (PeftModule module in adapter.Modules.Values)
                if (AreMoved(architecture, module.Name) && module[PeftPart.B] is { } b)
                {
                    if (headsOf(module.Name) is not { } heads)
                    {
                        if (AreFused(architecture, module.Name))
                            faults.Add(FusedFault(module.Name));
                    }
                    else if (heads.ToCheckpoint(b.Shape[0]) is { } order)
                        tensors[b.Name] = b.Reordered(order);
                    else
                        faults.Add($"{GgufNames.ToGguf(architecture, module.Name + ".weight")}: {b.Shape[0]} rows are not {heads}");
                }
            faults.ThrowIfAny();
            return adapter.WithTensors(tensors);
        }
        catch
        {
            adapter.Dispose();
            throw;
        }
    }

    /// <summary>The same for a base that is only described.</summary>
    public static PeftAdapter ToCheckpoint(PeftAdapter adapter, AdapterBase model) => ToCheckpoint(adapter, GgufNames.ArchitectureOf(model.Config.ModelType), module => HeadsOf(module, model));

    /// <summary>For every row of the file the checkpoint's row that it holds; null: the same.</summary>
    internal static int[]? FileOrder(string architecture, LowRankPair pair, AdapterBase model) =>
        AreMoved(architecture, pair.Module) ? HeadsOf(pair.Module, model)!.Value.ToFile(pair.B.Shape[0]) : null;

    /// <summary>Why a pair does not fit the base, or null.</summary>
    internal static string? Fault(string architecture, LowRankPair pair, AdapterBase model)
    {
        if (AreMoved(architecture, pair.Module))
        {
            if (HeadsOf(pair.Module, model) is not { } heads)
                return FusedFault(pair.Module);
            if (heads.ToFile(pair.B.Shape[0]) is null)
                return $"{pair.Module}: {pair.B.Shape[0]} rows are not {heads}";
        }
        if (model.Weights.Count == 0)
            return null;
        if (!model.Weights.TryGetValue(pair.Module + ".weight", out Shape stored))
            return $"{pair.Module}: the base has no weight of its own there";
        // The file has [out, in] for a linear layer, [in, out] for GPT-2's Conv1D, [V, D] for a table.
        (long outputs, long inputs) = (stored[0], stored.Rank == 2 ? stored[1] : 0);
        bool turned = pair.IsEmbedding || architecture == "gpt2" && !model.TransposedConv1D && pair.Module.StartsWith("transformer.h.", StringComparison.Ordinal);
        (long b, long a) = turned ? (inputs, outputs) : (outputs, inputs);
        return pair.A.Shape[1] == a && pair.B.Shape[0] == b ? null : $"{pair.Module}: A {pair.A.Shape} and B {pair.B.Shape} do not fit the base's {stored}";
    }

    private static bool AreFused(string architecture, string module) => GgufNames.SplitsQueryKeyValue(architecture) && module.EndsWith("query_key_value", StringComparison.Ordinal);

    private static string FusedFault(string module) => $"{module}: GGUF has q, k and v in another order than the checkpoint, and the base's heads are not known";

    private static HeadRows? HeadsOf(string module, AdapterBase model)
    {
        int heads = model.Config.GetInt(model.Config.FirstOf("num_attention_heads", "n_head") ?? "num_attention_heads", 1, 1 << 16);
        if (module.EndsWith(Query, StringComparison.Ordinal) || module.EndsWith(Key, StringComparison.Ordinal))
            return new(module.EndsWith(Key, StringComparison.Ordinal) ? model.Config.GetInt("num_key_value_heads", 1, 1 << 16, heads) : heads);
        return model.KvHeads is { } kv ? new(heads, kv) : null;
    }
}
