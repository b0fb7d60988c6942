using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>Lists what trains, with its key in the file that is written.</summary>
public static class TrainedTensors
{
    /// <summary>All tensors of an adapter but the frozen copies of the base's weights that it carries along.</summary>
    public static IReadOnlyList<TrainedTensor> Of(PeftAdapter adapter) =>
    [
        .. from module in adapter.Modules.Values
           from part in module.Parts
           where part.Key != PeftPart.BaseWeight
           select new TrainedTensor(part.Value.Name, part.Value.Shape, KindOf(part.Key, part.Value)),
    ];

    /// <summary>What a part of an adapter is to the optimizer.</summary>
    public static ParameterKind KindOf(PeftPart part, Tensor tensor) => part switch
    {
        PeftPart.B => ParameterKind.LowRankB,
        PeftPart.EmbeddingA or PeftPart.EmbeddingB => ParameterKind.LowRankEmbedding,
        PeftPart.Magnitude => ParameterKind.Magnitude,
        PeftPart.OutputBias or PeftPart.BaseBias or PeftPart.Bias => ParameterKind.Bias,
        // Only a norm's weight is a single row.
        PeftPart.Weight when tensor.Shape.Rank == 1 => ParameterKind.Gain,
        _ => ParameterKind.Weight,
    };
}

/// <summary>A weight or bias of the base of which a copy trains: full and partial fine-tuning.</summary>
/// <param name="Site">Its module.</param>
/// <param name="IsBias">The module's bias, not its weight.</param>
public sealed record TrainableWeight(ModelSite Site, bool IsBias)
{
    /// <summary>Its name in a checkpoint.</summary>
    public string Key => Site.Name + (IsBias ? ".bias" : ".weight");

    /// <summary>The base's own tensor.</summary>
    public DeviceTensor Stored => IsBias ? Site.Bias! : AdapterMerge.StoredWeight(Site);

    /// <summary>A copy in F32 as a checkpoint has it.</summary>
    public Tensor Copy() => IsBias ? new AdapterSource(Site, null).Bias()! : new AdapterSource(Site, null).Weight();

    /// <summary>What it is to the optimizer.</summary>
    public TrainedTensor Trained => new(Key, IsBias ? Stored.Shape : Site.WeightLayout.ToFile(Stored.Shape), IsBias ? ParameterKind.Bias : Site.Norm is not null ? ParameterKind.Gain : ParameterKind.Weight);
}

/// <summary>
/// Which weights full and partial fine-tuning train. A head that shares the embedding's weight is the embedding. Partial, the first of these that was given: names that contain a text;
/// all above the lower n layers; the last (first) n layers, or parts of them, with modules outside of the layers.
/// </summary>
public static class TrainableWeights
{
    /// <summary>The weights in the order of the sites. Throws <see cref="ModelFileException"/> for a name that is nowhere in the base, and where nothing is left.</summary>
    public static IReadOnlyList<TrainableWeight> Of(TrainingRecipe recipe, SiteCatalog sites)
    {
        FaultList faults = new(recipe.Source.Length > 0 ? recipe.Source : "recipe");
        List<TrainableWeight> all = [];
        foreach (ModelSite site in sites.Sites)
        {
            if (site.Name == sites.HeadName && sites.TiedHead || site.Embedding is not null && recipe.FreezeEmbeddings)
                continue;
            all.Add(new(site, false));
            if (site.Bias is not null)
                all.Add(new(site, true));
        }
        TrainableWeight[] chosen = [.. recipe.Method == TrainingMethod.Full ? all : recipe.TrainableNames.Count > 0 ? Named(recipe, all, faults) : Layered(recipe, sites, all, faults)];
        if (chosen.Length == 0)
            faults.Add("nothing of the base is left to train");
        faults.ThrowIfAny();
        return chosen;
    }

    private static IEnumerable<TrainableWeight> Named(TrainingRecipe recipe, List<TrainableWeight> all, FaultList faults)
    {
        foreach (string name in recipe.TrainableNames)
            if (!all.Any(w => w.Key.Contains(name, StringComparison.Ordinal)))
                faults.Add($"trainable_names: no weight's name contains {name}");
        return all.Where(w => recipe.TrainableNames.Any(n => w.Key.Contains(n, StringComparison.Ordinal)));
    }

    private static IEnumerable<TrainableWeight> Layered(TrainingRecipe recipe, SiteCatalog sites, List<TrainableWeight> all, FaultList faults)
    {
        if (recipe.FreezeLowerLayers is { } lower)
            return all.Where(w => w.Site.Embedding is null && (LayerOf(w) < 0 || LayerOf(w) >= lower));
        int count = recipe.FreezeTrainableLayers;
        if (Math.Abs(count) > sites.Layers)
            faults.Add($"freeze_trainable_layers: {Math.Abs(count)} layers, but the base has {sites.Layers}");
        (int from, int to) = count < 0 ? (0, -count) : (sites.Layers - count, sites.Layers);
        foreach (string name in recipe.FreezeTrainableModules)
            if (!all.Any(w => LayerOf(w) >= 0 && Holds(w, name)))
                faults.Add($"freeze_trainable_modules: no layer has a module {name}");
        foreach (string name in recipe.FreezeExtraModules)
            if (!all.Any(w => LayerOf(w) < 0 && Holds(w, name)))
                faults.Add($"freeze_extra_modules: the base has no module {name} outside of its layers");
        return all.Where(w => LayerOf(w) is int layer && layer >= 0
            ? layer >= from && layer < to && (recipe.FreezeTrainableModules.Count == 0 || recipe.FreezeTrainableModules.Any(n => Holds(w, n)))
            : recipe.FreezeExtraModules.Any(n => Holds(w, n)));
    }

    private static int LayerOf(TrainableWeight weight) => new PeftConfig().LayerOf(weight.Site.Name);

    private static bool Holds(TrainableWeight weight, string name) => $".{weight.Site.Name}.".Contains($".{name}.", StringComparison.Ordinal);
}
