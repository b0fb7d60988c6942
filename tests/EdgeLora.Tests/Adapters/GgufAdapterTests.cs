using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>GGUF LoRAs of ../shared/fixtures/gguf/lora (scripts/gguf_files.py there): logits in F64 on the base that each was made for.</summary>
public sealed class GgufAdapterTests : IDisposable
{
    private const double Tolerance = 1e-5;

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-gguf-").FullName;

    public static TheoryData<string> Cases => new("llama-qv", "llama-ranks", "llama-everything", "qwen2-qv", "gpt2-all");

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory, MemberData(nameof(Cases))]
    public void A_GGUF_adapter_gives_its_logits_on_a_GGUF_base_and_on_a_folder(string name)
    {
        string folder = SharedFolder.Require("fixtures/gguf/lora/" + name);
        using TensorFile expected = Safetensors.Open(Path.Combine(folder, "expected_logits.safetensors"));
        foreach (string path in BasesOf(name))
        {
            using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(path), new ReferenceBackend());
            foreach (string type in new[] { "F32", "F16" })
                CheckLogits(model, Path.Combine(folder, $"lora-{type}.gguf"), 1, expected, type);
            CheckLogits(model, Path.Combine(folder, "lora-F32.gguf"), 0.5f, expected, "F32_half_strength");
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_GGUF_adapter_becomes_PEFT_s_tensors_bit_for_bit_and_its_own_again(string name)
    {
        string folder = SharedFolder.Require("fixtures/gguf/lora/" + name), peft = Path.Combine(_folder, "peft"), gguf = Path.Combine(_folder, "again.gguf");
        foreach (string path in BasesOf(name))
        {
            Command.Run("convert", Path.Combine(folder, "lora-F32.gguf"), peft, "--base", path);
            using (PeftAdapter theirs = PeftAdapter.Open(Path.Combine(folder, "peft")), ours = PeftAdapter.Open(peft))
            {
                Assert.Equal(theirs.Modules.Keys, ours.Modules.Keys);
                foreach (PeftModule module in theirs.Modules.Values)
                    foreach ((PeftPart part, Tensor tensor) in module.Parts.Where(p => p.Key != PeftPart.BaseWeight))
                        Assert.True(tensor.Bytes.SequenceEqual(ours.Modules[module.Name][part]!.Bytes), $"{module.Name} {part}");
                Assert.All(theirs.Modules.Keys, m => Assert.Equal(theirs.Config.ScaleOf(m, theirs.Config.RankOf(m)), ours.Config.ScaleOf(m, ours.Config.RankOf(m))));
            }
            Command.Run("convert", peft, gguf, "--base", path);
            using (GgufFile there = GgufFile.Open(Path.Combine(folder, "lora-F32.gguf")), back = GgufFile.Open(gguf))
            {
                Assert.Equal(there.TensorInfos.Select(t => t.Name).Order(), back.TensorInfos.Select(t => t.Name).Order());
                Assert.All(there.TensorInfos, t => Assert.True(there.Tensor(t.Name).Bytes.SequenceEqual(back.Tensor(t.Name).Bytes), t.Name));
                Assert.Equal(there.GetFloat("adapter.lora.alpha"), back.GetFloat("adapter.lora.alpha"));
                Assert.Equal(there.Architecture, back.Architecture);
            }
            Directory.Delete(peft, true);
        }
    }

    [Fact]
    public void Alpha_0_is_a_scale_of_1_and_stays_alpha_0()
    {
        string file = SharedFolder.Require("fixtures/gguf/lora/llama-qv/lora-alpha-zero.gguf"), again = Path.Combine(_folder, "again.gguf");
        using TensorFile expected = Safetensors.Open(SharedFolder.Require("fixtures/gguf/lora/llama-qv/expected_alpha_zero.safetensors"));
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(SharedFolder.Require("fixtures/gguf/llama/llama-F32.gguf")), new ReferenceBackend());
        using TensorFile others = Safetensors.Open(SharedFolder.Require("fixtures/gguf/lora/llama-qv/expected_logits.safetensors"));
        CheckLogits(model, file, 1, others.Tensors["ids"], expected.Tensors["logits"]);
        Command.Run("convert", file, again);
        CheckLogits(model, again, 1, others.Tensors["ids"], expected.Tensors["logits"]);
    }

    [Fact]
    public void Invocation_tokens_task_and_prefix_go_along_both_ways()
    {
        string source = SharedFolder.Require("fixtures/gguf/lora/llama-qv/lora-alora.gguf"), model = SharedFolder.Require("fixtures/gguf/llama/hf"), named = Path.Combine(_folder, "named.gguf");
        using (GgufFile file = GgufFile.Open(source))
            GgufFile.Write(named, file.Metadata.Append(new("adapter.lora.task_name", "summary")).Append(new("adapter.lora.prompt_prefix", "tl;dr: ")), [.. file.TensorInfos.Select(t => file.Tensor(t.Name))]);
        string peft = Path.Combine(_folder, "peft"), elora = Path.Combine(_folder, "a.elora"), again = Path.Combine(_folder, "again.gguf");
        Command.Run("convert", named, peft, "--base", model);
        Command.Run("convert", peft, elora);
        Command.Run("convert", elora, again, "--base", model);
        using PeftAdapter adapter = PeftAdapter.Open(peft);
        Assert.Equal([5, 17, 300], adapter.Config.InvocationTokens!);
        using GgufFile back = GgufFile.Open(again);
        Assert.Equal(new uint[] { 5, 17, 300 }, back.Metadata["adapter.alora.invocation_tokens"]);
        Assert.Equal(("summary", "tl;dr: "), (back.GetString("adapter.lora.task_name"), back.GetString("adapter.lora.prompt_prefix")));
    }

    [Fact]
    public void Texts_of_a_GGUF_go_through_an_elora_file_bit_for_bit_and_are_left_out_elsewhere_only_when_asked()
    {
        string source = SharedFolder.Require("fixtures/gguf/lora/llama-qv/lora-F32.gguf"), model = SharedFolder.Require("fixtures/gguf/llama/hf"), named = Path.Combine(_folder, "named.gguf"), first = Path.Combine(_folder, "first.gguf");
        (string, object)[] texts =
        [
            ("adapter.lora.prompt_prefix", "tl;dr: "), ("adapter.lora.task_name", "summary"), ("general.author", "somebody"), ("general.base_model.0.name", "a base"), ("general.base_model.count", 1u), ("general.tags", new[] { "a", "b c" }),
        ];
        using (GgufFile file = GgufFile.Open(source))
            GgufFile.Write(named, file.Metadata.Where(m => m.Key != "general.name").Append(new("general.name", "My adapter")).Concat(texts.Select(t => new KeyValuePair<string, object>(t.Item1, t.Item2))), [.. file.TensorInfos.Select(t => file.Tensor(t.Name))]);
        string elora = Path.Combine(_folder, "other.elora"), again = Path.Combine(_folder, "again.gguf");
        Command.Run("convert", named, first);
        Command.Run("convert", first, elora, "--base", model);
        Command.Run("convert", elora, again, "--base", model);
        Assert.Equal(File.ReadAllBytes(first), File.ReadAllBytes(again));
        using (GgufFile back = GgufFile.Open(again))
        {
            Assert.Equal("My adapter", back.GetString("general.name"));
            Assert.All(texts, t => Assert.Equal(t.Item2, back.Metadata[t.Item1]));
        }
        foreach (string to in (string[])["mlx", "peft_bin", "onnx_adapter", "loralib"])
        {
            string target = Path.Combine(_folder, "to-" + to), fault = Command.Fail("convert", named, target, "--to", to, "--base", model, "--fold");
            Assert.Contains("adapter.lora.task_name (summary): ", fault);
            Assert.Contains("adapter.lora.prompt_prefix (tl;dr: ): ", fault);
            Assert.False(Path.Exists(target));
            Command.Run("convert", named, target, "--to", to, "--base", model, "--fold", "--without-texts");
        }
        Assert.Contains("adapter.lora.task_name stays as metadata, which PEFT passes over", Command.Run("convert", named, Path.Combine(_folder, "peft"), "--base", model, "--json"));
    }

    [Fact]
    public void Rows_of_a_llama_leave_GGUF_only_with_the_base_s_heads()
    {
        string file = SharedFolder.Require("fixtures/gguf/lora/llama-qv/lora-F32.gguf"), target = Path.Combine(_folder, "peft");
        Assert.Contains("model.layers.0.self_attn.q_proj: its rows stand in the order of a llama GGUF", Command.Fail("convert", file, target));
        Assert.Contains("give it (--base)", Command.Fail("convert", file, target + ".onnx_adapter"));
        Assert.False(Directory.Exists(target) || File.Exists(target + ".onnx_adapter"));
        Assert.Contains("is made for llama, the base is qwen2", Command.Fail("convert", file, target, "--base", SharedFolder.Require("fixtures/gguf/qwen2/hf")));
    }

    [Fact]
    public void A_folder_with_a_GGUF_adapter_is_a_node()
    {
        string tree = Path.Combine(_folder, "tree"), file = SharedFolder.Require("fixtures/gguf/lora/llama-ranks/lora-F32.gguf"), model = SharedFolder.Require("fixtures/gguf/llama/llama-F32.gguf");
        Directory.CreateDirectory(Path.Combine(tree, "ranks"));
        File.Copy(file, Path.Combine(tree, "ranks", "adapter.gguf"));
        File.WriteAllText(Path.Combine(tree, "base.json"), JsonSerializer.Serialize(new { path = model }));
        byte[] Logits(params string[] arguments)
        {
            string output = Path.Combine(_folder, "logits.safetensors");
            Command.Run(["logits", .. arguments, "--tokens", "1,2,3,4", "--output", output]);
            return File.ReadAllBytes(output);
        }
        byte[] expected = Logits(model, "--adapter", file);
        Assert.Equal(expected, Logits(tree, "--at", "ranks"));
        Assert.NotEqual(expected, Logits(tree));
    }

    // Fused q, k and v, and experts, lie otherwise in GGUF than in a checkpoint.
    [Theory, InlineData("gpt_neox", "query_key_value"), InlineData("falcon", "query_key_value"), InlineData("falcon-mqa", "query_key_value"), InlineData("mixtral", "experts"), InlineData("qwen3_moe", "experts"), InlineData("phi3", "qkv_proj")]
    public void Pairs_on_fused_modules_and_experts_go_to_GGUF_and_back_and_mean_the_same_on_every_base(string name, string modules)
    {
        string origin = SharedFolder.Require("fixtures/models/" + name), peft = Path.Combine(_folder, "peft"), file = Path.Combine(_folder, "lora.gguf"), back = Path.Combine(_folder, "back"), gguf = Path.Combine(_folder, "base.gguf");
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(origin), new ReferenceBackend());
        Random random = new(3);
        List<Tensor> tensors = [];
        List<string> targets = [];
        foreach (ModelSite site in model.Sites.Sites.Where(s => s.Linear is not null && s.Name.Contains(modules, StringComparison.Ordinal)))
        {
            targets.Add(site.Name);
            foreach ((string part, Shape shape) in new[] { ("lora_A", new Shape(2, site.Linear!.Inputs)), ("lora_B", new Shape(site.Linear.Outputs, 2)) })
                tensors.Add(Tensor.FromFloats($"base_model.model.{site.Name}.{part}.weight", shape, [.. Enumerable.Range(0, (int)shape.Elements).Select(_ => random.NextSingle() - 0.5f)]));
        }
        Directory.CreateDirectory(peft);
        Safetensors.Write(Path.Combine(peft, "adapter_model.safetensors"), tensors);
        File.WriteAllText(Path.Combine(peft, "adapter_config.json"), JsonSerializer.Serialize(new { peft_type = "LORA", r = 2, lora_alpha = 3, target_modules = targets }));
        Command.Run("convert", origin, gguf, "--type", "f32");
        Command.Run("convert", peft, file, "--base", origin);
        Command.Run("convert", file, back, "--base", gguf);
        using (TensorFile wanted = Safetensors.Open(peft + "/adapter_model.safetensors"), found = Safetensors.Open(back + "/adapter_model.safetensors"))
        {
            Assert.Equal(wanted.Tensors.Keys.Order(StringComparer.Ordinal), found.Tensors.Keys.Order(StringComparer.Ordinal));
            Assert.All(wanted.Tensors.Values, t => Assert.True(t.Bytes.SequenceEqual(found.Tensors[t.Name].Bytes), t.Name));
        }
        using DecoderModel other = DecoderModel.Load(BaseCheckpoint.Open(gguf), new ReferenceBackend());
        int[] ids = [1, 5, 9, 33, 2, 7];
        float[] Logits(DecoderModel on, string adapter)
        {
            using ResidentAdapter resident = ResidentAdapter.Load(adapter, "a", on.Sites, on.Backend);
            return ModelGolden.Logits(on, PathResolver.Resolve("a", on.Sites, on.Backend, [(resident, 1)]), ids);
        }
        float[] expected = Logits(model, peft);
        Assert.True(GoldenError.Relative(ModelGolden.Logits(model, AdapterPath.Root, ids), expected) > 0.01, "the adapter does nothing");
        Assert.Equal(expected, Logits(model, file));
        Assert.True(GoldenError.Relative(Logits(other, file), expected) <= 2e-6);
        Assert.True(GoldenError.Relative(Logits(other, peft), expected) <= 2e-6);
    }

    [Fact]
    public void Pairs_on_some_experts_of_a_layer_are_no_GGUF_adapter()
    {
        string peft = Path.Combine(_folder, "peft");
        Directory.CreateDirectory(peft);
        const string Module = "model.layers.0.block_sparse_moe.experts.2.w1";
        Safetensors.Write(Path.Combine(peft, "adapter_model.safetensors"), [Tensor.FromFloats($"base_model.model.{Module}.lora_A.weight", new Shape(1, 64), new float[64]), Tensor.FromFloats($"base_model.model.{Module}.lora_B.weight", new Shape(48, 1), new float[48])]);
        File.WriteAllText(Path.Combine(peft, "adapter_config.json"), JsonSerializer.Serialize(new { peft_type = "LORA", r = 1, lora_alpha = 1, target_modules = new[] { Module } }));
        Assert.Contains("blk.0.ffn_gate_exps.weight: GGUF has one tensor for 6 experts, the adapter has pairs on 1 of them: 2", Command.Fail("convert", peft, Path.Combine(_folder, "x.gguf"), "--base", SharedFolder.Require("fixtures/models/mixtral")));
    }

    private static IEnumerable<string> BasesOf(string name)
    {
        string family = name.Split('-')[0];
        return [SharedFolder.Require($"fixtures/gguf/{family}/{family}-F32.gguf"), SharedFolder.Require($"fixtures/gguf/{family}/hf")];
    }

    private static void CheckLogits(DecoderModel model, string path, float strength, TensorFile expected, string tensor) => CheckLogits(model, path, strength, expected.Tensors["ids"], expected.Tensors[tensor]);

    private static void CheckLogits(DecoderModel model, string path, float strength, Tensor ids, Tensor expected)
    {
        using ResidentAdapter adapter = ResidentAdapter.Load(path, "gguf", model.Sites, model.Backend);
        AdapterPath node = PathResolver.Resolve("path", model.Sites, model.Backend, [(adapter, strength)]);
        float[] logits = ModelGolden.Logits(model, node, Array.ConvertAll(ids.ToInts(), x => (int)x));
        double worst = logits.Zip(expected.ToFloats()).Max(p => Math.Abs((double)p.First - p.Second));
        Assert.True(worst <= Tolerance, $"{path}: off by {worst:g3}");
    }
}
