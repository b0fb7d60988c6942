namespace EdgeLora.Core;

/// <summary>
/// A state dict of Microsoft's loralib, pickled by torch: <c>MODULE.lora_A</c> [R, I] and <c>MODULE.lora_B</c> [O, R], and whatever else was trained under its own name: classifiers, biases. alpha is not in the file; a pair's scale
/// is it over the pair's rank. A MergedLinear has the pairs of its G enabled parts one after another: A [G·R, I], B [G·O/N, R] for N parts of the layer. Source: microsoft/LoRA, loralib/layers.py and utils.py.
/// </summary>
public sealed class LoralibFormat : AdapterFileFormat
{
    private const string EndA = ".lora_A", EndB = ".lora_B", Weight = ".weight", Bias = ".bias";
    private const int MostParts = 16;

    /// <inheritdoc/>
    public override string Name => "loralib";

    /// <inheritdoc/>
    public override string Title => "a loralib file";

    /// <inheritdoc/>
    public override string Extension => ".bin";

    /// <inheritdoc/>
    public override string ScaleRule(PeftAdapter adapter) => "alpha/rank; alpha is not in the file";

    /// <inheritdoc/>
    public override bool Recognizes(string path)
    {
        if (!File.Exists(path) || Path.GetExtension(path).ToLowerInvariant() is not (".bin" or ".pt" or ".pth"))
            return false;
        try
        {
            using TensorFile file = TorchPickle.Open(path, verify: false);
            // AdaLoRA's tensors in a PEFT folder's file end so too.
            return file.Tensors.Keys.Any(n => (n.EndsWith(EndA, StringComparison.Ordinal) || n.EndsWith(EndB, StringComparison.Ordinal)) && !n.StartsWith("base_model.", StringComparison.Ordinal));
        }
        catch (ModelFileException)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public override PeftAdapter Read(string path, AdapterOptions options)
    {
        if (options.Alpha is not { } alpha)
            throw new ModelFileException(path, "alpha is not in a loralib file: give it (--alpha)");
        TensorFile file = TorchPickle.Open(path);
        try
        {
            FaultList faults = new(path);
            Dictionary<string, (int Rank, double Alpha)> pairs = [];
            List<(string Module, PeftPart Part, Tensor Value)> tensors = [];
            HashSet<string> targets = [.. file.Tensors.Keys.Where(n => n.EndsWith(EndA, StringComparison.Ordinal)).Select(n => n[..^EndA.Length])], saved = [];
            foreach (string module in targets)
            {
                if (!file.Tensors.TryGetValue(module + EndB, out Tensor? b))
                    faults.Add($"{module}{EndB}: is missing");
                else if (Pair(module, file.Tensors[module + EndA], b, options, faults) is var (wholeA, wholeB, groups))
                {
                    bool table = TableNames.Contains(module);
                    pairs[module] = ((int)wholeA.Shape[0], alpha * groups);
                    tensors.Add((module, table ? PeftPart.EmbeddingA : PeftPart.A, wholeA));
                    tensors.Add((module, table ? PeftPart.EmbeddingB : PeftPart.B, wholeB));
                }
            }
            PeftBias bias = PeftBias.None;
            foreach ((string name, Tensor tensor) in file.Tensors.OrderBy(t => t.Key.EndsWith(Bias, StringComparison.Ordinal)))
            {
                string module = name[..Math.Max(name.LastIndexOf('.'), 0)];
                if (name.EndsWith(Weight, StringComparison.Ordinal) && !targets.Contains(module))
                {
                    saved.Add(module);
                    tensors.Add((module, PeftPart.Weight, tensor));
                }
                else if (name.EndsWith(Bias, StringComparison.Ordinal))
                {
                    // A bias beside its own weight is saved with it; alone it is one of the model's.
                    bias = targets.Contains(module) ? (PeftBias)Math.Max((int)bias, (int)PeftBias.LoraOnly) : saved.Contains(module) ? bias : PeftBias.All;
                    tensors.Add((module, targets.Contains(module) ? PeftPart.BaseBias : PeftPart.Bias, tensor));
                }
                else if (name.EndsWith(Weight, StringComparison.Ordinal))
                    tensors.Add((module, PeftPart.BaseWeight, tensor));
                else if (!(name.EndsWith(EndA, StringComparison.Ordinal) || name.EndsWith(EndB, StringComparison.Ordinal) && targets.Contains(module)))
                    faults.Add(name.EndsWith(EndB, StringComparison.Ordinal) ? $"{module}{EndA}: is missing" : $"{name}: is no tensor of loralib's");
            }
            if (pairs.Count == 0 && faults.Count == 0)
                faults.Add("holds no low-rank pair");
            faults.ThrowIfAny();
            PeftConfig config = PairConfig.Of(path, pairs) with { Bias = bias, ModulesToSave = [.. saved.Order(StringComparer.Ordinal)], TaskType = saved.Count > 0 ? null : "CAUSAL_LM" };
            Dictionary<string, Tensor> named = tensors.Select(t => t.Value.View(PeftAdapter.NameOf(config, t.Module, t.Part), t.Value.Shape)).ToDictionary(t => t.Name);
            return PeftAdapter.From(path, config, new(path, named, new Dictionary<string, string>(), [new TensorFileOwner(file)]));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options) => Plan(adapter, options, out _, out _);

    /// <inheritdoc/>
    public override void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default)
    {
        Plan(adapter, options, out List<LowRankPair> pairs, out double[] left).Demand(adapter.FilePath, options.Fold);
        List<Tensor> tensors = [];
        for (int i = 0; i < pairs.Count; i++)
        {
            Add(pairs[i].A, 1, pairs[i].Module + EndA);
            Add(pairs[i].B, left[i], pairs[i].Module + EndB);
        }
        foreach (PeftModule module in adapter.Modules.Values)
            foreach ((PeftPart part, Tensor tensor) in module.Parts)
                if (part is PeftPart.Weight or PeftPart.Bias or PeftPart.BaseBias)
                    Add(tensor, 1, module.Name + (part == PeftPart.Weight ? Weight : Bias));
        TorchPickle.Write(path, tensors, cancellation);

        void Add(Tensor tensor, double factor, string name)
        {
            DType type = TypeOf(tensor, factor, options);
            ScaleFold.Require(tensor, factor, type, name, adapter.FilePath);
            tensors.Add(new(name, type, tensor.Shape, new ComputedStorage(type.Bytes(tensor.Shape.Elements), () => ScaleFold.Apply(tensor, factor, type))));
        }
    }

    private AdapterVerdict Plan(PeftAdapter adapter, AdapterOptions options, out List<LowRankPair> pairs, out double[] left)
    {
        List<string> refusals = [];
        AdapterContents.Refuse(adapter, AdapterTraits.Bias | AdapterTraits.SavedModules | AdapterTraits.Embedding, Title, refusals);
        pairs = LowRankPair.Of(adapter, refusals);
        foreach (LowRankPair pair in pairs)
            if (pair.IsEmbedding != TableNames.Contains(pair.Module))
                refusals.Add($"{pair.Module}: {Title} does not say that it is {(pair.IsEmbedding ? "a table" : "no table")}");
        if (pairs.Count == 0 && refusals.Count == 0)
            refusals.Add("holds no low-rank pair");
        (double alpha, left) = pairs.Count == 0 ? (1, []) : OneAlpha.OverRank(pairs, isSingle: false, options.Alpha);
        double[] factors = left;
        return ScaleFold.Judge(pairs.Select((p, i) => (p, factors[i], TypeOf(p.B, factors[i], options))), Title, refusals) with
        {
            Notes = [FormattableString.Invariant($"alpha {alpha:R} is not in {Title}: whoever reads it must be told")],
        };
    }

    // A whole pair as it stands; a MergedLinear's as one pair whose B has a block for each enabled part, and zeros elsewhere.
    private static (Tensor A, Tensor B, int Groups)? Pair(string module, Tensor a, Tensor b, AdapterOptions options, FaultList faults)
    {
        if (a.Shape.Rank != 2 || b.Shape.Rank != 2 || a.Shape.Elements == 0 || b.Shape.Elements == 0 || a.Shape[0] % b.Shape[1] != 0 || a.Shape[0] / b.Shape[1] > MostParts)
        {
            faults.Add($"{module}: expected {EndA[1..]} [rank, inputs] and {EndB[1..]} [outputs, rank], found {a.Shape} and {b.Shape}");
            return null;
        }
        int groups = (int)(a.Shape[0] / b.Shape[1]);
        if (groups == 1)
            return (a, b, 1);
        if (Enabled(module, groups, b.Shape[0], options) is not { } parts)
        {
            faults.Add($"{module}: is a MergedLinear with {groups} parts that have pairs; which of the layer's parts they are is not in the file: give all of them (--enable-lora true,false,true)");
            return null;
        }
        if (Array.FindAll(parts, p => p).Length != groups || b.Shape[0] % groups != 0)
        {
            faults.Add($"{module}: has pairs for {groups} parts, B {b.Shape}; --enable-lora names {Array.FindAll(parts, p => p).Length}");
            return null;
        }
        return (a, Spread(b, groups, parts), groups);
    }

    // All of them, where B has a row for every output of the base.
    private static bool[]? Enabled(string module, int groups, long rows, AdapterOptions options)
    {
        if (options.EnabledParts is { } parts)
            return parts;
        return options.Base?.Weights.TryGetValue(module + Weight, out Shape stored) == true && (stored[0] == rows || stored.Rank == 2 && stored[1] == rows) ? [.. Enumerable.Repeat(true, groups)] : null;
    }

    private static Tensor Spread(Tensor b, int groups, bool[] parts)
    {
        int rank = (int)b.Shape[1], rows = (int)(b.Shape[0] / groups), size = b.Type.BlockBytes(), group = 0;
        Shape shape = new(rows * parts.Length, rank * groups);
        ArrayStorage storage = new(checked((int)b.Type.Bytes(shape.Elements)));
        ReadOnlySpan<byte> source = b.Bytes;
        for (int part = 0; part < parts.Length; part++)
        {
            if (!parts[part])
                continue;
            for (int r = 0; r < rows; r++)
                source.Slice((group * rows + r) * rank * size, rank * size).CopyTo(storage.Writable[(((part * rows + r) * groups + group) * rank * size)..]);
            group++;
        }
        return new(b.Name, b.Type, shape, storage);
    }

    private static DType TypeOf(Tensor tensor, double factor, AdapterOptions options) => ScaleFold.TypeOf(tensor, factor, options.Type, DType.F32, DType.F16, DType.BF16);
}
