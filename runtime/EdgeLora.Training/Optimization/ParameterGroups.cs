using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>What a trained tensor is: it decides its learning rate and its decay.</summary>
public enum ParameterKind
{
    /// <summary>A of a linear layer, and what a method trains beside it: bottlenecks, whole weights, tables.</summary>
    Weight,
    /// <summary>B of a linear layer.</summary>
    LowRankB,
    /// <summary>A or B of an embedding.</summary>
    LowRankEmbedding,
    /// <summary>DoRA's magnitudes.</summary>
    Magnitude,
    /// <summary>A norm's gain.</summary>
    Gain,
    /// <summary>A bias of any module.</summary>
    Bias,
}

/// <summary>A tensor that trains.</summary>
/// <param name="Key">Its name in the file that is written.</param>
/// <param name="Shape">Its shape in that file.</param>
/// <param name="Kind">What it is.</param>
public sealed record TrainedTensor(string Key, Shape Shape, ParameterKind Kind);

/// <summary>Tensors with one learning rate and one decay.</summary>
/// <param name="LearningRate">Before the schedule.</param>
/// <param name="WeightDecay">Decoupled decay, scaled by the scheduled rate.</param>
/// <param name="Keys">File keys, in the order they were given.</param>
public sealed record ParameterGroup(double LearningRate, double WeightDecay, IReadOnlyList<string> Keys);

/// <summary>
/// Which tensors decay and how fast they learn. Biases and norms do not decay, all else does (transformers' Trainer). LoRA+ (arXiv:2402.12354, peft.optimizers.loraplus):
/// B, magnitudes and all else of one dimension learn with ratio times the rate, pairs on embeddings with a rate of their own.
/// </summary>
public static class ParameterGroups
{
    /// <summary>The groups, none of them empty, in the library's order: decaying, not decaying; with LoRA+ weights, embeddings, fast ones, fast ones that do not decay.</summary>
    public static IReadOnlyList<ParameterGroup> Of(TrainingRecipe recipe, IReadOnlyList<TrainedTensor> tensors)
    {
        double rate = recipe.LearningRate, decay = recipe.WeightDecay;
        List<ParameterGroup> groups = [];
        void Add(double learningRate, double weightDecay, Func<TrainedTensor, bool> takes)
        {
            string[] keys = [.. tensors.Where(takes).Select(t => t.Key)];
            if (keys.Length > 0)
                groups.Add(new(learningRate, weightDecay, keys));
        }
        if (recipe.LoraPlusRatio is { } ratio)
        {
            Add(rate, decay, t => t.Kind != ParameterKind.LowRankEmbedding && !IsFast(t));
            Add(recipe.LoraPlusEmbeddingRate, decay, t => t.Kind == ParameterKind.LowRankEmbedding);
            Add(rate * ratio, decay, t => IsFast(t) && Decays(t));
            Add(rate * ratio, 0, t => IsFast(t) && !Decays(t));
            return groups;
        }
        Add(rate, decay, Decays);
        Add(rate, 0, t => !Decays(t));
        return groups;
    }

    /// <summary>Whether weight_decay holds for <paramref name="tensor"/>.</summary>
    public static bool Decays(TrainedTensor tensor) => tensor.Kind is not (ParameterKind.Bias or ParameterKind.Gain);

    private static bool IsFast(TrainedTensor tensor) => tensor.Kind == ParameterKind.LowRankB || tensor.Shape.Rank == 1;
}
