using System.Globalization;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Which tensors of a checkpoint go into a GGUF file, under which names, in which order of rows; types are chosen later. Source: conversion/*.py of llama.cpp.</summary>
/// <param name="checkpoint">A folder's.</param>
/// <param name="tensors">Its tensors, or a merged model's.</param>
/// <param name="architecture"><c>general.architecture</c>.</param>
/// <param name="numbers">The model's numbers.</param>
/// <param name="queryFactor">What is multiplied into q, or into its norms where it has some.</param>
internal sealed class GgufTensorPlan(BaseCheckpoint checkpoint, IReadOnlyDictionary<string, Tensor> tensors, string architecture, ModelConfig numbers, float queryFactor)
{
    private const string Head = "output.weight", Table = "token_embd.weight";

    // What older libraries saved with the weights: masks, frequencies.
    private static readonly string[] s_buffers = [".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"];

    private readonly FaultList _faults = new(checkpoint.Path);

    /// <summary>The tensors: embeddings, layers in order, norm and head. Throws <see cref="ModelFileException"/> with every one that is missing, of another shape than the config says, or that it does not ask for.</summary>
    public List<TensorOutput> Outputs()
    {
        Dictionary<string, PlannedWeight> asked = WeightPlan.Of(checkpoint.Config).Weights.DistinctBy(w => w.Name).ToDictionary(w => w.Name, StringComparer.Ordinal);
        Dictionary<string, SortedDictionary<int, Tensor>> stacks = [];
        List<TensorOutput> outputs = [];
        string head = GgufNames.ToHuggingFace(architecture, Head)!, prefix = GgufNames.MissingPrefix(architecture, tensors.ContainsKey);
        foreach ((string stored, Tensor tensor) in tensors)
        {
            string name = stored == head ? stored : prefix + stored;
            // What a merge put there parts the head from the table.
            bool untied = name == head && !ReferenceEquals(checkpoint.Weights.Tensors.GetValueOrDefault(head), tensor);
            if (!asked.Remove(name, out PlannedWeight? planned) && !untied)
            {
                // A tied head may be stored all the same.
                if (name != head && !Array.Exists(s_buffers, b => name.EndsWith(b, StringComparison.Ordinal)))
                    _faults.Add($"{stored}: the config asks for no such tensor");
                continue;
            }
            if (planned is not null && planned.Shape != tensor.Shape)
                _faults.Add($"{stored}: expected {planned.Shape}, found {tensor.Shape}");
            else if (GgufStacks.PartToGguf(architecture, name) is { } stack)
                (stacks.TryGetValue(stack.Name, out SortedDictionary<int, Tensor>? parts) ? parts : stacks[stack.Name] = []).Add(stack.Part, tensor);
            else if (GgufNames.ToGguf(architecture, name) is { } target)
                outputs.Add(Whole(name, target, tensor));
            else
                _faults.Add($"{stored}: GGUF's {architecture} has no name for it");
        }
        foreach (PlannedWeight missing in asked.Values)
            _faults.Add($"{missing.Name}: is missing, expected {missing.Shape}");
        _faults.ThrowIfAny();
        outputs.AddRange(stacks.Select(s => new TensorOutput(s.Key, s.Value[0].Type, s.Value[0]) { Parts = [.. s.Value.Values] }));
        if (GgufMetadata.NeedsHead(architecture) && outputs.TrueForAll(o => o.Name != Head))
            outputs.Add(outputs.Find(o => o.Name == Table)! with { Name = Head });
        return [.. outputs.OrderBy(o => Order(o.Name)).ThenBy(o => o.Name, StringComparer.Ordinal)];
    }

    private TensorOutput Whole(string name, string target, Tensor tensor)
    {
        bool query = target.Contains(".attn_q.", StringComparison.Ordinal), key = target.Contains(".attn_k.", StringComparison.Ordinal);
        int[]? order = null;
        if (GgufNames.PermutesQueryKeyRows(architecture) && (query || key))
            order = QueryKeyPermutation.ToHalves((int)tensor.Shape[0], query ? numbers.Heads : numbers.KvHeads);
        else if (GgufNames.SplitsQueryKeyValue(architecture) && numbers.KvHeads > 1 && target.Contains(".attn_qkv.", StringComparison.Ordinal))
            order = QueryKeyValueRows.ToPieces(numbers.Heads * numbers.HeadSize, numbers.KvHeads * numbers.HeadSize, numbers.KvHeads);
        bool shifts = GgufNames.ShiftsGains(architecture) && name.EndsWith("norm.weight", StringComparison.Ordinal);
        bool folds = architecture == "gemma3" ? target.Contains(".attn_q_norm.", StringComparison.Ordinal) : query;
        return new(target, tensor.Type, tensor, order, architecture == "gpt2" && tensor.Shape.Rank == 2 && name.Contains(".c_", StringComparison.Ordinal))
        {
            Shift = shifts ? 1 : 0,
            Scale = folds ? queryFactor : 1,
        };
    }

    private static int Order(string name) => name.StartsWith("blk.", StringComparison.Ordinal) ? 1 + int.Parse(name.AsSpan(4, name.IndexOf('.', 4) - 4), CultureInfo.InvariantCulture)
        : name.StartsWith("output", StringComparison.Ordinal) ? int.MaxValue : 0;
}
