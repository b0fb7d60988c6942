using System.Text.Json.Nodes;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>Reference data: fixtures/gguf and fixtures/models, made by fixtures/scripts/gguf_files.py and models.py in F64.</summary>
public sealed class GgufCheckpointTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-gguf-base-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory,
        InlineData("llama", "llama/llama-F32", "F32"), InlineData("llama", "llama/llama-F16", "F16"), InlineData("llama", "llama/llama-Q8_0", "Q8_0"), InlineData("llama", "llama/llama-Q4_0", "Q4_0"),
        InlineData("llama", "llama/llama-mixed", "mixed"), InlineData("llama", "llama/llama-F32-big-endian", "F32"), InlineData("llama", "split/llama-F16-00001-of-00003", "F16"), InlineData("llama", "llama-bpe-vocab/llama-bpe-vocab-Q8_0", "Q8_0"),
        InlineData("qwen2", "qwen2/qwen2-F32", "F32"), InlineData("qwen2", "qwen2/qwen2-F16", "F16"), InlineData("qwen2", "qwen2/qwen2-Q8_0", "Q8_0"), InlineData("qwen2", "qwen2/qwen2-Q4_0", "Q4_0"),
        InlineData("gpt2", "gpt2/gpt2-F32", "F32"), InlineData("gpt2", "gpt2/gpt2-F16", "F16"), InlineData("gpt2", "gpt2/gpt2-Q8_0", "Q8_0"), InlineData("gpt2", "gpt2/gpt2-Q4_0", "Q4_0")]
    public void Logits_of_a_gguf_base_are_those_of_the_reference(string model, string file, string entry)
    {
        using TensorFile expected = Safetensors.Open(SharedFolder.Require($"fixtures/gguf/{model}/expected_logits.safetensors"));
        int[] ids = Array.ConvertAll(expected.Tensors["ids"].ToInts(), x => (int)x);
        float[] logits = Logits(GgufCheckpoint.Open(SharedFolder.Require($"fixtures/gguf/{file}.gguf")), ids);
        AssertNear(expected.Tensors[entry].ToFloats(), logits, 1e-5f);
    }

    [Theory, InlineData("llama"), InlineData("qwen2"), InlineData("gpt2")]
    public void The_config_reads_as_the_hugging_face_one(string model)
    {
        using GgufFile file = GgufFile.Open(SharedFolder.Require($"fixtures/gguf/{model}/{model}-F16.gguf"));
        HfConfig found = new GgufCheckpoint(file).Config, expected = HfConfig.Read(SharedFolder.Require($"fixtures/gguf/{model}/hf"));
        IArchitecture architecture = ArchitectureRegistry.For(expected);
        ModelConfig Numbers(HfConfig config) => architecture.ReadConfig(new("", config, file.ToTensorFile()));
        Assert.Equivalent(Numbers(expected), Numbers(found), strict: true);
    }

    [Theory, InlineData("llama"), InlineData("qwen2"), InlineData("gpt2")]
    public void Every_tensor_has_its_hugging_face_name(string model)
    {
        using GgufFile file = GgufFile.Open(SharedFolder.Require($"fixtures/gguf/{model}/{model}-F32.gguf"));
        using TensorFile expected = Safetensors.Open(SharedFolder.Require($"fixtures/gguf/{model}/hf"));
        GgufCheckpoint checkpoint = new(file);
        Assert.Equal(expected.Tensors.Keys.Order(StringComparer.Ordinal), checkpoint.Names.Keys.Order(StringComparer.Ordinal));
        Assert.Empty(checkpoint.UnmappedTensors);
        Assert.All(checkpoint.Names, n => Assert.Equal(n.Value, GgufNames.ToGguf(model, n.Key)));
        HfConfig config = checkpoint.Config;
        foreach (Tensor hf in expected.Tensors.Values)
        {
            Tensor found = checkpoint.Tensor(hf.Name);
            float[] values = hf.ToFloats();
            if (checkpoint.StoresConv1DAsLinear && hf.Name.Contains(".c_", StringComparison.Ordinal) && hf.Shape.Rank == 2)
                values = Transposed(values, (int)hf.Shape.Rows, hf.Shape.Columns);
            else if (checkpoint.PermutesQueryKeyRows && (hf.Name.Contains("q_proj", StringComparison.Ordinal) || hf.Name.Contains("k_proj", StringComparison.Ordinal)))
                values = Permuted(values, (int)hf.Shape.Rows, config.GetInt(hf.Name.Contains("q_proj", StringComparison.Ordinal) ? "num_attention_heads" : "num_key_value_heads", 1, 99));
            Assert.Equal(values, found.ToFloats());
        }
    }

    [Theory, InlineData("llama"), InlineData("llama-rope-linear"), InlineData("llama-rope-llama3"), InlineData("llama-rope-yarn"), InlineData("llama-headdim"), InlineData("qwen2"), InlineData("qwen3"), InlineData("gpt2")]
    public void A_model_written_as_gguf_computes_as_its_folder(string model)
    {
        string folder = SharedFolder.Require("fixtures/models/" + model), path = Path.Combine(_folder, model + ".gguf");
        ToGguf(folder, path);
        int[] ids = [1, 5, 9, 33, 2, 7, 60, 4, 12, 31];
        AssertNear(Logits(BaseCheckpoint.OpenFolder(folder), ids), Logits(GgufCheckpoint.Open(path), ids), 2e-5f);
    }

    [Fact]
    public void Every_tensor_that_cannot_be_read_is_named_when_the_model_is_built()
    {
        string path = Path.Combine(_folder, "odd.gguf");
        RetypedGguf.Write(SharedFolder.Require("fixtures/gguf/llama/llama-F32.gguf"), path, ("blk.1.ffn_down.weight", 42), ("blk.0.attn_k.weight", 42));
        string message = Assert.Throws<ModelFileException>(() => GgufCheckpoint.Open(path).Dispose()).Message;
        foreach (string part in new[] { "odd.gguf", "blk.1.ffn_down.weight", "Q2_0", "blk.0.attn_k.weight" })
            Assert.Contains(part, message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_no_base_or_asks_for_more_is_refused_by_key()
    {
        void Refused(string keyword, params (string Key, object? Value)[] changes)
        {
            Dictionary<string, object> metadata = TinyMetadata();
            foreach ((string key, object? value) in changes)
                if (value is null)
                    metadata.Remove(key);
                else
                    metadata[key] = value;
            string path = Path.Combine(_folder, "wrong.gguf");
            GgufFile.Write(path, metadata, [Tensor.FromFloats("token_embd.weight", new Shape(4, 8), new float[32])]);
            string message = Assert.Throws<ModelFileException>(() => GgufCheckpoint.Open(path).Dispose()).Message;
            Assert.Contains("wrong.gguf", message, StringComparison.Ordinal);
            Assert.Contains(keyword, message, StringComparison.Ordinal);
        }
        Refused("general.architecture", ("general.architecture", null));
        Refused("general.architecture", ("general.architecture", 7));
        Refused("mamba", ("general.architecture", "mamba"));
        Refused("general.type", ("general.type", "adapter"));
        Refused("llama.block_count", ("llama.block_count", null));
        Refused("llama.block_count", ("llama.block_count", "two"));
        Refused("llama.expert_count", ("llama.expert_count", 8u));
        Refused("llama.rope.scaling.type", ("llama.rope.scaling.type", "foo"));
        Refused("llama.attention.head_count_kv", ("llama.attention.head_count_kv", new uint[] { 1, 2 }));
        Refused("llama.attention.layer_norm_rms_epsilon", ("llama.attention.layer_norm_rms_epsilon", float.NaN));
        Refused("llama.rope.dimension_count", ("llama.rope.dimension_count", 2u));
    }

    [Fact]
    public void One_number_for_every_layer_may_be_given_as_a_list()
    {
        Dictionary<string, object> metadata = TinyMetadata();
        metadata["llama.attention.head_count_kv"] = new uint[] { 1, 1 };
        metadata["tokenizer.ggml.eos_token_id"] = 2u;
        metadata["tokenizer.ggml.eot_token_id"] = 3u;
        string path = Path.Combine(_folder, "list.gguf");
        GgufFile.Write(path, metadata, [Tensor.FromFloats("token_embd.weight", new Shape(4, 8), new float[32])]);
        using GgufFile file = GgufFile.Open(path);
        JsonObject config = new GgufCheckpoint(file).ConfigJson;
        Assert.Equal(1, (int)config["num_key_value_heads"]!);
        Assert.Equal(4, (int)config["vocab_size"]!);
        Assert.True((bool)config["tie_word_embeddings"]!);
        Assert.Equal("[2,3]", config["eos_token_id"]!.ToJsonString());
    }

    [Fact]
    public void The_query_and_key_permutation_is_its_inverse_s_inverse()
    {
        Assert.Equal([0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11], QueryKeyPermutation.ToAdjacent(12, 2));
        Assert.Equal([0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11], QueryKeyPermutation.ToHalves(12, 2));
        Assert.Throws<ArgumentException>(() => QueryKeyPermutation.ToAdjacent(10, 3));
        Assert.Throws<ArgumentException>(() => QueryKeyPermutation.ToHalves(9, 3));
    }

    private static Dictionary<string, object> TinyMetadata() => new()
    {
        ["general.architecture"] = "llama",
        ["llama.context_length"] = 16u,
        ["llama.embedding_length"] = 8u,
        ["llama.block_count"] = 2u,
        ["llama.feed_forward_length"] = 8u,
        ["llama.attention.head_count"] = 2u,
        ["llama.attention.layer_norm_rms_epsilon"] = 1e-5f,
    };

    // What llama.cpp's converter does for these families.
    private static void ToGguf(string folder, string path)
    {
        using TensorFile weights = Safetensors.Open(folder);
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!.AsObject();
        string architecture = (string)config["model_type"]!;
        Dictionary<string, object> metadata = new() { ["general.architecture"] = architecture };
        void Number(string key, params string[] fields)
        {
            if (fields.Select(f => config[f]).FirstOrDefault(n => n is not null) is { } node)
                metadata[$"{architecture}.{key}"] = key.Contains("epsilon") || key.Contains("freq_base") ? (object)(float)node : (uint)node;
        }
        Number("context_length", "max_position_embeddings", "n_positions");
        Number("embedding_length", "hidden_size", "n_embd");
        Number("block_count", "num_hidden_layers", "n_layer");
        Number("feed_forward_length", "intermediate_size", "n_inner");
        Number("attention.head_count", "num_attention_heads", "n_head");
        Number("attention.head_count_kv", "num_key_value_heads");
        Number("attention.key_length", "head_dim");
        Number("attention.layer_norm_rms_epsilon", "rms_norm_eps");
        Number("attention.layer_norm_epsilon", "layer_norm_epsilon");
        if (architecture == "gpt2")
            metadata.TryAdd("gpt2.feed_forward_length", 4 * (uint)config["n_embd"]!);
        List<Tensor> tensors = [];
        JsonObject? rope = config["rope_parameters"] as JsonObject ?? config["rope_scaling"] as JsonObject;
        if (architecture != "gpt2")
            AddRope(folder, metadata, architecture, rope ?? [], (float)(rope?["rope_theta"] ?? config["rope_theta"] ?? 10000f), tensors);
        foreach (Tensor tensor in weights.Tensors.Values)
        {
            string? name = GgufNames.ToGguf(architecture, tensor.Name);
            if (name is null || (name == "output.weight" && (bool?)config["tie_word_embeddings"] == true))
                continue;
            float[] values = tensor.ToFloats();
            Shape shape = tensor.Shape;
            if (architecture == "llama" && (name.Contains("attn_q.") || name.Contains("attn_k.")))
                values = Permuted(values, (int)shape[0], (int)(name.Contains("attn_k.") && config["num_key_value_heads"] is { } kv ? kv : config["num_attention_heads"]!));
            if (architecture == "gpt2" && tensor.Name.Contains(".c_") && shape.Rank == 2)
                (values, shape) = (Transposed(values, (int)shape[0], (int)shape[1]), new Shape(shape[1], shape[0]));
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
        if (type != "llama3")
            return;
        using BaseCheckpoint checkpoint = BaseCheckpoint.OpenFolder(folder);
        double[] scaled = ArchitectureRegistry.For(checkpoint.Config).ReadConfig(checkpoint).Rope!.Frequencies;
        float[] divisors = [.. scaled.Select((f, i) => (float)(Math.Pow(theta, -1.0 * i / scaled.Length) / f))];
        Assert.Contains(divisors, d => d > 1);
        tensors.Add(Tensor.FromFloats("rope_freqs.weight", new Shape(divisors.Length), divisors));
    }

    private static float[] Logits(BaseCheckpoint checkpoint, int[] ids)
    {
        using ReferenceBackend backend = new();
        using DecoderModel model = DecoderModel.Load(checkpoint, backend);
        return ModelGolden.Logits(model, AdapterPath.Root, ids);
    }

    private static float[] Permuted(float[] values, int rows, int heads)
    {
        int[] order = QueryKeyPermutation.ToAdjacent(rows, heads);
        int width = values.Length / rows;
        float[] result = new float[values.Length];
        for (int row = 0; row < rows; row++)
            values.AsSpan(row * width, width).CopyTo(result.AsSpan(order[row] * width));
        return result;
    }

    private static float[] Transposed(float[] values, int rows, int columns)
    {
        float[] result = new float[values.Length];
        for (int i = 0; i < values.Length; i++)
            result[i % columns * rows + i / columns] = values[i];
        return result;
    }

    private static void AssertNear(float[] expected, float[] found, float tolerance)
    {
        Assert.Equal(expected.Length, found.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.True(MathF.Abs(expected[i] - found[i]) <= tolerance, $"element {i}: expected {expected[i]}, found {found[i]}");
    }
}
