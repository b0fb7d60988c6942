using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What a weight is to its module.</summary>
public enum WeightRole
{
    /// <summary>The matrix of a linear layer.</summary>
    Linear,
    /// <summary>A table of embeddings.</summary>
    Embedding,
    /// <summary>A norm's gain.</summary>
    Gain,
    /// <summary>The bias of a linear layer or of a norm.</summary>
    Bias,
}

/// <summary>A weight that a config asks for.</summary>
/// <param name="Name">Its name in a checkpoint: <c>model.norm.weight</c>.</param>
/// <param name="Module">Its module, as <see cref="ModelSite.Name"/>.</param>
/// <param name="Shape">Its shape in a checkpoint.</param>
/// <param name="Role">What it is to the module.</param>
/// <param name="StartScale">Factor on initializer_range where a fresh model is made.</param>
/// <param name="Offset">What is added to a gain where it is used: a fresh one is 1 with it.</param>
public sealed record PlannedWeight(string Name, string Module, Shape Shape, WeightRole Role, double StartScale = 1, float Offset = 0);

/// <summary>All weights of the model that a config describes, as its architecture itself asks for them: no checkpoint is needed.</summary>
/// <param name="Config">The model's numbers.</param>
/// <param name="Weights">Its weights in the order in which the architecture takes them. A tied head has none of its own.</param>
public sealed record WeightPlan(ModelConfig Config, IReadOnlyList<PlannedWeight> Weights)
{
    /// <summary>Elements of all weights.</summary>
    public long Parameters => Weights.Sum(w => w.Shape.Elements);

    /// <summary>The weights of <paramref name="config"/>. Throws <see cref="ModelFileException"/> naming the field that cannot be.</summary>
    public static WeightPlan Of(HfConfig config)
    {
        IArchitecture architecture = ArchitectureRegistry.For(config);
        using BaseCheckpoint checkpoint = new(config.FilePath, config, new TensorFile(config.FilePath, new Dictionary<string, Tensor>(), new Dictionary<string, string>(), []));
        ModelConfig numbers = architecture.ReadConfig(checkpoint);
        SiteBuilder build = new(checkpoint, backend: null);
        DecoderWeights weights = architecture.Load(numbers, build);
        HashSet<string> residual = architecture.ScalesResidualStart ? [.. weights.Layers.SelectMany(l => new[] { l.O, l.Down }).OfType<LinearSite>().Select(site => site.Name)] : [];
        double scale = 1 / Math.Sqrt(2.0 * numbers.Layers);
        return new(numbers, [.. build.Asked.Select(w => w.Role == WeightRole.Linear && residual.Contains(w.Module) ? w with { StartScale = scale } : w)]);
    }
}
