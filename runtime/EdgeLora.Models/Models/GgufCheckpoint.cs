using System.Text;
using System.Text.Json.Nodes;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// A GGUF base seen as a Hugging Face checkpoint: its config in Hugging Face spelling and its tensors under Hugging Face names, still mapped; stacked ones part by part. Weights are not
/// rearranged; what differs in layout is said by <see cref="RotatesAdjacentPairs"/>, <see cref="PermutesQueryKeyRows"/> and <see cref="StoresConv1DAsLinear"/>.
/// </summary>
public sealed class GgufCheckpoint
{
    // Parts of one stack: the tables of real models have at most 512 experts.
    private const int MostParts = 4096;

    private readonly Dictionary<string, string> _names = [];
    private readonly Dictionary<string, string[]> _listed = [];

    /// <summary>Reads the metadata of <paramref name="file"/>, which stays the caller's. Throws <see cref="ModelFileException"/> naming the key at fault.</summary>
    public GgufCheckpoint(GgufFile file)
    {
        File = file;
        if (file.GetString("general.type", "model") is not "model" and string type)
            throw new ModelFileException(file.FilePath, $"key 'general.type': expected model, found {type}");
        Architecture = file.Architecture;
        if (!GgufNames.Architectures.Contains(Architecture))
            throw new ModelFileException(file.FilePath, $"key 'general.architecture': expected one of {string.Join(", ", GgufNames.Architectures)}, found {Architecture}");
        ConfigJson = GgufConfig.Read(file, Architecture);
        Config = HfConfig.Parse(file.FilePath, System.Text.Encoding.UTF8.GetBytes(ConfigJson.ToJsonString()));
        List<string> unmapped = [];
        foreach (GgufTensorInfo info in file.TensorInfos)
        {
            string[] names = NamesOf(info);
            _listed[info.Name] = names;
            foreach (string name in names)
                _names.TryAdd(name, info.Name);
            if (names.Length == 0 && info.Name is not ("rope_freqs.weight" or "rope_factors_long.weight" or "rope_factors_short.weight"))
                unmapped.Add(info.Name);
        }
        UnmappedTensors = unmapped;
    }

    /// <summary>The opened file.</summary>
    public GgufFile File { get; }

    /// <summary><c>general.architecture</c>: llama (Mistral and others too), qwen2, gemma3, gptneox …</summary>
    public string Architecture { get; }

    /// <summary>The config as a Hugging Face folder would have it in config.json.</summary>
    public JsonObject ConfigJson { get; }

    /// <summary><see cref="ConfigJson"/>, to be read as any other config.</summary>
    public HfConfig Config { get; }

    /// <summary>True for llama and granite: rotary pairs are rows 2i and 2i + 1 of a head, not i and i + d/2.</summary>
    public bool RotatesAdjacentPairs => PermutesQueryKeyRows;

    /// <summary>
    /// True for llama and granite: rows of q and k (weights and biases) are stored in the order of <see cref="QueryKeyPermutation.ToAdjacent"/>;
    /// the rows of a Hugging Face adapter's B for them must be put in that order too.
    /// </summary>
    public bool PermutesQueryKeyRows => GgufNames.PermutesQueryKeyRows(Architecture);

    /// <summary>True for gpt2: weights are [out, in]; in a Hugging Face file its Conv1D weights are [in, out].</summary>
    public bool StoresConv1DAsLinear => Architecture == "gpt2";

    /// <summary>Hugging Face tensor name to the file's.</summary>
    public IReadOnlyDictionary<string, string> Names => _names;

    /// <summary>Tensors of the file that the architecture has no name for.</summary>
    public IReadOnlyList<string> UnmappedTensors { get; }

    /// <summary>Opens <paramref name="path"/> as a base model; the result owns the file. Throws <see cref="ModelFileException"/> with every tensor whose type is not read.</summary>
    public static BaseCheckpoint Open(string path)
    {
        GgufFile file = GgufFile.Open(path);
        try
        {
            GgufCheckpoint checkpoint = new(file);
            return new(path, checkpoint.Config, checkpoint.ToTensorFile(),
                checkpoint.RotatesAdjacentPairs ? RopePairs.Adjacent : RopePairs.Halves, checkpoint.StoresConv1DAsLinear, file)
            {
                SplitsQueryKeyValue = GgufNames.SplitsQueryKeyValue(checkpoint.Architecture),
                ShiftsGains = GgufNames.ShiftsGains(checkpoint.Architecture),
            };
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The tensor of a Hugging Face name, under that name, without a copy. Throws <see cref="ModelFileException"/> when it is absent or of a type that is not read.</summary>
    public Tensor Tensor(string name)
    {
        if (!_names.TryGetValue(name, out string? stored))
            throw new ModelFileException(File.FilePath, $"tensor '{GgufNames.ToGguf(Architecture, name) ?? name}' ({name}) is missing");
        return Listed(stored, Array.IndexOf(_listed[stored], name));
    }

    /// <summary>Every mapped tensor under its Hugging Face name. Disposing it unmaps the file. Throws <see cref="ModelFileException"/> with every tensor whose type is not read.</summary>
    public TensorFile ToTensorFile() => File.ToTensorFile(info => _listed[info.Name].Select((_, at) => Listed(info.Name, at)));

    /// <summary>The Hugging Face names of one of the file's tensors: none, its own, or those of the parts of a stack.</summary>
    public IReadOnlyList<string> NamesIn(string stored) => _listed[stored];

    /// <summary>Whether the file's tensor is a stack of parts.</summary>
    public bool IsStack(string stored) => GgufStacks.PartToHuggingFace(Architecture, stored, 0) is not null;

    // What stands in the file under this name, or the part of it at a place in its list.
    private Tensor Listed(string stored, int at) => Renamed(IsStack(stored) ? File.Part(stored, at) : File.Tensor(stored), _listed[stored][at]);

    // llama.cpp takes the gate of a shared expert as a vector too.
    private static Tensor Renamed(Tensor tensor, string name) =>
        tensor.View(name, name.EndsWith(".shared_expert_gate.weight", StringComparison.Ordinal) && tensor.Shape.Rank == 1 ? new(1, tensor.Shape[0]) : tensor.Shape);

    private string[] NamesOf(GgufTensorInfo info)
    {
        if (IsStack(info.Name))
        {
            bool experts = GgufStacks.HoldsExperts(info.Name);
            long parts = info.Shape.Rank > 0 ? info.Shape[0] : 0, expected = experts ? File.GetInt($"{Architecture}.expert_count", 0) : parts;
            if (info.Shape.Rank != (experts ? 3 : 2) || parts != expected || parts > MostParts)
                throw new ModelFileException(File.FilePath, $"tensor '{info.Name}': expected {(experts ? $"{expected} matrices of experts, as key '{Architecture}.expert_count' says" : "a row for every head")}, found {info.Shape}");
            return [.. Enumerable.Range(0, (int)parts).Select(i => GgufStacks.PartToHuggingFace(Architecture, info.Name, i)!)];
        }
        if (GgufStacks.OfSingle(Architecture, info.Name) is { } single)
            return [GgufStacks.PartToHuggingFace(Architecture, single.Name, single.Part)!];
        if (GgufNames.ToHuggingFace(Architecture, info.Name) is not { } name)
            return [];
        // Falcon's attn_norm is the feed-forward's where attention has one of its own.
        return [Architecture == "falcon" && File.Contains("blk.0.attn_norm_2.weight") ? name.Replace(".input_layernorm.", ".ln_mlp.", StringComparison.Ordinal) : name];
    }
}
