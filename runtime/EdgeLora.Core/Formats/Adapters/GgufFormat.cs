using System.Globalization;

namespace EdgeLora.Core;

/// <summary>
/// A GGUF LoRA as llama.cpp reads it (src/llama-adapter.cpp, convert_lora_to_gguf.py): <c>general.type</c> adapter, <c>adapter.type</c> lora, <c>general.architecture</c> that of the base, <c>adapter.lora.alpha</c> F32,
/// one for the file; a pair's scale is alpha over its rank, and 1 where alpha is 0 or absent. <c>adapter.alora.invocation_tokens</c>, <c>adapter.lora.task_name</c> and <c>adapter.lora.prompt_prefix</c> may be there.
/// These and <c>general.*</c> (author, license, tags) go along in <c>.elora</c>.
/// Tensors: <c>blk.0.attn_q.weight.lora_a</c> [R, I], <c>.lora_b</c> [O, R], as PEFT has them, but for token_embd, whose A is turned [V, R]. The rows of a llama's q and k stand as <see cref="QueryKeyPermutation.ToAdjacent"/> says,
/// fused q, k and v as <see cref="QueryKeyValueRows"/>. Pairs of all experts of a layer are one: <c>blk.0.ffn_up_exps.weight.lora_a</c> [E, R, I], <c>.lora_b</c> [E, O, R].
/// </summary>
public sealed class GgufFormat : AdapterFileFormat
{
    private const string AlphaKey = "adapter.lora.alpha", TokensKey = "adapter.alora.invocation_tokens", TypeKey = "adapter.type", EndA = ".lora_a", EndB = ".lora_b", Weight = ".weight", Table = "token_embd.weight";

    private const string General = "general.", CountEnd = ".count", ListEnd = "[]";

    /// <summary>Key of the adapter's name.</summary>
    internal const string NameKey = General + "name";

    // Said anew of what is written.
    private static readonly string[] s_own = ["general.architecture", "general.type", "general.file_type", "general.quantization_version", "general.alignment", NameKey];

    /// <inheritdoc/>
    public override string Name => "gguf";

    /// <inheritdoc/>
    public override string Title => "a GGUF adapter";

    /// <inheritdoc/>
    public override string Extension => ".gguf";

    /// <inheritdoc/>
    public override string NodeFile => "adapter.gguf";

    /// <inheritdoc/>
    public override string ScaleRule(PeftAdapter adapter) => "one alpha over each rank; alpha 0 is a scale of 1";

