using System.Text.Json.Nodes;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli;

/// <summary>The tensors of a base with a path merged in. What the path changes is F32 and computed when it is written, one tensor at a time; the rest keeps its stored form.</summary>
internal sealed class MergedModel
{
    private const string GenerationName = "generation_config.json";

    private readonly Dictionary<string, Tensor> _tensors;
    private readonly BaseCheckpoint _checkpoint;
    private readonly Action<long, long> _progress;
    private readonly bool _untie;
    private int _planned, _computed;

    /// <summary>Plans the merge. Throws <see cref="ModelFileException"/> where the base's own layout cannot hold the result.</summary>
    public MergedModel(DecoderModel model, AdapterPath path, Action<long, long> progress)
    {
        _checkpoint = model.Checkpoint;
        _progress = progress;
        if (!Directory.Exists(_checkpoint.Path))
            throw new ModelFileException(_checkpoint.Path, "merge: expected a Hugging Face folder as the base, found a GGUF file");
        if (path.Invocation is not null)
            throw new InvalidOperationException($"{path}: an activated adapter acts from its invocation on only and cannot be merged");
        if (!model.Config.LayerOrder.SequenceEqual(Enumerable.Range(0, model.Config.Layers)))
            throw new InvalidOperationException($"{path}: layer_replication cannot be merged: copies of a layer would need weights of their own");
        if (model.Sites.Bottlenecks.FirstOrDefault(b => path.Table[b.Value] is not null).Key is { } bottleneck)
            throw new InvalidOperationException($"{path}: {bottleneck} is a bottleneck adapter, which no weight can hold: it cannot be merged");
        _tensors = new(_checkpoint.Weights.Tensors, StringComparer.Ordinal);
        FaultList faults = new($"merge of {path}");
        foreach (ModelSite site in model.Sites.Sites)
            if (path.Table[site.Index] is { } adapter)
                _untie |= Merge(model, site, adapter, faults);
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

    /// <summary>Writes a model folder.</summary>
    public void Write(string folder, CancellationToken cancellation)
    {
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), _tensors.Values, new Dictionary<string, string> { ["format"] = "pt" }, cancellation);
        byte[] config = File.ReadAllBytes(Path.Combine(_checkpoint.Path, "config.json"));
        if (_untie)
        {
            JsonObject fields = JsonNode.Parse(config)!.AsObject();
            fields["tie_word_embeddings"] = false;
            config = System.Text.Encoding.UTF8.GetBytes(fields.ToJsonString());
        }
        AtomicFile.WriteBytes(Path.Combine(folder, "config.json"), config);
        Tokenizer.CopyFiles(_checkpoint.Path, folder);
        if (File.Exists(Path.Combine(_checkpoint.Path, GenerationName)))
            File.Copy(Path.Combine(_checkpoint.Path, GenerationName), Path.Combine(folder, GenerationName));
    }

    // True when a tied head and its table part: each then has a weight of its own.
    private bool Merge(DecoderModel model, ModelSite site, SiteAdapter adapter, FaultList faults)
    {
        bool head = site.Name == model.Sites.HeadName && model.Config.TiedHead;
        DeviceTensor stored = AdapterMerge.StoredWeight(site);
        Shape shape = (adapter.Weight ?? stored).Shape;
        Put(new(head ? site.Name + ".weight" : stored.Name, DType.F32, shape, new ComputedStorage(shape.Elements * sizeof(float), () => Compute(site, adapter))));
        _planned++;
        if (AdapterMerge.EffectiveBias(site, adapter) is { } bias)
        {
            if ((site.Linear?.Bias ?? site.Norm?.Bias) is { } own)
                Put(bias.View(own.Name, bias.Shape));
            else if (bias.ToFloats().Any(x => x != 0))
                faults.Add($"{site.Name}.bias: the path adds a bias, and the base's layout has no place for it");
        }
        return model.Config.TiedHead && (head || site.Name == model.Sites.EmbeddingName);
    }

    private Tensor Compute(ModelSite site, SiteAdapter adapter)
    {
        Tensor weight = AdapterMerge.EffectiveWeight(site, adapter);
        _progress(++_computed, _planned);
        return weight;
    }

    private void Put(Tensor tensor)
    {
        _tensors[tensor.Name] = tensor;
        Changed++;
    }
}
