using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>The start of bottleneck adapters: down uniform in ±1/√D, up and both biases zero, so that the first step begins as the base (arXiv:1902.00751 asks for a near-identity).</summary>
public static class BottleneckStart
{
    /// <summary>An adapter with a bottleneck behind the sub-layers that the recipe names.</summary>
    public static LoraAdapter Create(TrainingRecipe recipe, SiteCatalog sites)
    {
        int width = sites.Find(sites.EmbeddingName)!.Embedding!.Table.Columns, size = recipe.BottleneckSize;
        RandomTensors random = new(recipe.Seed);
        Dictionary<string, Tensor> tensors = new(StringComparer.Ordinal);
        void Add(string name, float[] values, params ReadOnlySpan<long> shape) => tensors.Add(name, Tensor.FromFloats(name, new Shape(shape), values));
        foreach (string name in sites.Bottlenecks.OrderBy(b => b.Value).Select(b => b.Key))
        {
            if (recipe.BottleneckPlacement == BottleneckPlacement.Pfeiffer && name.EndsWith(".attn_adapter", StringComparison.Ordinal))
                continue;
            Add(name + ".down.weight", random.Uniform((long)size * width, 1 / Math.Sqrt(width)), size, width);
            Add(name + ".down.bias", new float[size], size);
            Add(name + ".up.weight", new float[width * size], width, size);
            Add(name + ".up.bias", new float[width], width);
        }
        PeftConfig config = new() { PeftType = PeftConfig.Bottleneck, BottleneckActivation = recipe.BottleneckActivation };
        return LoraAdapter.Fit(PeftAdapter.From(recipe.Source, config, new TensorFile(recipe.Source, tensors, new Dictionary<string, string>(), [])), sites, "start");
    }
}
