using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>An adapter as the changes s·B·A that it makes, site by site: what sums, cosines and decompositions work on. It does not own the adapter.</summary>
/// <param name="name">What messages call it.</param>
/// <param name="adapter">The adapter.</param>
public sealed class AdapterDeltas(string name, PeftAdapter adapter)
{
    private const AdapterTraits Kept = AdapterTraits.Embedding | AdapterTraits.SavedModules | AdapterTraits.Bias | AdapterTraits.TokenRows | AdapterTraits.Invocation | AdapterTraits.Replication | AdapterTraits.Texts;

    private static readonly HashSet<PeftPart> s_pair = [PeftPart.A, PeftPart.B, PeftPart.EmbeddingA, PeftPart.EmbeddingB, PeftPart.BaseWeight];

    /// <summary>What messages call it.</summary>
    public string Name => name;

    /// <summary>The adapter.</summary>
    public PeftAdapter Adapter => adapter;

    /// <summary>Modules with a pair, in ordinal order.</summary>
    public IReadOnlyList<string> Sites { get; } =
        [.. adapter.Modules.Values.Where(m => (m[PeftPart.A] ?? m[PeftPart.EmbeddingA]) is not null && (m[PeftPart.B] ?? m[PeftPart.EmbeddingB]) is not null).Select(m => m.Name)];

    /// <summary>Whether it changes a module.</summary>
    public bool Has(string module) => adapter.Modules.TryGetValue(module, out PeftModule? found) && (found[PeftPart.A] ?? found[PeftPart.EmbeddingA]) is not null;

    /// <summary>Whether a module is a table: its weight is changed by the transposed product.</summary>
    public bool IsEmbedding(string module) => adapter.Modules[module][PeftPart.EmbeddingA] is not null;

    /// <summary>A [R, I(, k, k)] of a module.</summary>
    public Tensor A(string module) => adapter.Modules[module][PeftPart.A] ?? adapter.Modules[module][PeftPart.EmbeddingA]!;

    /// <summary>B [O, R(, 1, 1)] of a module.</summary>
    public Tensor B(string module) => adapter.Modules[module][PeftPart.B] ?? adapter.Modules[module][PeftPart.EmbeddingB]!;

    /// <summary>s of a module.</summary>
    public double Scale(string module) => adapter.Config.ScaleOf(module, (int)A(module).Shape[0]);

    /// <summary>Throws one <see cref="ModelFileException"/> that names everything for which these adapters cannot be taken together: methods that are no sum, whole tensors that differ, other shapes, another base.</summary>
    /// <param name="operands">One or more.</param>
    /// <param name="anyBase">Whether names and fingerprints of their bases may differ.</param>
    /// <param name="wholeTensors">Whether whole tensors (modules_to_save, biases, token rows) are taken along where all have the same; else they are refused.</param>
    public static void Check(IReadOnlyList<AdapterDeltas> operands, bool anyBase, bool wholeTensors = true)
    {
        FaultList faults = new(string.Join(" + ", operands.Select(o => o.Name)));
        AdapterDeltas first = operands[0];
        foreach (AdapterDeltas operand in operands)
        {
            List<string> refusals = [];
            AdapterContents.Refuse(operand.Adapter, wholeTensors ? Kept : AdapterTraits.Embedding | AdapterTraits.Invocation | AdapterTraits.Replication | AdapterTraits.Texts, "a sum of adapters", refusals);
            foreach (string module in operand.Adapter.Modules.Keys)
                operand.CheckPair(module, refusals);
            if (operand.Sites.Count == 0 && refusals.Count == 0)
                refusals.Add("holds no low-rank pair");
            refusals.ForEach(r => faults.Add($"{operand.Name}: {r}"));
            if (operand == first)
                continue;
            if (!anyBase)
                CheckBase(first, operand, faults);
            CheckSame(first, operand, faults);
        }
        Dictionary<string, (AdapterDeltas Operand, Shape A, Shape B, bool Embedding)> seen = [];
        foreach (AdapterDeltas operand in operands)
            foreach (string module in operand.Sites)
            {
                Shape a = operand.A(module).Shape, b = operand.B(module).Shape;
                if (seen.TryAdd(module, (operand, a, b, operand.IsEmbedding(module))))
                    continue;
                (AdapterDeltas other, Shape otherA, Shape otherB, bool embedding) = seen[module];
                if (embedding != operand.IsEmbedding(module) || a.Rank != otherA.Rank || !a.Dimensions[1..].SequenceEqual(otherA.Dimensions[1..]) || b[0] != otherB[0])
                    faults.Add($"{module}: {other.Name} has {otherB}·{otherA}, {operand.Name} has {b}·{a}");
            }
        faults.ThrowIfAny();
    }

