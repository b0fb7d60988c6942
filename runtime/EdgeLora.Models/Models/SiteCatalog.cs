using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>One place of the base where an adapter may act: exactly one of Linear, Norm, Embedding is set.</summary>
/// <param name="Name">Module name as PEFT would spell it without <c>base_model.model.</c>: <c>model.layers.0.self_attn.q_proj</c>, <c>transformer.wte</c>, <c>lm_head</c>.</param>
/// <param name="Linear">A linear layer (Conv1D included).</param>
/// <param name="Norm">A norm.</param>
/// <param name="Embedding">A table of embeddings.</param>
/// <param name="RowOrder">Set where the stored weight's output rows are permuted (llama GGUF q and k): stored row i is checkpoint row RowOrder[i].</param>
/// <param name="RotatedHeads">For q and k: how many heads the rows are; else 0.</param>
public sealed record ModelSite(string Name, LinearSite? Linear = null, NormSite? Norm = null, EmbeddingSite? Embedding = null, int[]? RowOrder = null, int RotatedHeads = 0)
{
    /// <summary>Index in every <see cref="SiteTable"/>.</summary>
    public int Index => Linear?.Index ?? Norm?.Index ?? Embedding!.Index;

    /// <summary>The base's bias of this module; null where it has none.</summary>
    public DeviceTensor? Bias => Linear?.Bias ?? Norm?.Bias;

    /// <summary>Whether its checkpoint and its adapters have the weight as GPT-2's Conv1D, [I, O]; in GGUF it is stored [O, I].</summary>
    public bool IsConv1D { get; init; }

    /// <summary>For fused q, k and v which a GGUF has in another order: their heads.</summary>
    public HeadRows? FusedHeads { get; init; }

    /// <summary>Which heads the rows are, where a GGUF may have them in another order; else null.</summary>
    public HeadRows? Heads => FusedHeads ?? (RotatedHeads > 0 ? new HeadRows(RotatedHeads) : null);

    /// <summary>What a norm's gains in the file have more than those on the device, which are as adapters bring them.</summary>
    public float GainShift { get; init; }

    /// <summary>How its weight lies against a checkpoint's.</summary>
    public FileLayout WeightLayout => this is { IsConv1D: true, Linear.InputMajor: false } ? new(Turned: true) : RowLayout;

    /// <summary>How what has a row for every output lies against a file's: biases, magnitudes, B.</summary>
    public FileLayout RowLayout => RowOrder is null ? FileLayout.Same : new(RowOrder);
}

/// <summary>All sites of an instantiated base by name.</summary>
public sealed class SiteCatalog
{
    private readonly Dictionary<string, ModelSite> _byName;
    private readonly Dictionary<string, int> _bottlenecks = new(StringComparer.Ordinal);

    /// <summary>A catalog of <paramref name="sites"/>, whose indices are 0..n-1 in order; without places for bottlenecks where the model's layers run none.</summary>
    public SiteCatalog(IReadOnlyList<ModelSite> sites, string? headName, string embeddingName, bool tiedHead, int layers, bool bottlenecks = true)
    {
        Sites = sites;
        HeadName = headName;
        EmbeddingName = embeddingName;
        TiedHead = tiedHead;
        Layers = layers;
        _byName = sites.ToDictionary(s => s.Name, StringComparer.Ordinal);
        for (int i = 0; bottlenecks && i < layers; i++)
            foreach (string part in (string[])["attn", "mlp"])
                _bottlenecks[$"layers.{i}.{part}_adapter"] = sites.Count + _bottlenecks.Count;
    }

    /// <summary>The linear layers, for adapters that are cut to them when they are read. Made at first use.</summary>
    public BaseLayers LinearLayers => field ??= new(Sites.Where(s => s.Linear is not null).Select(s => new BaseLinear(s.Name, s.Linear!.Outputs, s.Linear.Inputs, !s.IsConv1D, s.Linear.Weight.Type)));

    /// <summary>Places for bottleneck adapters by name (<c>layers.0.attn_adapter</c>, <c>layers.0.mlp_adapter</c>, …), with their indices, which follow those of <see cref="Sites"/>.</summary>
    public IReadOnlyDictionary<string, int> Bottlenecks => _bottlenecks;

    /// <summary>Entries of a <see cref="SiteTable"/>: sites and bottlenecks.</summary>
    public int Count => Sites.Count + _bottlenecks.Count;

    /// <summary>Every site in index order.</summary>
    public IReadOnlyList<ModelSite> Sites { get; }

    /// <summary>Name of the output head's module: <c>lm_head</c>.</summary>
    public string? HeadName { get; }

    /// <summary>Name of the token embedding's module: <c>model.embed_tokens</c>; empty where the model reads no tokens.</summary>
    public string EmbeddingName { get; }

    /// <summary>True when head and embedding share one weight in the base.</summary>
    public bool TiedHead { get; }

    /// <summary>The base's <c>model_type</c>; empty where it is not known.</summary>
    public string ModelType { get; init; } = "";

    /// <summary>Decoder layers.</summary>
    public int Layers { get; }

    /// <summary>The site of this name, or null.</summary>
    public ModelSite? Find(string name) => _byName.GetValueOrDefault(name);
}
