using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What is particular to one family of checkpoints: its config's fields and its tensors' names.</summary>
public interface IArchitecture
{
    /// <summary>The <c>model_type</c>s it reads.</summary>
    IReadOnlyList<string> ModelTypes { get; }

    /// <summary>Reads the numbers. Throws <see cref="ModelFileException"/> naming file, field, expected, found.</summary>
    ModelConfig ReadConfig(BaseCheckpoint checkpoint);

    /// <summary>Takes the weights; shape faults are collected in <paramref name="build"/>.</summary>
    DecoderWeights Load(ModelConfig config, SiteBuilder build);

    /// <summary>Whether a fresh model's projections into the residual stream start smaller by √(2·layers). Source: huggingface/transformers, each model's _init_weights.</summary>
    bool ScalesResidualStart => false;
}

/// <summary>The architectures, one line each.</summary>
public static class ArchitectureRegistry
{
    /// <summary>All architectures.</summary>
    public static IReadOnlyList<IArchitecture> All { get; } =
    [
        new Llama(),
        new Qwen2(),
        new Qwen2Moe(),
        new Qwen3(),
        new Qwen3Moe(),
        new Mixtral(),
        new SmolLM3(),
        new Gpt2(),
        new Granite(),
        new Olmo2(),
        new StarCoder2(),
        new Phi3(),
        new Gemma2(),
        new Gemma3(),
        new Cohere(),
        new StableLm(),
        new GptNeoX(),
        new Falcon(),
        new Opt(),
    ];

    /// <summary>The architecture of this config. Throws <see cref="ModelFileException"/> naming those that are known.</summary>
    public static IArchitecture For(HfConfig config)
    {
        string type = config.ModelType;
        if (EncoderRegistry.Knows(config))
            throw new ModelFileException(config.FilePath, $"model_type: {type} is an encoder: it gives classes or hidden states and no next token; 'edgelora logits' and ClassifierHost run it");
        return All.FirstOrDefault(a => a.ModelTypes.Contains(type))
            ?? throw config.Refusal("model_type", "one of " + string.Join(", ", All.SelectMany(a => a.ModelTypes)));
    }
}
