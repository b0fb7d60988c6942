using System.Text.Json.Nodes;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Golden;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>Every architecture as GGUF and back. Models and numbers: fixtures/models, made by scripts/models.py there with the reference library in F64; keys: conversion/*.py of llama.cpp.</summary>
public sealed class GgufArchitectureTests : IDisposable
{
    // What GGUF has no words for, see the refusals below.
    private static readonly string[] s_unsayable = ["opt", "falcon-alibi", "smollm3", "qwen2_moe"];

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-architectures").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    public static TheoryData<string> Models() => new(ModelGoldenTests.Folders().Except(s_unsayable));

    [Theory, MemberData(nameof(Models))]
    public void A_model_has_the_reference_library_s_numbers_as_GGUF_and_its_own_tensors_as_a_folder_again(string name)
    {
        string source = SharedFolder.Require("fixtures/models/" + name), file = Write(source), back = Path.Combine(_folder, "back");
        Verify(file, source);
        Directory.CreateDirectory(back);
        using (BaseCheckpoint checkpoint = BaseCheckpoint.Open(file))
            HuggingFaceModel.Of(checkpoint, null).Write(back, null, default);
        Verify(back, source);
        using TensorFile found = Safetensors.Open(back);
        HashSet<string> left = [.. found.Tensors.Keys];
        using TensorFile origin = Safetensors.Open(source);
        foreach ((string stored, Tensor expected) in origin.Tensors)
        {
            string? key = left.FirstOrDefault(k => k == stored || k == "transformer." + stored);
            if (key is null)
            {
                Assert.Matches(@"\.(attn|attention)\.(masked_)?bias$|inv_freq$", stored);
                continue;
            }
            left.Remove(key);
            float[] a = expected.ToFloats(), b = found.Tensors[key].ToFloats();
            Assert.Equal(expected.Shape, found.Tensors[key].Shape);
            // 1 is added to gains and taken away; what scales the scores lies in q where the file cannot say it.
            if (name is "gemma2" && stored.Contains("q_proj") || name is "gemma3" && stored.Contains("q_norm"))
                continue;
            float allowed = name.StartsWith("gemma", StringComparison.Ordinal) && stored.Contains("norm") ? 1.2e-7f : 0;
            Assert.True(a.Zip(b).All(p => MathF.Abs(p.First - p.Second) <= allowed), stored);
        }
        Assert.Empty(left);
    }

    [Theory,
        InlineData("gemma2", "gemma2.attn_logit_softcapping=2", "gemma2.final_logit_softcapping=0.8", "gemma2.attention.sliding_window=16", "gemma2.attention.key_length=16", "gemma2.attention.layer_norm_rms_epsilon=0.004", "!gemma2.attention.sliding_window_pattern"),
        InlineData("gemma3", "gemma3.rope.freq_base=1000000", "gemma3.rope.freq_base_swa=10000", "gemma3.rope.scaling.type=linear", "gemma3.rope.scaling.factor=4", "gemma3.attention.sliding_window_pattern=True,True,False"),
        InlineData("gemma3-old", "gemma3.rope.freq_base=1000000", "gemma3.rope.freq_base_swa=10000", "gemma3.attention.sliding_window=8", "gemma3.attention.sliding_window_pattern=True,False,True", "!gemma3.rope.scaling.type"),
        InlineData("phi3", "phi3.attention.sliding_window=16", "phi3.rope.dimension_count=16", "phi3.attention.head_count_kv=2", "phi3.feed_forward_length=112", "!phi3.rope.scaling.attn_factor"),
        InlineData("phi3-longrope", "phi3.attention.sliding_window=0", "phi3.rope.dimension_count=12", "phi3.rope.scaling.original_context_length=36", "phi3.rope.scaling.attn_factor=1.1900648", "phi3.context_length=160"),
        InlineData("gpt_neox", "gptneox.use_parallel_residual=True", "gptneox.rope.dimension_count=4", "gptneox.attention.layer_norm_epsilon=0.004", "gptneox.feed_forward_length=160", "general.file_type=1"),
        InlineData("falcon", "falcon.tensor_data_layout=jploski", "falcon.attention.head_count_kv=2", "falcon.attention.layer_norm_epsilon=0.004"),
        InlineData("falcon-mqa", "falcon.attention.head_count_kv=1", "falcon.feed_forward_length=128"),
        InlineData("stablelm", "stablelm.rope.dimension_count=4", "stablelm.use_parallel_residual=False", "stablelm.attention.layer_norm_epsilon=0.004"),
        InlineData("stablelm-qknorm", "stablelm.rope.dimension_count=8", "stablelm.use_parallel_residual=True"),
        InlineData("granite", "granite.attention.scale=0.5", "granite.embedding_scale=4", "granite.residual_scale=0.7", "granite.logit_scale=1.5", "granite.rope.dimension_count=16"),
        InlineData("starcoder2", "starcoder2.rope.freq_base=999999", "starcoder2.attention.layer_norm_epsilon=0.004", "starcoder2.attention.sliding_window=16"),
        InlineData("olmo2", "olmo2.rope.freq_base=500000", "olmo2.attention.head_count_kv=2", "!olmo2.attention.sliding_window"),
        InlineData("cohere", "command-r.logit_scale=0.25", "command-r.rope.scaling.type=none", "command-r.attention.layer_norm_epsilon=0.004"),
        InlineData("mixtral", "llama.expert_count=6", "llama.expert_used_count=2", "llama.feed_forward_length=48", "llama.rope.dimension_count=16"),
        InlineData("qwen3_moe", "qwen3moe.expert_count=8", "qwen3moe.expert_used_count=3", "qwen3moe.expert_feed_forward_length=32", "qwen3moe.feed_forward_length=112", "qwen3moe.attention.key_length=16"),
        InlineData("mistral", "general.architecture=llama", "llama.context_length=128", "llama.attention.sliding_window=16", "!llama.attention.sliding_window_pattern"),
        InlineData("qwen2-window", "qwen2.attention.sliding_window=16", "qwen2.attention.sliding_window_pattern=False,True,True"),
        InlineData("qwen2", "!qwen2.attention.sliding_window")]
    public void Metadata_is_what_the_reference_converter_writes(string name, params string[] keys)
    {
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(SharedFolder.Require("fixtures/models/" + name));
        Dictionary<string, object> metadata = new(GgufModel.Of(checkpoint, new() { Fold = true }).Metadata);
        foreach (string key in keys)
            if (key[0] == '!')
                Assert.False(metadata.ContainsKey(key[1..]), key);
            else
                Assert.Equal(key, $"{key[..key.IndexOf('=')]}={(metadata[key[..key.IndexOf('=')]] is bool[] list ? string.Join(',', list) : string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{metadata[key[..key.IndexOf('=')]]}"))}");
    }

    [Theory,
        InlineData("opt", "model_type"), InlineData("smollm3", "no_rope_layers"), InlineData("falcon-alibi", "alibi"), InlineData("qwen2_moe", "mlp_only_layers"),
        InlineData("gemma2", "query_pre_attn_scalar"), InlineData("gemma3", "--fold"), InlineData("gemma2", "attention_bias", "true"), InlineData("gemma2", "hidden_activation", "\"gelu\""), InlineData("gemma2", "attn_logit_softcapping", "null"), InlineData("gemma2", "final_logit_softcapping", "null"),
        InlineData("gemma2", "tie_word_embeddings", "false"), InlineData("gemma3-old", "attn_logit_softcapping", "20"), InlineData("falcon", "bias", "true"), InlineData("falcon-mqa", "parallel_attn", "false"),
        InlineData("falcon", "activation", "\"relu\""), InlineData("gpt_neox", "attention_bias", "false"), InlineData("gpt_neox", "hidden_act", "\"relu\""), InlineData("starcoder2", "use_bias", "false"), InlineData("cohere", "use_qk_norm", "true"),
        InlineData("cohere", "tie_word_embeddings", "false"), InlineData("olmo2", "attention_bias", "true"), InlineData("granite", "residual_multiplier", "0"), InlineData("llama", "hidden_act", "\"gelu\""), InlineData("qwen3", "attention_bias", "true"),
        InlineData("qwen3_moe", "norm_topk_prob", "false"), InlineData("qwen3_moe", "decoder_sparse_step", "2"), InlineData("phi3", "head_dim", "24"), InlineData("gpt2", "activation_function", "\"gelu\""),
        InlineData("gpt2", "scale_attn_by_inverse_layer_idx", "true"), InlineData("qwen2", "rope_scaling.rope_type", "{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":64}"),
        InlineData("llama-rope-yarn", "rope_parameters.truncate", "{\"rope_type\":\"yarn\",\"rope_theta\":10000,\"factor\":4,\"truncate\":false}")]
    public void What_GGUF_or_llama_cpp_s_loader_cannot_say_is_refused_by_field(string model, string field, string? value = null)
    {
        string folder = SharedFolder.Require("fixtures/models/" + model);
        if (value is not null)
        {
            string copy = Path.Combine(_folder, "changed");
            Directory.CreateDirectory(copy);
            File.CreateSymbolicLink(Path.Combine(copy, "model.safetensors"), Path.Combine(folder, "model.safetensors"));
            JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!.AsObject();
            config[field.Split('.')[0]] = JsonNode.Parse(value);
            File.WriteAllText(Path.Combine(copy, "config.json"), config.ToJsonString());
            folder = copy;
        }
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(folder);
        Assert.Contains(field, Assert.Throws<ModelFileException>(() => GgufModel.Of(checkpoint, new())).Message, StringComparison.Ordinal);
    }

    // Shapes that no folder of the reference data has: a file llama.cpp loads, checked against it when it was written.
    [Theory,
        InlineData("gpt_neox", "tie_word_embeddings=true", "use_parallel_residual=false", "rotary_pct=1.0", "num_attention_heads=8"), InlineData("falcon", "num_ln_in_parallel_attn=1", "num_kv_heads=4", "num_attention_heads=8"),
        InlineData("falcon-mqa", "multi_query=false"), InlineData("stablelm-qknorm", "use_parallel_residual=false", "num_attention_heads=8", "num_key_value_heads=1"), InlineData("olmo2", "tie_word_embeddings=true", "num_key_value_heads=4"),
        InlineData("cohere", "num_hidden_layers=64", "use_qk_norm=true"), InlineData("granite", "attention_bias=true", "mlp_bias=true", "tie_word_embeddings=false", "head_dim=24"), InlineData("mixtral", "head_dim=32", "num_local_experts=3", "sliding_window=5"),
        InlineData("qwen2_moe", "mlp_only_layers=[]", "qkv_bias=false"), InlineData("qwen3_moe", "head_dim=24", "num_local_experts=5", "tie_word_embeddings=false"),
        InlineData("smollm3", "no_rope_layers=null", "no_rope_layer_interval=4", "num_hidden_layers=4", "layer_types=null"), InlineData("gemma3-old", "tie_word_embeddings=false", "num_hidden_layers=7", "sliding_window_pattern=6", "final_logit_softcapping=3.5"),
        InlineData("gemma2", "query_pre_attn_scalar=16", "layer_types=[\"full_attention\",\"sliding_attention\",\"sliding_attention\"]")]
    public void Other_shapes_of_an_architecture_go_there_and_back_too(string origin, params string[] changes)
    {
        string folder = Path.Combine(_folder, "made"), back = Path.Combine(_folder, "back");
        Directory.CreateDirectory(folder);
        Directory.CreateDirectory(back);
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(SharedFolder.Require("fixtures/models/" + origin), "config.json")))!.AsObject();
        foreach (string change in changes)
            config[change[..change.IndexOf('=')]] = JsonNode.Parse(change[(change.IndexOf('=') + 1)..]);
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
        Random random = new(11);
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), [.. WeightPlan.Of(HfConfig.Read(Path.Combine(folder, "config.json"))).Weights.Select(w =>
            Tensor.FromFloats(w.Name, w.Shape, [.. Enumerable.Range(0, (int)w.Shape.Elements).Select(_ => (float)(Math.Round((random.NextDouble() - 0.5) * 64) / 64) / (w.Role == WeightRole.Linear ? 4 : 1) + (w.Role == WeightRole.Gain ? 1 - w.Offset : 0))]))]);
        string file = Write(folder);
        using (BaseCheckpoint checkpoint = BaseCheckpoint.Open(file))
            HuggingFaceModel.Of(checkpoint, null).Write(back, null, default);
        using TensorFile expected = Safetensors.Open(folder), found = Safetensors.Open(back);
        Assert.Equal(expected.Tensors.Keys.Order(StringComparer.Ordinal), found.Tensors.Keys.Order(StringComparer.Ordinal));
        Assert.All(expected.Tensors.Values, t => Assert.True(t.Bytes.SequenceEqual(found.Tensors[t.Name].Bytes), t.Name));
        int[] ids = [1, 5, 9, 33, 2, 7, 60, 4, 12];
        float[] wanted = Logits(folder, ids);
        Assert.True(GoldenError.Relative(Logits(file, ids), wanted) <= 2e-6);
        Assert.True(GoldenError.Relative(Logits(back, ids), wanted) <= 2e-6);
    }

    [Fact]
    public void Experts_that_stand_one_by_one_as_in_the_first_files_are_read_and_stacked_when_written_again()
    {
        string file = Write(SharedFolder.Require("fixtures/models/mixtral")), old = Path.Combine(_folder, "old.gguf"), again = Path.Combine(_folder, "again.gguf");
        using GgufFile stacked = GgufFile.Open(file);
        GgufFile.Write(old, stacked.Metadata, [.. stacked.TensorInfos.SelectMany(t => !GgufStacks.HoldsExperts(t.Name) ? [stacked.Tensor(t.Name)]
            : Enumerable.Range(0, (int)t.Shape[0]).Select(i => stacked.Part(t.Name, i)).Select((part, i) => part.View(t.Name.Replace("_exps.", $".{i}.", StringComparison.Ordinal), part.Shape)))]);
        int[] ids = [1, 5, 9, 33, 2, 7];
        Assert.Equal(Logits(file, ids), Logits(old, ids));
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(old);
        GgufModel model = GgufModel.Of(checkpoint, new());
        GgufFile.Write(again, model.Metadata, model.Tensors);
        using GgufFile written = GgufFile.Open(again);
        Assert.All(stacked.TensorInfos, t => Assert.True(stacked.Tensor(t.Name).Bytes.SequenceEqual(written.Tensor(t.Name).Bytes), t.Name));
        Assert.Equal(stacked.TensorInfos.Count, written.TensorInfos.Count);
    }

    [Fact]
    public void Experts_in_another_number_than_the_key_says_are_refused_by_tensor()
    {
        string file = Write(SharedFolder.Require("fixtures/models/mixtral")), odd = Path.Combine(_folder, "odd.gguf");
        using GgufFile good = GgufFile.Open(file);
        GgufFile.Write(odd, good.Metadata.Select(m => m.Key == "llama.expert_count" ? new(m.Key, 5u) : m), [.. good.TensorInfos.Select(t => good.Tensor(t.Name))]);
        string message = Assert.Throws<ModelFileException>(() => BaseCheckpoint.Open(odd).Dispose()).Message;
        Assert.Contains("_exps.weight", message, StringComparison.Ordinal);
        Assert.Contains("llama.expert_count", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Tensors_that_are_missing_misshapen_or_unasked_for_are_named_together()
    {
        string folder = Path.Combine(_folder, "odd"), origin = SharedFolder.Require("fixtures/models/granite");
        Directory.CreateDirectory(folder);
        File.Copy(Path.Combine(origin, "config.json"), Path.Combine(folder, "config.json"));
        using (TensorFile file = Safetensors.Open(origin))
            Safetensors.Write(Path.Combine(folder, "model.safetensors"), [.. file.Tensors.Values.Where(t => !t.Name.Contains("0.self_attn.v_proj")).Select(t => t.Name == "model.norm.weight" ? Tensor.FromFloats(t.Name, new Shape(3), [1, 2, 3]) : t),
                Tensor.FromFloats("model.layers.1.self_attn.o_proj.bias", new Shape(64), new float[64]), Tensor.FromFloats("model.layers.1.self_attn.rotary_emb.inv_freq", new Shape(8), new float[8])]);
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(folder);
        IReadOnlyList<string> faults = Assert.Throws<ModelFileException>(() => GgufModel.Of(checkpoint, new())).Faults;
        Assert.Equal(["model.layers.0.self_attn.v_proj.weight", "model.layers.1.self_attn.o_proj.bias", "model.norm.weight"], faults.Select(f => f[..f.IndexOf(':')]).Order(StringComparer.Ordinal));
    }

    private static void Verify(string path, string reference)
    {
        using Cpu.CpuBackend backend = new();
        IReadOnlyList<GoldenError> errors = ModelGolden.Verify(path, backend, Path.Combine(reference, "expected.safetensors"));
        Assert.True(errors.Count >= 6, $"{path}: only {errors.Count} comparisons");
        Assert.All(errors, e => Assert.True(e.Passed, $"{path} {e.Tensor}: error {e.Error:g3}, tolerance {e.Tolerance:g3}"));
    }

    private static float[] Logits(string path, int[] ids)
    {
        using Cpu.CpuBackend backend = new();
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(path), backend);
        return ModelGolden.Logits(model, AdapterPath.Root, ids);
    }

    private string Write(string source)
    {
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(source);
        GgufModel model = GgufModel.Of(checkpoint, new() { Fold = true });
        string path = Path.Combine(_folder, "written.gguf");
        GgufFile.Write(path, model.Metadata, model.Tensors);
        return path;
    }
}
