using System.Text.Json.Nodes;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli;

/// <summary>The tensors of a base with a path merged in. What the path changes is F32; the rest keeps its stored form.</summary>
internal sealed class MergedModel
{
    private static readonly string[] s_copied =
    [
        "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "vocab.json", "merges.txt",
    ];
    private readonly Dictionary<string, Tensor> _tensors;
    private readonly BaseCheckpoint _checkpoint;
    private readonly bool _untie;

    /// <summary>Merges. Throws <see cref="ModelFileException"/> where the base's own layout cannot hold the result.</summary>
    public MergedModel(DecoderModel model, AdapterPath path, CancellationToken cancellation, Action<long, long> progress)
    {
        _checkpoint = model.Checkpoint;
        if (!Directory.Exists(_checkpoint.Path))
            throw new ModelFileException(_checkpoint.Path, "merge: expected a Hugging Face folder as the base, found a GGUF file");
        if (path.Invocation is not null)
            throw new InvalidOperationException($"{path}: an activated adapter acts from its invocation on only and cannot be merged");
        if (!model.Config.LayerOrder.SequenceEqual(Enumerable.Range(0, model.Config.Layers)))
            throw new InvalidOperationException($"{path}: layer_replication cannot be merged: copies of a layer would need weights of their own");
        _tensors = new(_checkpoint.Weights.Tensors, StringComparer.Ordinal);
        FaultList faults = new($"merge of {path}");
        IReadOnlyList<ModelSite> sites = model.Sites.Sites;
        for (int i = 0; i < sites.Count; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            if (path.Table[sites[i].Index] is { } adapter)
                _untie |= Merge(model, sites[i], adapter, faults);
            progress(i + 1, sites.Count);
        }
        faults.ThrowIfAny();
        string head = model.Sites.HeadName + ".weight";
        if (_untie && !_tensors.ContainsKey(head))
        {
            DeviceTensor stored = AdapterMerge.StoredWeight(model.Sites.Find(model.Sites.HeadName!)!);
            _tensors[head] = Tensor.FromFloats(head, stored.Shape, stored.ToFloats());
        }
    }

    /// <summary>Tensors that differ from the base's.</summary>
    public int Changed { get; private set; }

    /// <summary>All tensors.</summary>
    public int Count => _tensors.Count;

    /// <summary>Writes a model folder.</summary>
    public void Write(string folder)
    {
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), _tensors.Values, new Dictionary<string, string> { ["format"] = "pt" });
        byte[] config = File.ReadAllBytes(Path.Combine(_checkpoint.Path, "config.json"));
        if (_untie)
        {
            JsonObject fields = JsonNode.Parse(config)!.AsObject();
            fields["tie_word_embeddings"] = false;
            config = System.Text.Encoding.UTF8.GetBytes(fields.ToJsonString());
        }
        AtomicFile.WriteBytes(Path.Combine(folder, "config.json"), config);
        foreach (string name in s_copied)
            if (File.Exists(Path.Combine(_checkpoint.Path, name)))
                File.Copy(Path.Combine(_checkpoint.Path, name), Path.Combine(folder, name));
    }

    // True when a tied head and its table part: each then has a weight of its own.
    private bool Merge(DecoderModel model, ModelSite site, SiteAdapter adapter, FaultList faults)
    {
        bool head = site.Name == model.Sites.HeadName && model.Config.TiedHead;
        Tensor weight = AdapterMerge.EffectiveWeight(site, adapter);
        Put(head ? site.Name + ".weight" : weight.Name, weight);
        if (AdapterMerge.EffectiveBias(site, adapter) is { } bias)
        {
            DeviceTensor? stored = site.Linear?.Bias ?? site.Norm?.Bias;
            if (stored is not null)
                Put(stored.Name, bias);
            else if (bias.ToFloats().Any(x => x != 0))
                faults.Add($"{site.Name}.bias: the path adds a bias, and the base's layout has no place for it");
        }
        return model.Config.TiedHead && (head || site.Name == model.Sites.EmbeddingName);
    }

    private void Put(string name, Tensor tensor)
    {
        _tensors[name] = tensor.Name == name ? tensor : Tensor.FromFloats(name, tensor.Shape, tensor.ToFloats());
        Changed++;
    }
}
