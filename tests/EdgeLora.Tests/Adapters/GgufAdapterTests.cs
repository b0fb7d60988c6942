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
