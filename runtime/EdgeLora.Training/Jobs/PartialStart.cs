using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>The start of full and partial fine-tuning: F32 copies of whole tensors of the base, which itself is never written. A quantised one is dequantised.</summary>
public static class PartialStart
{
    /// <summary>An adapter of the weights that the recipe trains, under their names in a checkpoint and in its order of rows. Throws <see cref="ModelFileException"/> where there is none.</summary>
    public static LoraAdapter Create(TrainingRecipe recipe, SiteCatalog sites)
    {
        Dictionary<string, Tensor> copies = new(StringComparer.Ordinal);
        foreach (TrainableWeight weight in TrainableWeights.Of(recipe, sites))
            copies[weight.Key] = weight.Copy().View(weight.Key, weight.Trained.Shape);
        return LoraAdapter.Fit(
            PeftAdapter.From(recipe.Source, new PeftConfig { PeftType = PeftConfig.Partial }, new TensorFile(recipe.Source, copies, new Dictionary<string, string>(), [])), sites, "start");
    }
}
