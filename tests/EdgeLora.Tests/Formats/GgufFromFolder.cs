using System.Text.Json.Nodes;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>Models of Hugging Face folders as GGUF files.</summary>
internal static class GgufFromFolder
{
    private static readonly string[] s_reals = ["epsilon", "freq_base", "scale", "softcapping"];

    /// <summary>The folder, or a copy in <paramref name="copy"/> whose config says only what GGUF can: Gemma's scores are scaled by the head's size, and of six layers one has no window.</summary>
    public static string Sayable(string folder, string copy)
    {
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!.AsObject();
        string type = (string)config["model_type"]!;
        if (!type.StartsWith("gemma", StringComparison.Ordinal))
            return folder;
        Directory.CreateDirectory(copy);
        config["query_pre_attn_scalar"] = config["head_dim"]!.DeepClone();
        if (type == "gemma3_text")
        {
            config.Remove("layer_types");
            config["sliding_window_pattern"] = 6;
        }
        File.WriteAllText(Path.Combine(copy, "config.json"), config.ToJsonString());
        File.Copy(Path.Combine(folder, "model.safetensors"), Path.Combine(copy, "model.safetensors"));
        return copy;
    }

    /// <summary>Writes a folder of one of the families that are known as llama.cpp's converter does.</summary>
    public static void Write(string folder, string path)
    {
        using TensorFile weights = Safetensors.Open(folder);
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!.AsObject();
        string architecture = GgufNames.ArchitectureOf((string)config["model_type"]!);
        Dictionary<string, object> metadata = new() { ["general.architecture"] = architecture };
        void Number(string key, params string[] fields)
        {
            if (fields.Select(f => config[f]).FirstOrDefault(n => n is not null) is { } node)
                metadata[$"{architecture}.{key}"] = s_reals.Any(key.Contains) ? (object)(float)node : (uint)node;
        }
        Number("context_length", "max_position_embeddings", "n_positions");
        Number("embedding_length", "hidden_size", "n_embd");
        Number("block_count", "num_hidden_layers", "n_layer");
        Number("feed_forward_length", "intermediate_size", "n_inner", "ffn_hidden_size");
        Number("attention.head_count", "num_attention_heads", "n_head");
        Number("attention.head_count_kv", "num_key_value_heads");
        if (architecture == "falcon")
            metadata["falcon.attention.head_count_kv"] = (bool)config["new_decoder_architecture"]! ? (uint)config["num_kv_heads"]! : 1;
        Number("attention.key_length", "head_dim");
        Number("attention.layer_norm_rms_epsilon", "rms_norm_eps");
        Number("attention.layer_norm_epsilon", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon");
        Number("attention.scale", "attention_multiplier");
        Number("embedding_scale", "embedding_multiplier");
        Number("residual_scale", "residual_multiplier");
        Number("logit_scale", "logits_scaling", "logit_scale");
        Number("attn_logit_softcapping", "attn_logit_softcapping");
        Number("final_logit_softcapping", "final_logit_softcapping");
        if (architecture is "gemma2" or "gemma3" or "phi3")
            Number("attention.sliding_window", "sliding_window");
        if (config["use_parallel_residual"] is { } parallel)
            metadata[$"{architecture}.use_parallel_residual"] = (bool)parallel;
        if (architecture == "gpt2")
            metadata.TryAdd("gpt2.feed_forward_length", 4 * (uint)config["n_embd"]!);
        List<Tensor> tensors = [];
        JsonObject? rope = config["rope_parameters"] as JsonObject ?? config["rope_scaling"] as JsonObject;
        rope = rope?["full_attention"] as JsonObject ?? rope;
        if (architecture != "gpt2")
            AddRope(folder, metadata, architecture, rope ?? [], (float)(rope?["rope_theta"] ?? config["rope_theta"] ?? config["rotary_emb_base"] ?? 10000f), tensors);
        if ((rope?["partial_rotary_factor"] ?? config["partial_rotary_factor"] ?? config["rotary_pct"]) is { } share)
            metadata[$"{architecture}.rope.dimension_count"] = (uint)((double)share * (int)config["hidden_size"]! / (int)config["num_attention_heads"]!);
        foreach (IGrouping<string, Tensor> heads in weights.Tensors.Values.Where(t => t.Name.Contains("_layernorm.norms.")).GroupBy(t => t.Name[..t.Name.IndexOf(".norms.", StringComparison.Ordinal)]))
            tensors.Add(Tensor.FromFloats(GgufNames.ToGguf(architecture, heads.Key + ".weight")!, new Shape(heads.Count(), heads.First().Columns()),
                [.. heads.OrderBy(t => int.Parse(t.Name.Split('.')[^2])).SelectMany(t => t.ToFloats())]));
        foreach (Tensor tensor in weights.Tensors.Values)
        {
            string? name = GgufNames.ToGguf(architecture, architecture == "falcon" ? tensor.Name.Replace("ln_mlp", "input_layernorm") : tensor.Name);
            if (name is null || (name == "output.weight" && (bool?)config["tie_word_embeddings"] == true))
                continue;
            float[] values = tensor.ToFloats();
            Shape shape = tensor.Shape;
            if (GgufNames.PermutesQueryKeyRows(architecture) && (name.Contains("attn_q.") || name.Contains("attn_k.")))
                values = Permuted(values, (int)shape[0], (int)(name.Contains("attn_k.") && config["num_key_value_heads"] is { } kv ? kv : config["num_attention_heads"]!));
            if (architecture == "gpt2" && tensor.Name.Contains(".c_") && shape.Rank == 2)
                (values, shape) = (Transposed(values, (int)shape[0], (int)shape[1]), new Shape(shape[1], shape[0]));
            if (GgufNames.ShiftsGains(architecture) && tensor.Name.EndsWith("norm.weight", StringComparison.Ordinal))
                values = Array.ConvertAll(values, v => v + 1);
            if (GgufNames.SplitsQueryKeyValue(architecture) && name.Contains("attn_qkv"))
                values = Split(values, (int)shape[0], (int)config["num_attention_heads"]!, (int)(metadata.TryGetValue($"{architecture}.attention.head_count_kv", out object? groups) ? (uint)groups : (uint)config["num_attention_heads"]!));
            tensors.Add(Tensor.FromFloats(name, shape, values));
        }
        GgufFile.Write(path, metadata, tensors);
    }

    private static void AddRope(string folder, Dictionary<string, object> metadata, string architecture, JsonObject rope, float theta, List<Tensor> tensors)
    {
        metadata[architecture + ".rope.freq_base"] = theta;
        string type = (string?)(rope["rope_type"] ?? rope["type"]) ?? "default";
        if (type is "linear" or "yarn")
        {
            metadata[architecture + ".rope.scaling.type"] = type;
            metadata[architecture + ".rope.scaling.factor"] = (float)rope["factor"]!;
        }
        if (type == "yarn" && rope["original_max_position_embeddings"] is { } original)
            metadata[architecture + ".rope.scaling.original_context_length"] = (uint)original;
        if (type == "longrope")
        {
            metadata[architecture + ".rope.scaling.original_context_length"] = (uint)JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!["original_max_position_embeddings"]!;
            metadata[architecture + ".rope.scaling.attn_factor"] = (float)ReadRope(folder).AttentionFactor;
            foreach (string kind in (string[])["long", "short"])
            {
                float[] factors = [.. rope[kind + "_factor"]!.AsArray().Select(v => (float)v!)];
                tensors.Add(Tensor.FromFloats($"rope_factors_{kind}.weight", new Shape(factors.Length), factors));
            }
        }
        if (type != "llama3")
            return;
        double[] scaled = ReadRope(folder).Frequencies;
        float[] divisors = [.. scaled.Select((f, i) => (float)(Math.Pow(theta, -1.0 * i / scaled.Length) / f))];
        Assert.Contains(divisors, d => d > 1);
        tensors.Add(Tensor.FromFloats("rope_freqs.weight", new Shape(divisors.Length), divisors));
    }

    public static float[] Permuted(float[] values, int rows, int heads)
    {
        int[] order = QueryKeyPermutation.ToAdjacent(rows, heads);
        int width = values.Length / rows;
        float[] result = new float[values.Length];
        for (int row = 0; row < rows; row++)
            values.AsSpan(row * width, width).CopyTo(result.AsSpan(order[row] * width));
        return result;
    }

    public static float[] Transposed(float[] values, int rows, int columns)
    {
        float[] result = new float[values.Length];
        for (int i = 0; i < values.Length; i++)
            result[i % columns * rows + i / columns] = values[i];
        return result;
    }

    private static RopeFrequencies ReadRope(string folder)
    {
        using BaseCheckpoint checkpoint = BaseCheckpoint.OpenFolder(folder);
        return ArchitectureRegistry.For(checkpoint.Config).ReadConfig(checkpoint).Rope!;
    }

    // Head by head, or group by group, to all q, all k, all v.
    private static float[] Split(float[] values, int rows, int heads, int groups)
    {
        int width = values.Length / rows, size = rows / (heads + 2 * groups), queries = heads / groups;
        IEnumerable<int> Heads(int first, int count) => Enumerable.Range(0, groups).SelectMany(g => Enumerable.Range(g * (queries + 2) + first, count));
        return [.. Heads(0, queries).Concat(Heads(queries, 1)).Concat(Heads(queries + 1, 1)).SelectMany(h => values.AsSpan(h * size * width, size * width).ToArray())];
    }

    private static int Columns(this Tensor tensor) => tensor.Shape.Columns;
}
