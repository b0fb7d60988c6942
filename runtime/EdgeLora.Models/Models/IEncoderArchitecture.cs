using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What is particular to one family of encoders: its config's fields and its tensors' names.</summary>
public interface IEncoderArchitecture
{
    /// <summary>The <c>model_type</c>s it reads.</summary>
    IReadOnlyList<string> ModelTypes { get; }

    /// <summary>The class that config.json's <c>architectures</c> names where the checkpoint classifies, without its model's name: <c>ForSequenceClassification</c>.</summary>
    string ClassifierSuffix { get; }

    /// <summary>Reads the numbers. Throws <see cref="ModelFileException"/> naming file, field, expected, found.</summary>
    ModelConfig ReadConfig(HfConfig config);

    /// <summary>Takes the weights; faults are collected in <paramref name="build"/>.</summary>
    /// <param name="config">The numbers.</param>
    /// <param name="build">Where they come from.</param>
    /// <param name="head">Takes the modules that a checkpoint without a classifier lacks.</param>
    EncoderWeights Load(ModelConfig config, SiteBuilder build, ClassifierHead head);
}

/// <summary>The encoders, one line each.</summary>
public static class EncoderRegistry
{
    /// <summary>All encoders.</summary>
    public static IReadOnlyList<IEncoderArchitecture> All { get; } =
    [
        new Bert(),
        new Roberta(),
        new DistilBert(),
        new Vit(),
    ];

    /// <summary>Whether <paramref name="config"/> is an encoder's.</summary>
    public static bool Knows(HfConfig config) => config.TryGetString("model_type", out string type) && All.Any(a => a.ModelTypes.Contains(type));

    /// <summary>The architecture of this config. Throws <see cref="ModelFileException"/> naming those that are known.</summary>
    public static IEncoderArchitecture For(HfConfig config)
    {
        string type = config.ModelType;
        return All.FirstOrDefault(a => a.ModelTypes.Contains(type))
            ?? throw config.Refusal("model_type", "one of " + string.Join(", ", All.SelectMany(a => a.ModelTypes)));
    }
}
