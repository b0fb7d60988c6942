using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>The adapter that a trace begins with: its init/ folder, or whole tensors of the base.</summary>
internal static class TraceStart
{
    /// <summary>Opens and fits it. Throws <see cref="ModelFileException"/>.</summary>
    public static LoraAdapter Open(TrainingTrace trace, ITrainableModel model)
    {
        if (trace.Recipe.Method is TrainingMethod.Full or TrainingMethod.Freeze)
            return PartialStart.Create(trace.Recipe, model.Sites);
        string folder = trace.Recipe.AdapterInit ?? throw new ModelFileException(trace.Folder, "recipe.json: adapter_init: is missing");
        if (trace.Recipe.Method == TrainingMethod.Lora)
            return LoraAdapter.Load(folder, "trace", model.Sites);
        PeftConfig config = new() { PeftType = PeftConfig.Bottleneck, BottleneckActivation = trace.Recipe.BottleneckActivation };
        return LoraAdapter.Fit(PeftAdapter.From(folder, config, Safetensors.Open(Path.Combine(folder, PeftAdapter.WeightsName))), model.Sites, "trace");
    }
}
