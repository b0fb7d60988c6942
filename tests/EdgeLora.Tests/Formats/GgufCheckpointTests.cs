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
                values = GgufFromFolder.Transposed(values, (int)hf.Shape.Rows, hf.Shape.Columns);
            else if (checkpoint.PermutesQueryKeyRows && (hf.Name.Contains("q_proj", StringComparison.Ordinal) || hf.Name.Contains("k_proj", StringComparison.Ordinal)))
                values = GgufFromFolder.Permuted(values, (int)hf.Shape.Rows, config.GetInt(hf.Name.Contains("q_proj", StringComparison.Ordinal) ? "num_attention_heads" : "num_key_value_heads", 1, 99));
            Assert.Equal(values, found.ToFloats());
        }
    }

    [Theory, InlineData("llama"), InlineData("llama-rope-linear"), InlineData("llama-rope-llama3"), InlineData("llama-rope-yarn"), InlineData("llama-headdim"), InlineData("qwen2"), InlineData("qwen3"), InlineData("gpt2"),
        InlineData("granite"), InlineData("olmo2"), InlineData("starcoder2"), InlineData("phi3"), InlineData("phi3-longrope"), InlineData("gemma2"), InlineData("gemma3"), InlineData("gemma3-old"), InlineData("cohere"),
        InlineData("stablelm"), InlineData("stablelm-qknorm"), InlineData("gpt_neox"), InlineData("falcon"), InlineData("falcon-mqa")]
    public void A_model_written_as_gguf_computes_as_its_folder(string model)
    {
        string folder = GgufFromFolder.Sayable(SharedFolder.Require("fixtures/models/" + model), Path.Combine(_folder, "hf")), path = Path.Combine(_folder, model + ".gguf");
        GgufFromFolder.Write(folder, path);
        int[] ids = [1, 5, 9, 33, 2, 7, 60, 4, 12, 31, 40, 41, 300, 17];
        AssertNear(Logits(BaseCheckpoint.OpenFolder(folder), ids), Logits(GgufCheckpoint.Open(path), ids), 2e-5f);
        using GgufFile file = GgufFile.Open(path);
        Assert.Empty(new GgufCheckpoint(file).UnmappedTensors);
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
        Refused("llama.expert_used_count", ("llama.expert_count", 8u));
        Refused("llama.expert_gating_func", ("llama.expert_count", 8u), ("llama.expert_used_count", 2u), ("llama.expert_gating_func", 2u));
        Refused("llama.attention.sliding_window_pattern", ("llama.attention.sliding_window", 4u), ("llama.attention.sliding_window_pattern", new[] { true }));
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

    private static float[] Logits(BaseCheckpoint checkpoint, int[] ids)
    {
        using ReferenceBackend backend = new();
        using DecoderModel model = DecoderModel.Load(checkpoint, backend);
        return ModelGolden.Logits(model, AdapterPath.Root, ids);
    }

    private static void AssertNear(float[] expected, float[] found, float tolerance)
    {
        Assert.Equal(expected.Length, found.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.True(MathF.Abs(expected[i] - found[i]) <= tolerance, $"element {i}: expected {expected[i]}, found {found[i]}");
    }
}
