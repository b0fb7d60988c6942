using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>How a base is written as GGUF.</summary>
public sealed record GgufModelOptions
{
    /// <summary>The type of its matrices, as <see cref="GgufWeightTypes.Of"/> spreads it; null: each keeps its stored type.</summary>
    public DType? Type { get; init; }

    /// <summary><c>general.name</c>; null: the folder's name.</summary>
    public string? Name { get; init; }

    /// <summary>Whether a factor that has no place in the format may be multiplied into a weight, which rounds every number once.</summary>
    public bool Fold { get; init; }

    /// <summary><c>tokenizer.ggml.pre</c>; null: the name whose rules give what the tokenizer gives.</summary>
    public string? PreTokenizer { get; init; }

    /// <summary>The tensors, under Hugging Face names in the checkpoint's own layout, where they are not the checkpoint's: a merged model's.</summary>
    public IReadOnlyDictionary<string, Tensor>? Tensors { get; init; }
}

/// <summary>A base as a GGUF file's metadata and tensors. Nothing is read before it is written.</summary>
/// <param name="Metadata">Keys and values in order.</param>
/// <param name="Tensors">Tensors in order.</param>
/// <param name="Notes">What is not as it was, for people.</param>
public sealed record GgufModel(IReadOnlyList<KeyValuePair<string, object>> Metadata, IReadOnlyList<TensorOutput> Tensors, IReadOnlyList<string> Notes)
{
    /// <summary>Bytes of all tensors.</summary>
    public long ByteLength => Tensors.Sum(t => t.ByteLength);

    /// <summary>Plans the file. Throws <see cref="ModelFileException"/> with every tensor that has no name in GGUF, or naming the field that GGUF cannot say.</summary>
    public static GgufModel Of(BaseCheckpoint checkpoint, GgufModelOptions options) =>
        checkpoint.Container is GgufFile file ? Again(checkpoint, file, options) : FromFolder(checkpoint, options);

    // The same file with other types: what the engine does not know stays as well.
    private static GgufModel Again(BaseCheckpoint checkpoint, GgufFile file, GgufModelOptions options)
    {
        IReadOnlyDictionary<string, Tensor> tensors = options.Tensors ?? checkpoint.Weights.Tensors;
        List<string> notes = [];
        List<KeyValuePair<string, object>> metadata = [.. file.Metadata.Where(m => !m.Key.StartsWith("split.", StringComparison.Ordinal) && m.Key is not ("general.file_type" or "general.quantization_version"))];
        if (options.Type is { } type)
            metadata.AddRange([new("general.quantization_version", 2u), new("general.file_type", GgufWeightTypes.FileType(type))]);
        else
            metadata.AddRange(file.Metadata.Where(m => m.Key is "general.file_type" or "general.quantization_version"));
        GgufCheckpoint stored = new(file);
        bool tied = !file.Contains("output.weight") && !tensors.ContainsKey(GgufNames.ToHuggingFace(file.Architecture, "output.weight")!);
        List<TensorOutput> outputs = [];
        foreach ((string name, List<Tensor> parts) in StoredTensors(file, stored, tensors))
            outputs.Add(Output(new(name, parts[0].Type, parts[0]) { Parts = stored.IsStack(name) ? parts : null }, options.Type, tied));
        foreach ((string name, Tensor tensor) in tensors)
            if (!checkpoint.Weights.Tensors.ContainsKey(name))
                outputs.Add(Output(new(GgufNames.ToGguf(file.Architecture, name) ?? throw new ModelFileException(checkpoint.Path, $"{name}: GGUF's {file.Architecture} has no name for it"), tensor.Type, tensor), options.Type, tied));
        Note(outputs, options.Type, notes);
        return new(metadata, outputs, notes);
    }

    // The file's tensors in order, with what was merged in their place; experts that stand one by one, as llama.cpp no longer reads them, become stacks.
    private static IEnumerable<(string Name, List<Tensor> Parts)> StoredTensors(GgufFile file, GgufCheckpoint stored, IReadOnlyDictionary<string, Tensor> tensors)
    {
        Dictionary<string, List<Tensor>> stacks = [];
        List<(string Name, List<Tensor> Parts)> all = [];
        foreach (GgufTensorInfo info in file.TensorInfos)
        {
            List<Tensor> parts = [.. stored.NamesIn(info.Name).Select(n => tensors[n])];
            if (GgufStacks.OfSingle(file.Architecture, info.Name) is not { } single)
                all.Add((info.Name, parts.Count > 0 ? parts : [file.Tensor(info.Name)]));
            else if (stacks.TryGetValue(single.Name, out List<Tensor>? stack))
                stack.Add(single.Part == stack.Count ? parts[0] : throw new ModelFileException(file.FilePath, $"tensor '{info.Name}': expected expert {stack.Count} here"));
            else
                all.Add((single.Name, stacks[single.Name] = parts));
        }
        return all;
    }