    /// <inheritdoc/>
    public override bool Recognizes(string path)
    {
        if (!HasFile(path))
            return false;
        if (Directory.Exists(path))
            return true;
        try
        {
            using GgufFile file = GgufFile.Open(path);
            return file.Metadata.GetValueOrDefault("general.type") is "adapter" || file.Metadata.ContainsKey(TypeKey) || file.TensorInfos.Any(t => t.Name.EndsWith(EndA, StringComparison.Ordinal));
        }
        catch (ModelFileException)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public override PeftAdapter Read(string path, AdapterOptions options)
    {
        path = FileOf(path);
        GgufFile file = GgufFile.Open(path);
        try
        {
            Expect(file, "general.type", "adapter");
            Expect(file, TypeKey, "lora");
            string architecture = file.Architecture;
            if (!GgufNames.Architectures.Contains(architecture))
                throw new ModelFileException(path, $"key 'general.architecture': expected one of {string.Join(", ", GgufNames.Architectures)}, found {architecture}");
            Dictionary<string, Tensor> tensors = ReadTensors(file, architecture, out Dictionary<string, int> ranks);
            double alpha = file.GetFloat(AlphaKey, 0);
            if (!double.IsFinite(alpha))
                throw new ModelFileException(path, $"key '{AlphaKey}': expected a finite number, found {alpha}");
            PeftConfig config = PairConfig.Of(path, ranks.ToDictionary(r => r.Key, r => (r.Value, alpha == 0 ? r.Value : alpha))) with
            {
                InvocationTokens = ReadTokens(file),
            };
            Dictionary<string, string> texts = ReadTexts(file);
            PeftAdapter adapter = PeftAdapter.From(path, config, new TensorFile(path, tensors, texts, [new TensorFileOwner(file)]));
            adapter.RowOrder = architecture;
            adapter.Unread = [.. file.Metadata.Keys.Where(k => !texts.ContainsKey(k) && !texts.ContainsKey(k + ListEnd) && k is not (TypeKey or AlphaKey or TokensKey) && !s_own.Contains(k)).Order(StringComparer.Ordinal).Select(k => "metadata " + k)];
            return options.Base is { } model ? GgufRows.ToCheckpoint(adapter, model) : adapter;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options) => Plan(adapter, options, out _, out _, out _);

    /// <inheritdoc/>
    public override void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default)
    {
        Plan(adapter, options, out List<LowRankPair> pairs, out double alpha, out double[] left).Demand(adapter.FilePath, options.Fold);
        string architecture = ArchitectureOf(adapter, options)!;
        List<Tensor> tensors = [];
        SortedDictionary<string, SortedDictionary<int, (Tensor A, Tensor B)>> stacks = new(StringComparer.Ordinal);
        for (int i = 0; i < pairs.Count; i++)
        {
            (LowRankPair pair, double factor) = (pairs[i], left[i]);
            if (GgufStacks.PartToGguf(architecture, pair.Module + Weight) is { } part)
            {
                (stacks.TryGetValue(part.Name, out SortedDictionary<int, (Tensor A, Tensor B)>? stack) ? stack : stacks[part.Name] = [])
                    .Add(part.Part, (Stored(pair.A, 1, $"{pair.Module}.lora_A", part.Name + EndA, t => t), Stored(pair.B, factor, $"{pair.Module}.lora_B", part.Name + EndB, t => t)));
                continue;
            }
            string name = GgufNames.ToGguf(architecture, pair.Module + Weight)!;
            int[]? order = adapter.RowOrder is null ? GgufRows.FileOrder(architecture, pair, options.Base!) : null;
            tensors.Add(Stored(pair.A, 1, $"{pair.Module}.lora_A", name + EndA, t => pair.IsEmbedding ? t.Transposed() : t));
            tensors.Add(Stored(pair.B, factor, $"{pair.Module}.lora_B", name + EndB, t => order is null ? t : t.Reordered(order)));
        }
        foreach (SortedDictionary<int, (Tensor A, Tensor B)> stack in stacks.Values)
            tensors.AddRange(GgufExpertPairs.Stack([.. stack.Values.Select(p => p.A)]), GgufExpertPairs.Stack([.. stack.Values.Select(p => p.B)]));
        Dictionary<string, object> metadata = new()
        {
            ["general.architecture"] = architecture,
            ["general.type"] = "adapter",
            [TypeKey] = "lora",
            [AlphaKey] = (float)alpha,
            [NameKey] = adapter.Header?.Name ?? adapter.File.Metadata.GetValueOrDefault(NameKey) ?? options.Name,
            ["general.file_type"] = tensors[0].Type switch { DType.F16 => 1u, DType.BF16 => 32u, _ => 0u },
        };
        foreach ((string key, string text) in adapter.File.Metadata.Where(m => IsText(m.Key)).OrderBy(m => m.Key, StringComparer.Ordinal))
            if (key.EndsWith(ListEnd, StringComparison.Ordinal))
                metadata[key[..^ListEnd.Length]] = text.Split('\n');
            else
                metadata[key] = key.EndsWith(CountEnd, StringComparison.Ordinal) && uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out uint count) ? count : text;
        if (adapter.Config.InvocationTokens is { } tokens)
            metadata[TokensKey] = Array.ConvertAll(tokens, t => (uint)t);
        cancellation.ThrowIfCancellationRequested();
        GgufFile.Write(path, metadata, tensors);

        Tensor Stored(Tensor tensor, double factor, string label, string name, Func<Tensor, Tensor> lay)
        {
            DType type = TypeOf(tensor, factor, options);
            ScaleFold.Require(tensor, factor, type, label, adapter.FilePath);
            bool turned = name == Table + EndA;
            Shape shape = turned ? new(tensor.Shape[1], tensor.Shape[0]) : tensor.Shape;
            return new(name, type, shape, new ComputedStorage(type.Bytes(shape.Elements), () => lay(ScaleFold.Apply(tensor, factor, type))));
        }
    }

    /// <inheritdoc/>
    protected override bool KeepsText(string key) => key == NameKey || IsText(key);