    internal SiteFactors Factors(string module)
    {
        Tensor a = A(module), b = B(module);
        double scale = Scale(module);
        int rank = (int)a.Shape[0];
        double[] right = LowRankRows.Widen(a.ToFloats());
        for (int i = 0; i < right.Length; i++)
            right[i] *= scale;
        return new(LowRankRows.Widen(b.ToFloats()), right, (int)b.Shape[0], rank, right.Length / rank);
    }

    private void CheckPair(string module, List<string> refusals)
    {
        PeftModule parts = adapter.Modules[module];
        Tensor? a = parts[PeftPart.A] ?? parts[PeftPart.EmbeddingA], b = parts[PeftPart.B] ?? parts[PeftPart.EmbeddingB];
        if (a is null && b is null)
            return;
        if (a is null || b is null)
            refusals.Add($"{module}: {(a is null ? "A" : "B")} is missing");
        else if (a.Shape.Rank < 2 || b.Shape.Rank < 2 || a.Shape.Elements == 0 || b.Shape.Elements == 0 || a.Shape[0] != b.Shape[1] || b.Shape.Elements != b.Shape[0] * b.Shape[1])
            refusals.Add($"{module}: expected A [rank, inputs(, kernel)] and B [outputs, rank(, 1, 1)], found {a.Shape} and {b.Shape}");
        else if (LowRankPair.Fault(adapter.Config, parts, a) is { } fault)
            refusals.Add(fault);
        else if (Array.Exists(a.ToFloats(), x => !float.IsFinite(x)) || Array.Exists(b.ToFloats(), x => !float.IsFinite(x)))
            refusals.Add($"{module}: holds NaN or infinity");
    }

    private static void CheckBase(AdapterDeltas first, AdapterDeltas other, FaultList faults)
    {
        string? one = first.Adapter.Config.BaseModel, two = other.Adapter.Config.BaseModel;
        if (one is not null && two is not null && one != two)
            faults.Add($"{PeftConfigReader.FileName}: base_model_name_or_path: {first.Name} has {one}, {other.Name} has {two}; where both are the same model, say so with --any-base");
        one = first.Adapter.Header?.BaseFingerprint;
        two = other.Adapter.Header?.BaseFingerprint;
        if (one is { Length: > 0 } && two is { Length: > 0 } && one != two)
            faults.Add($"base: {first.Name} is of {one}, {other.Name} of {two}");
    }

    // What is no sum must be the same in all: it is taken along once.
    private static void CheckSame(AdapterDeltas first, AdapterDeltas other, FaultList faults)
    {
        PeftConfig one = first.Adapter.Config, two = other.Adapter.Config;
        if (!(one.InvocationTokens ?? []).SequenceEqual(two.InvocationTokens ?? []))
            faults.Add($"{PeftConfigReader.FileName}: alora_invocation_tokens: {first.Name} and {other.Name} differ");
        if (!(one.LayerReplication ?? []).SequenceEqual(two.LayerReplication ?? []))
            faults.Add($"{PeftConfigReader.FileName}: layer_replication: {first.Name} and {other.Name} differ");
        if (!one.TokenRows.Select(r => (r.Module, string.Join(',', r.Ids))).SequenceEqual(two.TokenRows.Select(r => (r.Module, string.Join(',', r.Ids)))))
            faults.Add($"{PeftConfigReader.FileName}: trainable_token_indices: {first.Name} and {other.Name} differ");
        if (one.Bias != two.Bias)
            faults.Add($"{PeftConfigReader.FileName}: bias: {first.Name} and {other.Name} differ");
        foreach (string module in first.Adapter.Modules.Keys.Union(other.Adapter.Modules.Keys))
        {
            PeftModule? mine = first.Adapter.Modules.GetValueOrDefault(module), theirs = other.Adapter.Modules.GetValueOrDefault(module);
            foreach (PeftPart part in (mine?.Parts.Keys ?? []).Union(theirs?.Parts.Keys ?? []))
                if (!s_pair.Contains(part) && part != PeftPart.Magnitude && !Equal(mine?[part], theirs?[part]))
                    faults.Add($"{module}.{PeftAdapter.LabelOf(part)}: {first.Name} and {other.Name} differ: whole tensors cannot be added");
        }
    }

    private static bool Equal(Tensor? one, Tensor? two) => one is not null && two is not null && one.Type == two.Type && one.Shape == two.Shape && one.Bytes.SequenceEqual(two.Bytes);
}