    private static GgufModel FromFolder(BaseCheckpoint checkpoint, GgufModelOptions options)
    {
        HfConfig config = checkpoint.Config;
        string architecture = GgufNames.ArchitectureOf(config.ModelType);
        if (!GgufNames.Architectures.Contains(architecture))
            throw config.Refusal("model_type", $"one that is written as GGUF: {string.Join(", ", ArchitectureRegistry.All.SelectMany(a => a.ModelTypes).Where(t => GgufNames.Architectures.Contains(GgufNames.ArchitectureOf(t))))}");
        ModelConfig numbers = ArchitectureRegistry.For(config).ReadConfig(checkpoint);
        IReadOnlyDictionary<string, Tensor> tensors = options.Tensors ?? checkpoint.Weights.Tensors;
        List<string> notes = [];
        DType most = options.Type ?? MostBytes(tensors.Values);
        string name = options.Name ?? Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(checkpoint.Path)));
        (List<KeyValuePair<string, object>> metadata, List<Tensor> frequencies, float queryFactor) = GgufMetadata.Of(config, numbers, architecture, name, most, options.Fold, notes);
        GgufVocabularyWriter.Add(checkpoint.Path, config, numbers.Vocabulary, options.PreTokenizer, metadata, notes);
        List<TensorOutput> outputs = new GgufTensorPlan(checkpoint, tensors, architecture, numbers, queryFactor).Outputs();
        bool tied = outputs.TrueForAll(o => o.Name != "output.weight");
        if (!tied && !tensors.Keys.Any(t => GgufNames.ToGguf(architecture, t) == "output.weight"))
            notes.Add($"output.weight is a copy of token_embd.weight: GGUF's {architecture} has no tied heads");
        outputs = [.. outputs.Select(o => Output(o, options.Type, tied))];
        outputs.InsertRange(0, frequencies.Select(TensorOutput.Same));
        Note(outputs, options.Type, notes);
        return new(metadata, outputs, notes);
    }

    private static TensorOutput Output(TensorOutput same, DType? type, bool tied)
    {
        // Parts of several types meet in what holds them all.
        DType stored = same.Parts?.Any(p => p.Type != same.Source.Type) == true ? DType.F32 : same.Source.Type;
        DType own = stored.IsWeight() && GgufWeightTypes.Writable.Contains(stored) ? stored : DType.F32;
        DType given = GgufWeightTypes.Of(same.Name, same.Shape, type ?? own, isHead: type is not null && (same.Name == "output.weight" || (tied && same.Name == "token_embd.weight")));
        // Types that are only read stay as they are when nothing else is asked for.
        return type is null && !same.Turned && !same.Recomputes && stored.IsWeight() && !GgufWeightTypes.IsAlwaysF32(same.Name, same.Shape) ? same with { Type = stored } : same with { Type = given };
    }

    // What is of another type than was asked for, a line for each type and width.
    private static void Note(IEnumerable<TensorOutput> outputs, DType? type, List<string> notes)
    {
        if (type is not { } wanted)
            return;
        foreach (IGrouping<(DType Type, int Columns, bool Fits), TensorOutput> group in outputs.Where(o => o.Type != wanted && !GgufWeightTypes.IsAlwaysF32(o.Name, o.Shape)).GroupBy(o => (o.Type, o.Shape.Columns, o.Shape.Columns % wanted.BlockSize() == 0)))
        {
            string names = string.Join(", ", group.Take(3).Select(o => o.Name)) + (group.Count() > 3 ? $" and {group.Count() - 3} more" : "");
            notes.Add($"{group.Key.Type} instead of {wanted}: {names}{(group.Key.Fits ? ", where logits come from" : $", whose rows of {group.Key.Columns} are no whole blocks")}");
        }
    }

    private static DType MostBytes(IEnumerable<Tensor> tensors) =>
        tensors.GroupBy(t => t.Type).OrderByDescending(g => g.Sum(t => t.ByteLength)).Select(g => g.Key).FirstOrDefault(GgufWeightTypes.Writable.Contains, DType.F32);
}
