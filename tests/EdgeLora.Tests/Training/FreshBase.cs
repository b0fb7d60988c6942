using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;

namespace EdgeLora.Tests.Training;

/// <summary>Makes small bases with random weights in a temporary folder, for every architecture that is registered.</summary>
internal sealed class FreshBase : IDisposable
{
    public const string Begin = "<|endoftext|>";

    private const string Experts = """, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 24""";

    public static readonly string[] Sentences =
    [
        "The cat sat on the mat. The dog sat on the log. ", "The cat saw the dog, and the dog saw the cat. ", "The mat is on the floor, and the log is in the wood. ",
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-base-").FullName;

    /// <summary>model_types of the registry.</summary>
    public static IEnumerable<string> ModelTypes => ArchitectureRegistry.All.SelectMany(a => a.ModelTypes);

    /// <summary>A config that names neither vocab_size nor special tokens: GPT-2 has names of its own, the others share theirs; OPT calls one of them otherwise, mixtures have some more.</summary>
    public static string Config(string modelType, string more = "") => modelType == "gpt2"
        ? $$"""{"model_type": "gpt2", "n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64{{more}}}"""
        : $$"""{"model_type": "{{modelType}}", "hidden_size": 32, "{{(modelType == "opt" ? "ffn_dim" : "intermediate_size")}}": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64{{(modelType.EndsWith("_moe", StringComparison.Ordinal) ? Experts : "")}}{{more}}}""";

    public string Path(string name) => System.IO.Path.Combine(_folder, name);

    public string Write(string name, string text)
    {
        File.WriteAllText(Path(name), text);
        return Path(name);
    }

    /// <summary>Writes a base and returns its folder.</summary>
    public string Make(string name, string config, int seed = 1, DType type = DType.F32, int vocabulary = 300)
    {
        string folder = Directory.CreateDirectory(Path(name)).FullName;
        BpeTrainer trainer = new(vocabulary, [Begin]);
        foreach (string sentence in Sentences)
            trainer.Add(sentence);
        trainer.Train().Write(folder, new Dictionary<string, string> { ["bos_token"] = Begin, ["eos_token"] = Begin });
        RandomBase.Write(folder, BaseConfig.Read(Write(name + ".json", config)), Tokenizer.Load(folder), type, seed);
        return folder;
    }

    public void Dispose() => Directory.Delete(_folder, true);
}
