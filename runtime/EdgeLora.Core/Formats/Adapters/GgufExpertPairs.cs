namespace EdgeLora.Core;

/// <summary>Pairs on a mixture's experts in a GGUF LoRA: one pair of tensors for all experts of a layer, stacked as the experts are. Source: build_lora_mm_id, src/llama-graph.cpp; torch.stack in convert_lora_to_gguf.py.</summary>
internal static class GgufExpertPairs
{
    private const string Weight = ".weight";

    // As many as a base's stacks may have.
    private const int MostExperts = 4096;

    /// <summary>Adds why pairs on experts cannot be written: some of a layer's experts have none, or another rank.</summary>
    public static void Check(string architecture, IReadOnlyList<LowRankPair> pairs, AdapterBase? model, List<string> refusals)
    {
        foreach (IGrouping<string, (LowRankPair Pair, int Part)> stack in pairs.Where(p => !p.IsEmbedding).Select(p => (Pair: p, At: GgufStacks.PartToGguf(architecture, p.Module + Weight)))
            .Where(p => p.At is not null).GroupBy(p => p.At!.Value.Name, p => (p.Pair, p.At!.Value.Part)))
        {
            int[] parts = [.. stack.Select(p => p.Part).Order()];
            int experts = ExpertsOf(model) ?? parts[^1] + 1;
            if (!parts.SequenceEqual(Enumerable.Range(0, experts)))
                refusals.Add($"{stack.Key}: GGUF has one tensor for {experts} experts, the adapter has pairs on {parts.Length} of them: {string.Join(", ", parts.Take(8))}{(parts.Length > 8 ? ", …" : "")}");
            else if (stack.Select(p => (p.Pair.A.Shape, p.Pair.B.Shape, p.Pair.A.Type, p.Pair.B.Type)).Distinct().Count() > 1)
                refusals.Add($"{stack.Key}: GGUF has one tensor for all experts, the adapter's pairs there are of several ranks or types");
        }
    }

    /// <summary>One tensor of the parts, along a new first axis; computed when it is written.</summary>
    public static Tensor Stack(IReadOnlyList<Tensor> parts)
    {
        Tensor first = parts[0];
        Shape shape = new([parts.Count, .. first.Shape.Dimensions]);
        return new(first.Name, first.Type, shape, new ComputedStorage(first.Type.Bytes(shape.Elements), () =>
        {
            ArrayStorage storage = new(checked((int)first.Type.Bytes(shape.Elements)));
            for (int i = 0; i < parts.Count; i++)
                parts[i].Bytes.CopyTo(storage.Writable[(i * (int)first.ByteLength)..]);
            return new Tensor(first.Name, first.Type, shape, storage);
        }));
    }

    /// <summary>Lists the parts of one tensor of a file under PEFT's names.</summary>
    public static void Read(GgufFile file, GgufTensorInfo info, string architecture, string stem, bool isA, Dictionary<string, Tensor> tensors, Dictionary<string, int> ranks, HashSet<string> complete, FaultList faults)
    {
        if (info.Shape.Rank != 3 || info.Shape.Elements == 0 || info.Shape[0] > MostExperts)
        {
            faults.Add($"{info.Name}: expected a matrix for each expert, found {info.Shape}");
            return;
        }
        for (int i = 0; i < info.Shape[0]; i++)
        {
            string module = GgufStacks.PartToHuggingFace(architecture, stem, i)![..^Weight.Length];
            int rank = (int)Math.Min(info.Shape[isA ? 1 : 2], int.MaxValue);
            if (!ranks.TryAdd(module, rank) && ranks[module] != rank)
                faults.Add($"{stem}: lora_a and lora_b are of ranks {ranks[module]} and {rank}");
            if (!complete.Add(module))
                complete.Remove(module);
            string peft = PeftAdapter.NameOf(new(), module, isA ? PeftPart.A : PeftPart.B);
            Tensor part = GgufFormat.Widened(file.Part(info.Name, i));
            if (part.Type is not (DType.F32 or DType.F16 or DType.BF16 or DType.F64))
                faults.Add($"{info.Name}: is {part.Type}, expected numbers with a fraction");
            tensors[peft] = part.View(peft, part.Shape);
        }
    }

    private static int? ExpertsOf(AdapterBase? model) =>
        model?.Config.FirstOf("num_local_experts", "num_experts") is { } field && model.Config.TryGetInt(field, 1, MostExperts, out int experts) ? experts : null;
}
