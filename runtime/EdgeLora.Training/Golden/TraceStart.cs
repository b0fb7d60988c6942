using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>The adapter that a trace begins with: its init/ folder, or whole tensors of the base.</summary>
internal static class TraceStart
{
    /// <summary>Opens and fits it. Throws <see cref="ModelFileException"/>, and <see cref="NotSupportedException"/> for a method that is not built.</summary>
    public static LoraAdapter Open(TrainingTrace trace, DecoderModel model)
    {
        string method = trace.Text("method");
        return method switch
        {
            "lora" => LoraAdapter.Load(Init(trace), "trace", model.Sites),
            "bottleneck" => Bottleneck(trace, model),
            "full" => WholeTensors(trace, model, _ => true),
            "partial" => WholeTensors(trace, model, Named(trace)),
            _ => throw new NotSupportedException($"{trace.Folder}: method {method} is not supported; lora, full, partial and bottleneck are"),
        };
    }

    private static string Init(TrainingTrace trace) => trace.FolderOf("adapter_init") ?? throw new ModelFileException(trace.Folder, "recipe.json: adapter_init: is missing");

    private static LoraAdapter Bottleneck(TrainingTrace trace, DecoderModel model)
    {
        string act = trace.Recipe.GetProperty("bottleneck").GetProperty("act").GetString() ?? "";
        if (!PeftConfig.ActivationNames.TryGetValue(act, out Activation activation))
            throw new ModelFileException(trace.Folder, $"recipe.json: bottleneck.act: expected one of {string.Join(", ", PeftConfig.ActivationNames.Keys)}, found {act}");
        string folder = Init(trace);
        PeftConfig config = new() { PeftType = PeftConfig.Bottleneck, BottleneckActivation = activation };
        return LoraAdapter.Fit(PeftAdapter.From(folder, config, Safetensors.Open(Path.Combine(folder, PeftAdapter.WeightsName))), model.Sites, "trace");
    }

    private static Func<string, bool> Named(TrainingTrace trace)
    {
        string[] parts = [.. trace.Recipe.GetProperty("train").EnumerateArray().Select(v => v.GetString()!)];
        return key => parts.Any(p => key.Contains(p, StringComparison.Ordinal));
    }

    private static LoraAdapter WholeTensors(TrainingTrace trace, DecoderModel model, Func<string, bool> trains) =>
        LoraAdapter.Fit(PartialStart.Create(trace.Folder, model.Checkpoint.Weights.Tensors, trains), model.Sites, "trace");
}