    private AdapterVerdict Plan(PeftAdapter adapter, AdapterOptions options, out List<LowRankPair> pairs, out double alpha, out double[] left)
    {
        List<string> refusals = [];
        AdapterContents.Refuse(adapter, AdapterTraits.Invocation | AdapterTraits.Embedding | AdapterTraits.MovedRows | AdapterTraits.Texts, Title, refusals);
        pairs = LowRankPair.Of(adapter, refusals);
        CheckNames(adapter, pairs, options, refusals);
        if (pairs.Count == 0 && refusals.Count == 0)
            refusals.Add("holds no low-rank pair");
        (alpha, left) = pairs.Count == 0 ? (0, []) : OneAlpha.OverRank(pairs, isSingle: true);
        // alpha 0 means a scale of 1 whatever the rank.
        if (pairs.Count > 0 && !Array.TrueForAll(left, l => l == 1) && pairs.TrueForAll(p => p.Scale == 1))
            (alpha, left) = (0, [.. pairs.Select(_ => 1.0)]);
        double[] factors = left;
        return ScaleFold.Judge(pairs.Select((p, i) => (p, factors[i], TypeOf(p.B, factors[i], options))), Title, refusals);
    }

    private void CheckNames(PeftAdapter adapter, List<LowRankPair> pairs, AdapterOptions options, List<string> refusals)
    {
        if (ArchitectureOf(adapter, options) is not { } architecture)
        {
            refusals.Add($"{Title} names the base's architecture and its modules: give the base (--base)");
            return;
        }
        if (!GgufNames.Architectures.Contains(architecture))
        {
            refusals.Add($"{Title}: no names are known for {architecture}; they are for {string.Join(", ", GgufNames.Architectures)}");
            return;
        }
        GgufExpertPairs.Check(architecture, pairs, options.Base, refusals);
        foreach (LowRankPair pair in pairs)
        {
            if (!pair.IsEmbedding && GgufStacks.PartToGguf(architecture, pair.Module + Weight) is not null)
            {
                if (options.Base is { } origin && GgufRows.Fault(architecture, pair, origin) is { } misfit)
                    refusals.Add(misfit);
                continue;
            }
            if (GgufNames.ToGguf(architecture, pair.Module + Weight) is not { } name)
                refusals.Add($"{pair.Module}: GGUF has no name for it in {architecture}");
            else if (pair.IsEmbedding != (name == Table))
                refusals.Add($"{pair.Module}: {name} is {(pair.IsEmbedding ? "no table of tokens" : "a table of tokens")}");
            else if (pair.IsEmbedding && options.Base is { } tied && TableNames.IsTied(tied))
                refusals.Add($"{pair.Module}: the base's head is tied to it, and llama.cpp takes no pair on a table that is a head too");
            else if (options.Base is { } model && GgufRows.Fault(architecture, pair, model) is { } fault)
                refusals.Add(fault);
        }
    }

    private static string? ArchitectureOf(PeftAdapter adapter, AdapterOptions options) => adapter.RowOrder ?? (options.Base is { } model ? GgufNames.ArchitectureOf(model.Config.ModelType) : null);

    private static DType TypeOf(Tensor tensor, double factor, AdapterOptions options) => ScaleFold.TypeOf(tensor, factor, options.Type, DType.F32, DType.F16, DType.BF16);

