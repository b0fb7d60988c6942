using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Measuring;

/// <summary>Writes bases with random weights. The same numbers every time; memory stays that of one tensor.</summary>
internal static class RandomModel
{
    /// <summary>A base of <paramref name="type"/> beneath <paramref name="stem"/>: a Hugging Face folder of that name for F32, F16 and BF16, else <c>stem.gguf</c>.</summary>
    public static void Write(string stem, LlamaShape shape, DType type)
    {
        if (type.BlockSize() == 1)
            WriteFolder(stem, shape, type);
        else
            WriteGguf(stem + ".gguf", shape, type);
    }

    /// <summary>A base as a Hugging Face folder, every tensor of <paramref name="type"/>.</summary>
    public static void WriteFolder(string folder, LlamaShape shape, DType type)
    {
        Directory.CreateDirectory(folder);
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), Plan(shape, type).Weights.Select((w, i) => Random(w.Name, w.Shape, type, i, w.Role == WeightRole.Gain)));
        File.WriteAllText(Path.Combine(folder, "config.json"), shape.Config(type));
    }

    /// <summary>A base as GGUF: matrices and table of <paramref name="type"/>, gains in F32. Rows that are no whole blocks of Q4_K or Q6_K are Q5_0 or Q8_0, as llama.cpp has them.</summary>
    public static void WriteGguf(string path, LlamaShape shape, DType type)
    {
        WeightPlan plan = Plan(shape, DType.F32);
        string architecture = plan.Config.ModelType;
        Dictionary<string, object> metadata = new()
        {
            ["general.architecture"] = architecture,
            ["llama.context_length"] = (uint)LlamaShape.ContextLength,
            ["llama.embedding_length"] = (uint)shape.Hidden,
            ["llama.block_count"] = (uint)shape.Layers,
            ["llama.feed_forward_length"] = (uint)shape.FeedForward,
            ["llama.attention.head_count"] = (uint)shape.Heads,
            ["llama.attention.head_count_kv"] = (uint)shape.KvHeads,
            ["llama.attention.layer_norm_rms_epsilon"] = LlamaShape.NormEpsilon,
            ["llama.rope.freq_base"] = LlamaShape.RopeTheta,
            ["llama.vocab_size"] = (uint)shape.Vocabulary,
            // llama.cpp opens no file without: there is none.
            ["tokenizer.ggml.model"] = "no_vocab",
        };
        GgufFile.Write(path, metadata, [.. plan.Weights.Select((w, i) => Random(GgufNames.ToGguf(architecture, w.Name)!, w.Shape, w.Role == WeightRole.Gain ? DType.F32 : Fitting(type, w.Shape), i, w.Role == WeightRole.Gain))]);
    }

    /// <summary>A tensor of a variance that keeps activations near 1, or of ones. Its numbers are made when its bytes are asked for.</summary>
    public static Tensor Random(string name, Shape shape, DType type, int seed, bool ones = false) => new(name, type, shape, new ComputedStorage(type.Bytes(shape.Elements), () =>
    {
        float[] values = new float[shape.Elements];
        Xoshiro256 random = new((ulong)seed);
        // Uniform, of the variance 1/columns.
        double scale = Math.Sqrt(12.0 / shape.Columns);
        for (int i = 0; i < values.Length; i++)
            values[i] = ones ? 1 : (float)((random.NextDouble() - 0.5) * scale);
        return QuantBlocks.ToTensor(name, type, shape, values);
    }));

    private static DType Fitting(DType type, Shape shape) => shape.Columns % type.BlockSize() == 0 ? type : type == DType.Q4_K ? DType.Q5_0 : DType.Q8_0;

    private static WeightPlan Plan(LlamaShape shape, DType type) => WeightPlan.Of(HfConfig.Parse(shape.Name, System.Text.Encoding.UTF8.GetBytes(shape.Config(type))));
}
