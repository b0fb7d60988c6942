using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>What a recipe means on a base: its start, its rows, what it will need.</summary>
public static class JobSetups
{
    /// <summary>Reads the data and prepares the start. Throws <see cref="ModelFileException"/>, <see cref="ArgumentException"/> or <see cref="InvalidDataException"/> with every fault.</summary>
    /// <param name="recipe">The run.</param>
    /// <param name="model">The base.</param>
    /// <param name="tokenizer">The base's; null where it has none and the rows are tokenised.</param>
    /// <param name="parent">The frozen path beneath.</param>
    /// <param name="parentFingerprint">Of the parent's tensors; empty below the root.</param>
    public static (JobSetup Setup, TrainableSummary Summary, DataReport Data) Of(TrainingRecipe recipe, DecoderModel model, Tokenizer? tokenizer, AdapterPath parent, string parentFingerprint)
    {
        DataOptions options = recipe.ToDataOptions(model.Config.Vocabulary);
        TrainingData data = TrainingData.Load(options with { CutoffLength = Math.Min(options.CutoffLength, model.Config.ContextLength) }, tokenizer, tokenizer?.ChatTemplate is { } source ? ChatTemplate.Parse(source) : null);
        string name = Path.GetFileName(Path.TrimEndingDirectorySeparator(recipe.OutputFolder));
        LoraAdapter Start() => StartOf(recipe, model, parent, name);
        TrainableSummary summary;
        using (LoraAdapter start = Start())
            summary = TrainableSummary.Of(start, model.Sites);
        return (new(name, recipe, parent, parentFingerprint, Start, data.Train, data.Validation), summary, data.Report);
    }

    // As PEFT's own fixtures have it: from the adapter's folder to the base's.
    private static string BaseName(TrainingRecipe recipe, DecoderModel model) => Path.GetRelativePath(Path.GetFullPath(recipe.OutputFolder), Path.GetFullPath(model.Checkpoint.Path)).Replace('\\', '/');

    private static LoraAdapter StartOf(TrainingRecipe recipe, DecoderModel model, AdapterPath parent, string name) => recipe.Method switch
    {
        TrainingMethod.Full or TrainingMethod.Freeze => PartialStart.Create(recipe, model.Sites),
        TrainingMethod.Bottleneck => recipe.AdapterInit is { } init ? LoraAdapter.Load(init, name, model.Sites) : BottleneckStart.Create(recipe, model.Sites),
        _ => LoraAdapter.Fit(AdapterStart.Of(recipe, model.Sites, parent.Table, BaseName(recipe, model)), model.Sites, name),
    };
}
