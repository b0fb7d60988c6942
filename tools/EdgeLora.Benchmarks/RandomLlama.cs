using EdgeLora.Core;

namespace EdgeLora.Benchmarks;

/// <summary>Writes a base of given sizes with random weights, and random adapters for it. The same numbers every time; memory stays that of one tensor.</summary>
internal static class RandomLlama
{
    /// <summary>A Hugging Face folder, linear layers and table in BF16, norms in F32.</summary>
    public static void WriteFolder(string folder, LlamaSizes s)
    {
        Directory.CreateDirectory(folder);
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), Tensors(s, DType.BF16, gguf: false));
        File.WriteAllText(Path.Combine(folder, "config.json"), $$"""
            {
              "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "tie_word_embeddings": true, "torch_dtype": "bfloat16",
              "hidden_size": {{s.Hidden}}, "intermediate_size": {{s.FeedForward}}, "num_hidden_layers": {{s.Layers}}, "num_attention_heads": {{s.Heads}},
              "num_key_value_heads": {{s.KvHeads}}, "vocab_size": {{s.Vocabulary}}, "max_position_embeddings": {{s.Context}}, "rms_norm_eps": 1e-5, "rope_theta": 10000.0
            }
            """);
    }

    /// <summary>A GGUF file, linear layers and table in Q8_0, norms in F32.</summary>
    public static void WriteGguf(string path, LlamaSizes s)
    {
        Dictionary<string, object> metadata = new()
        {
            ["general.architecture"] = "llama",
            ["llama.context_length"] = (uint)s.Context,
            ["llama.embedding_length"] = (uint)s.Hidden,
            ["llama.block_count"] = (uint)s.Layers,
            ["llama.feed_forward_length"] = (uint)s.FeedForward,
            ["llama.attention.head_count"] = (uint)s.Heads,
            ["llama.attention.head_count_kv"] = (uint)s.KvHeads,
            ["llama.attention.layer_norm_rms_epsilon"] = 1e-5f,
            ["llama.rope.freq_base"] = 10000f,
        };
        GgufFile.Write(path, metadata, [.. Tensors(s, DType.Q8_0, gguf: true)]);
    }

    /// <summary>A PEFT LoRA on every linear layer, F32. B is random too, so that the adapter does something.</summary>
    public static void WriteAdapter(string folder, LlamaSizes s, int rank, ulong seed)
    {
        List<(string, PeftPart, Tensor)> tensors = [];
        foreach ((string name, _, int outputs, int inputs) in s.Linears())
        {
            tensors.Add((name, PeftPart.A, Random(name, DType.F32, new Shape(rank, inputs), seed++)));
            tensors.Add((name, PeftPart.B, Random(name, DType.F32, new Shape(outputs, rank), seed++)));
        }
        PeftConfig config = new() { Rank = rank, Alpha = rank, TargetModules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] };
        PeftAdapter.Create(folder, config, tensors).Write(folder);
    }

    private static IEnumerable<Tensor> Tensors(LlamaSizes s, DType type, bool gguf)
    {
        ulong seed = 1;
        yield return Random(gguf ? "token_embd.weight" : "model.embed_tokens.weight", type, new Shape(s.Vocabulary, s.Hidden), seed++);
        foreach ((string name, string ggufName, int outputs, int inputs) in s.Linears())
            yield return Random((gguf ? ggufName : name) + ".weight", type, new Shape(outputs, inputs), seed++);
        float[] ones = new float[s.Hidden];
        Array.Fill(ones, 1);
        foreach ((string name, string ggufName) in s.Norms())
            yield return Tensor.FromFloats((gguf ? ggufName : name) + ".weight", new Shape(s.Hidden), ones);
    }

    private static Tensor Random(string name, DType type, Shape shape, ulong seed) => new(name, type, shape, new ComputedStorage(type.Bytes(shape.Elements), () =>
    {
        // Uniform, of the variance 1/columns that keeps activations near 1.
        float[] values = new float[shape.Elements];
        float scale = MathF.Sqrt(12f / shape.Columns);
        ulong state = seed * 0x9E3779B97F4A7C15;
        for (int i = 0; i < values.Length; i++)
        {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            values[i] = ((state >> 40) / 16777216f - 0.5f) * scale;
        }
        return QuantBlocks.ToTensor(name, type, shape, values);
    }));
}
