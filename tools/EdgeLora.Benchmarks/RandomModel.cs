using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Benchmarks;

/// <summary>Writes bases and adapters with random weights. The same numbers every time; memory stays that of one tensor.</summary>
internal static class RandomModel
{
    /// <summary>SmolLM-135M's shape: 134.5 million parameters.</summary>
    private const string Config135M = """
        {
          "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "tie_word_embeddings": true, "torch_dtype": "bfloat16",
          "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
          "vocab_size": 49152, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0
        }
        """;

    private static readonly WeightPlan s_plan = Plan("135M", Config135M);

    /// <summary>The 135M base as a Hugging Face folder in BF16.</summary>
    public static void WriteFolder(string folder) => WriteFolder(folder, Config135M, DType.BF16);

    /// <summary>A base as a Hugging Face folder.</summary>
    /// <param name="folder">Where it is written.</param>
    /// <param name="config">Its config.json.</param>
    /// <param name="type">Of every tensor.</param>
    public static void WriteFolder(string folder, string config, DType type)
    {
        Directory.CreateDirectory(folder);
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), Plan(folder, config).Weights.Select((w, i) => Random(w.Name, w, type, i)));
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
    }

    /// <summary>The 135M base as GGUF: matrices and table in Q8_0, gains in F32.</summary>
    public static void WriteGguf(string path)
    {
        ModelConfig c = s_plan.Config;
        Dictionary<string, object> metadata = new()
        {
            ["general.architecture"] = c.ModelType,
            ["llama.context_length"] = (uint)c.ContextLength,
            ["llama.embedding_length"] = (uint)c.HiddenSize,
            ["llama.block_count"] = (uint)c.Layers,
            ["llama.feed_forward_length"] = (uint)s_plan.Weights.First(w => w.Name.EndsWith("up_proj.weight", StringComparison.Ordinal)).Shape[0],
            ["llama.attention.head_count"] = (uint)c.Heads,
            ["llama.attention.head_count_kv"] = (uint)c.KvHeads,
            ["llama.attention.layer_norm_rms_epsilon"] = 1e-5f,
            ["llama.rope.freq_base"] = 10000f,
        };
        GgufFile.Write(path, metadata, [.. s_plan.Weights.Select((w, i) => Random(GgufNames.ToGguf(c.ModelType, w.Name)!, w, w.Role == WeightRole.Gain ? DType.F32 : DType.Q8_0, i))]);
    }

    /// <summary>A PEFT LoRA on every linear layer of a base but its head. B is random too, so that the adapter does something.</summary>
    /// <param name="folder">Where it is written.</param>
    /// <param name="baseFolder">A folder with config.json; null: the 135M base.</param>
    /// <param name="rank">R; alpha is the same.</param>
    /// <param name="seed">Where its numbers start.</param>
    public static void WriteAdapter(string folder, string? baseFolder, int rank, int seed)
    {
        WeightPlan plan = baseFolder is null ? s_plan : Plan(baseFolder, File.ReadAllText(Path.Combine(baseFolder, "config.json")));
        List<(string, PeftPart, Tensor)> tensors = [];
        foreach (PlannedWeight w in plan.Weights.Where(w => w.Role == WeightRole.Linear && w.Module != "lm_head"))
        {
            PlannedWeight a = w with { Shape = new(rank, w.Shape.Columns) }, b = w with { Shape = new(w.Shape[0], rank) };
            tensors.Add((w.Module, PeftPart.A, Random(w.Name, a, DType.F32, seed++)));
            tensors.Add((w.Module, PeftPart.B, Random(w.Name, b, DType.F32, seed++)));
        }
        PeftConfig config = new() { Rank = rank, Alpha = rank, TargetModules = [.. tensors.Select(t => t.Item1[(t.Item1.LastIndexOf('.') + 1)..]).Distinct()] };
        PeftAdapter.Create(folder, config, tensors).Write(folder);
    }

    private static WeightPlan Plan(string path, string config) => WeightPlan.Of(HfConfig.Parse(path, System.Text.Encoding.UTF8.GetBytes(config)));

    private static Tensor Random(string name, PlannedWeight weight, DType type, int seed) => new(name, type, weight.Shape, new ComputedStorage(type.Bytes(weight.Shape.Elements), () =>
    {
        float[] values = new float[weight.Shape.Elements];
        Xoshiro256 random = new((ulong)seed);
        // Uniform, of the variance 1/columns that keeps activations near 1.
        double scale = Math.Sqrt(12.0 / weight.Shape.Columns);
        for (int i = 0; i < values.Length; i++)
            values[i] = weight.Role == WeightRole.Gain ? 1 : (float)((random.NextDouble() - 0.5) * scale);
        return QuantBlocks.ToTensor(name, type, weight.Shape, values);
    }));
}
