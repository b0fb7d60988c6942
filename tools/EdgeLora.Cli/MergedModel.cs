using System.Text.Json.Nodes;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli;

/// <summary>The tensors of a base with a path merged in. What the path changes is computed when it is written, one tensor at a time; the rest keeps its stored form.</summary>
internal sealed class MergedModel
{
    private const string GenerationName = "generation_config.json";

    private readonly Dictionary<string, Tensor> _tensors;
    private readonly BaseCheckpoint _checkpoint;
    private readonly DType _type;
    private readonly Action<long, long> _progress;
    private readonly bool _untie;
    private int _planned, _computed;

    /// <summary>Plans the merge; what changes is stored as <paramref name="type"/>. Throws <see cref="ModelFileException"/> where the base's own layout cannot hold the result.</summary>
    public MergedModel(DecoderModel model, AdapterPath path, DType type, Action<long, long> progress)
    {
        _type = type;
        _checkpoint = model.Checkpoint;
        _progress = progress;
        if (path.Invocation is not null)
            throw new InvalidOperationException($"{path}: an activated adapter acts from its invocation on only and cannot be merged");
        if (!model.Config.LayerOrder.SequenceEqual(Enumerable.Range(0, model.Config.Layers)))
            throw new InvalidOperationException($"{path}: layer_replication cannot be merged: copies of a layer would need weights of their own");
        if (model.Sites.Bottlenecks.FirstOrDefault(b => path.Table[b.Value] is not null).Key is { } bottleneck)
            throw new InvalidOperationException($"{path}: {bottleneck} is a bottleneck adapter, which no weight can hold: it cannot be merged");
        _tensors = new(_checkpoint.Weights.Tensors, StringComparer.Ordinal);
        FaultList faults = new($"merge of {path}");
        _untie = model.Config.TiedHead && Parts(path.Table[model.Sites.Find(model.Sites.HeadName!)!.Index], path.Table[model.Sites.Find(model.Sites.EmbeddingName)!.Index]);
        foreach (ModelSite site in model.Sites.Sites)
            if (path.Table[site.Index] is { } adapter && (_untie || !model.Config.TiedHead || site.Name != model.Sites.HeadName))
                Merge(model, site, adapter, faults);
        faults.ThrowIfAny();
        string head = model.Sites.HeadName + ".weight";
        if (_untie && !_tensors.ContainsKey(head))
        {
            DeviceTensor stored = AdapterMerge.StoredWeight(model.Sites.Find(model.Sites.HeadName!)!);
            _tensors[head] = _checkpoint.Weights.Tensors[stored.Name].View(head, stored.Shape);
        }
    }

    /// <summary>Tensors that differ from the base's.</summary>
    public int Changed { get; private set; }

    /// <summary>All tensors.</summary>
    public int Count => _tensors.Count;

    /// <summary>The merged model as GGUF.</summary>
    /// <param name="type">Type of its matrices; null: as they are.</param>
    /// <param name="name"><c>general.name</c>.</param>
    public GgufModel ToGguf(DType? type, string name) => GgufModel.Of(_checkpoint, new() { Type = type, Name = name, Tensors = _tensors });

    /// <summary>Writes a model folder. Throws <see cref="ModelFileException"/> where the base is a GGUF file.</summary>
    public void Write(string folder, CancellationToken cancellation)
    {
        if (!Directory.Exists(_checkpoint.Path))
            throw new ModelFileException(_checkpoint.Path, "merge: a GGUF base becomes a .gguf file; convert makes that a folder");
        // A quantised base's blocks have no name in safetensors: the merged model is one of floats.
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), _tensors.Values.Select(t => t.Type.BlockSize() == 1 ? TensorOutput.Same(t) : TensorOutput.Same(t) with { Type = _type }),
            new Dictionary<string, string> { ["format"] = "pt" }, null, cancellation);
        JsonObject config = JsonNode.Parse(File.ReadAllBytes(Path.Combine(_checkpoint.Path, "config.json")))!.AsObject();
        config.Remove("quantization_config");
        config.Remove("quantization");
        if (_untie)
            config["tie_word_embeddings"] = false;
        if (Changed > 0)
            HfConfig.SetType(config, _type);
        AtomicFile.WriteText(Path.Combine(folder, "config.json"), config.ToJsonString());
        Tokenizer.CopyFiles(_checkpoint.Path, folder);
        if (File.Exists(Path.Combine(_checkpoint.Path, GenerationName)))
            File.Copy(Path.Combine(_checkpoint.Path, GenerationName), Path.Combine(folder, GenerationName));
    }

    // Whether a tied head and its table need a weight each. One weight in place of both, as full training leaves it, stays one.
    private static bool Parts(SiteAdapter? head, SiteAdapter? table) =>
        (head is not null || table is not null)
        && (head is null || table is null || head.Steps.Length + table.Steps.Length > 0 || head.Weight != table.Weight || head.Rows?.Values != table.Rows?.Values);

    private void Merge(DecoderModel model, ModelSite site, SiteAdapter adapter, FaultList faults)
    {
        bool head = site.Name == model.Sites.HeadName && _untie;
        DeviceTensor stored = AdapterMerge.StoredWeight(site);
        Shape shape = (adapter.Weight ?? stored).Shape;
        Put(new(head ? site.Name + ".weight" : stored.Name, _type, shape, new ComputedStorage(_type.Bytes(shape.Elements), () => Compute(site, adapter))));
        _planned++;
        if (AdapterMerge.EffectiveBias(site, adapter) is { } bias)
        {
            if ((site.Linear?.Bias ?? site.Norm?.Bias) is { } own)
                Put(Stored(bias).View(own.Name, bias.Shape));
            else if (bias.ToFloats().Any(x => x != 0))
                faults.Add($"{site.Name}.bias: the path adds a bias, and the base's layout has no place for it");
        }
    }

    private Tensor Compute(ModelSite site, SiteAdapter adapter)
    {
        Tensor weight = AdapterMerge.EffectiveWeight(site, adapter);
        _progress(++_computed, _planned);
        if (site.GainShift != 0)
            weight = Tensor.FromFloats(weight.Name, weight.Shape, Array.ConvertAll(weight.ToFloats(), v => v + site.GainShift));
        return Stored(weight);
    }

    private Tensor Stored(Tensor tensor) => tensor.Type == _type ? tensor : QuantBlocks.ToTensor(tensor.Name, _type, tensor.Shape, tensor.ToFloats());

    private void Put(Tensor tensor)
    {
        _tensors[tensor.Name] = tensor;
        Changed++;
    }
}