    private static Dictionary<string, Tensor> ReadTensors(GgufFile file, string architecture, out Dictionary<string, int> ranks)
    {
        FaultList faults = new(file.FilePath);
        Dictionary<string, Tensor> tensors = [];
        ranks = [];
        HashSet<string> complete = [];
        foreach (GgufTensorInfo info in file.TensorInfos)
        {
            bool isA = info.Name.EndsWith(EndA, StringComparison.Ordinal);
            string stem = isA || info.Name.EndsWith(EndB, StringComparison.Ordinal) ? info.Name[..^EndA.Length] : "";
            if (GgufStacks.HoldsExperts(stem) && GgufStacks.PartToHuggingFace(architecture, stem, 0) is not null)
                GgufExpertPairs.Read(file, info, architecture, stem, isA, tensors, ranks, complete, faults);
            else if (stem.Length == 0)
                faults.Add(info.Name.EndsWith("_norm.weight", StringComparison.Ordinal) ? $"{info.Name}: is a whole norm, which llama.cpp passes over" : $"{info.Name}: expected a name that ends in {EndA} or {EndB}");
            else if (!stem.EndsWith(Weight, StringComparison.Ordinal) || GgufNames.ToHuggingFace(architecture, stem) is not { } name)
                faults.Add($"{stem}: {architecture} has no tensor of this name");
            else if (info.Shape.Rank != 2 || info.Shape.Elements == 0)
                faults.Add($"{info.Name}: expected a matrix, found {info.Shape}");
            else
            {
                string module = name[..^Weight.Length];
                int rank = (int)Math.Min(info.Shape[isA && stem != Table ? 0 : 1], int.MaxValue);
                if (!ranks.TryAdd(module, rank) && ranks[module] != rank)
                    faults.Add($"{stem}: lora_a and lora_b are of ranks {ranks[module]} and {rank}");
                if (!complete.Add(module))
                    complete.Remove(module);
                PeftPart part = (stem == Table, isA) switch { (false, true) => PeftPart.A, (false, false) => PeftPart.B, (true, true) => PeftPart.EmbeddingA, _ => PeftPart.EmbeddingB };
                Tensor tensor = file.Tensor(info.Name);
                if (tensor.Type is DType.I8 or DType.I16 or DType.I32 or DType.I64)
                    faults.Add($"{info.Name}: is {tensor.Type}, expected numbers with a fraction");
                tensor = Widened(tensor);
                tensor = part == PeftPart.EmbeddingA ? tensor.Transposed() : tensor;
                string peft = PeftAdapter.NameOf(new(), module, part);
                tensors[peft] = tensor.View(peft, tensor.Shape);
            }
        }
        // What was seen once is half of a pair.
        foreach (string module in complete)
            faults.Add($"{GgufNames.ToGguf(architecture, module + Weight) ?? module}: {(tensors.ContainsKey(PeftAdapter.NameOf(new(), module, PeftPart.A)) || tensors.ContainsKey(PeftAdapter.NameOf(new(), module, PeftPart.EmbeddingA)) ? "lora_b" : "lora_a")} is missing");
        if (tensors.Count == 0 && faults.Count == 0)
            faults.Add("holds no low-rank pair");
        faults.ThrowIfAny();
        return tensors;
    }

    // Quantised pairs are widened each time they are read: nothing computes with them as they are.
    internal static Tensor Widened(Tensor tensor) => tensor.Type is DType.F32 or DType.F16 or DType.BF16 or DType.F64 ? tensor
        : new(tensor.Name, DType.F32, tensor.Shape, new ComputedStorage(DType.F32.Bytes(tensor.Shape.Elements), () => Tensor.FromFloats(tensor.Name, tensor.Shape, tensor.ToFloats())));

    private static bool IsText(string key) => key.StartsWith(PeftAdapter.MetadataPrefix, StringComparison.Ordinal) || key.StartsWith(General, StringComparison.Ordinal) && !s_own.Contains(key);

    // What PEFT has no field for, as text: a list of texts has its key marked and a line for each.
    private static Dictionary<string, string> ReadTexts(GgufFile file)
    {
        Dictionary<string, string> texts = [];
        foreach ((string key, object value) in file.Metadata)
            if (key == NameKey || IsText(key))
                switch (value)
                {
                    case string text:
                        texts[key] = text;
                        break;
                    case uint count when key.EndsWith(CountEnd, StringComparison.Ordinal):
                        texts[key] = count.ToString(CultureInfo.InvariantCulture);
                        break;
                    case string[] { Length: > 0 } list when !Array.Exists(list, t => t.Contains('\n')):
                        texts[key + ListEnd] = string.Join('\n', list);
                        break;
                }
        return texts;
    }

    private static int[]? ReadTokens(GgufFile file)
    {
        if (!file.Metadata.ContainsKey(TokensKey))
            return null;
        long[] tokens = file.GetInts(TokensKey);
        if (Array.Exists(tokens, t => t is < 0 or > int.MaxValue))
            throw new ModelFileException(file.FilePath, $"key '{TokensKey}': expected tokens from 0 to {int.MaxValue}");
        return tokens.Length == 0 ? null : Array.ConvertAll(tokens, t => (int)t);
    }

    private static void Expect(GgufFile file, string key, string expected)
    {
        string found = file.GetString(key, "nothing");
        if (found != expected)
            throw new ModelFileException(file.FilePath, $"key '{key}': expected {expected}, found {found}");
    }
}
