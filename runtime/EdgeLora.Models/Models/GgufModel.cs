using System.Globalization;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>How a base is written as GGUF.</summary>
public sealed record GgufModelOptions
{
    /// <summary>The type of its matrices, as <see cref="GgufWeightTypes.Of"/> spreads it; null: each keeps its stored type.</summary>
    public DType? Type { get; init; }

    /// <summary><c>general.name</c>; null: the folder's name.</summary>
    public string? Name { get; init; }

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
    private static readonly (string ModelType, string Architecture)[] s_architectures = [("llama", "llama"), ("mistral", "llama"), ("qwen2", "qwen2"), ("qwen3", "qwen3"), ("gpt2", "gpt2")];

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
        string architecture = file.Architecture;
        List<(string Name, Tensor Source)> sources = [.. file.TensorInfos.Select(t => (t.Name, GgufNames.ToHuggingFace(architecture, t.Name) is { } known && tensors.TryGetValue(known, out Tensor? tensor) ? tensor : file.Tensor(t.Name)))];
        foreach ((string name, Tensor tensor) in tensors)
            if (!checkpoint.Weights.Tensors.ContainsKey(name))
                sources.Add((GgufNames.ToGguf(architecture, name) ?? throw new ModelFileException(checkpoint.Path, $"{name}: GGUF's {architecture} has no name for it"), tensor));
        bool tied = sources.All(s => s.Name != "output.weight");
        TensorOutput[] outputs = [.. sources.Select(s => Output(s.Name, s.Source, null, false, options.Type, tied))];
        Note(outputs, options.Type, notes);
        return new(metadata, outputs, notes);
    }

    private static GgufModel FromFolder(BaseCheckpoint checkpoint, GgufModelOptions options)
    {
        HfConfig config = checkpoint.Config;
        string architecture = Array.Find(s_architectures, a => a.ModelType == config.ModelType).Architecture
            ?? throw config.Refusal("model_type", $"one that is written as GGUF: {string.Join(", ", s_architectures.Select(a => a.ModelType))}");
        ModelConfig numbers = ArchitectureRegistry.For(config).ReadConfig(checkpoint);
        IReadOnlyDictionary<string, Tensor> tensors = options.Tensors ?? checkpoint.Weights.Tensors;
        List<string> notes = [];
        DType most = options.Type ?? MostBytes(tensors.Values);
        string name = options.Name ?? Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(checkpoint.Path)));
        (List<KeyValuePair<string, object>> metadata, Tensor? frequencies) = GgufMetadata.Of(config, numbers, architecture, name, most, notes);
        GgufVocabularyWriter.Add(checkpoint.Path, config, numbers.Vocabulary, options.PreTokenizer, metadata, notes);
        bool tied = numbers.TiedHead && options.Tensors?.ContainsKey("lm_head.weight") != true;
        List<TensorOutput> outputs = Outputs(checkpoint.Path, tensors, architecture, numbers, tied, options.Type);
        if (frequencies is not null)
            outputs.Insert(0, TensorOutput.Same(frequencies));
        Note(outputs, options.Type, notes);
        return new(metadata, outputs, notes);
    }

    private static List<TensorOutput> Outputs(string path, IReadOnlyDictionary<string, Tensor> tensors, string architecture, ModelConfig numbers, bool tied, DType? type)
    {
        FaultList faults = new(path);
        List<(int Order, TensorOutput Output)> outputs = [];
        string prefix = tensors.ContainsKey("wte.weight") ? "transformer." : tensors.ContainsKey("embed_tokens.weight") ? "model." : "";
        foreach ((string stored, Tensor tensor) in tensors)
        {
            string name = stored == "lm_head.weight" ? stored : prefix + stored;
            // Buffers that older files hold: masks, frequencies.
            if (name.EndsWith(".attn.bias", StringComparison.Ordinal) || name.EndsWith(".attn.masked_bias", StringComparison.Ordinal) || name.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal))
                continue;
            if (GgufNames.ToGguf(architecture, name) is not { } target)
            {
                faults.Add($"{stored}: GGUF's {architecture} has no name for it");
                continue;
            }
            if (tied && target == "output.weight")
                continue;
            int heads = architecture != "llama" ? 0 : target.Contains(".attn_q.", StringComparison.Ordinal) ? numbers.Heads : target.Contains(".attn_k.", StringComparison.Ordinal) ? numbers.KvHeads : 0;
            int[]? order = heads > 0 ? QueryKeyPermutation.ToHalves((int)tensor.Shape[0], heads) : null;
            bool turned = architecture == "gpt2" && tensor.Shape.Rank == 2 && name.Contains(".c_", StringComparison.Ordinal);
            outputs.Add((Order(target), Output(target, tensor, order, turned, type, tied)));
        }
        faults.ThrowIfAny();
        return [.. outputs.OrderBy(o => o.Order).ThenBy(o => o.Output.Name, StringComparer.Ordinal).Select(o => o.Output)];
    }

    private static TensorOutput Output(string name, Tensor source, int[]? order, bool turned, DType? type, bool tied)
    {
        TensorOutput same = new(name, source.Type, source, order, turned);
        DType own = source.Type.IsWeight() && GgufWeightTypes.Writable.Contains(source.Type) ? source.Type : DType.F32;
        DType given = GgufWeightTypes.Of(name, same.Shape, type ?? own, isHead: type is not null && (name == "output.weight" || (tied && name == "token_embd.weight")));
        // Types that are only read stay as they are when nothing else is asked for.
        return type is null && !turned && source.Type.IsWeight() && !GgufWeightTypes.IsAlwaysF32(name, same.Shape) ? same : same with { Type = given };
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

    // Embeddings first, then the layers in order, then norm and head.
    private static int Order(string name) => name.StartsWith("blk.", StringComparison.Ordinal) ? 1 + int.Parse(name.AsSpan(4, name.IndexOf('.', 4) - 4), CultureInfo.InvariantCulture)
        : name.StartsWith("output", StringComparison.Ordinal) ? int.MaxValue : 0;

    private static DType MostBytes(IEnumerable<Tensor> tensors) =>
        tensors.GroupBy(t => t.Type).OrderByDescending(g => g.Sum(t => t.ByteLength)).Select(g => g.Key).FirstOrDefault(GgufWeightTypes.Writable.Contains, DType.F32);
}
