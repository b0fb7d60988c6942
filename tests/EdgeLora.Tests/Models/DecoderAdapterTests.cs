using EdgeLora.Cli;
using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Models;
using EdgeLora.Tests.Formats;
using EdgeLora.Tests.Golden;
using Xunit;

namespace EdgeLora.Tests.Models;

/// <summary>Adapters on every architecture's own modules, fused projections and norms included: a path gives what its merged weights give as a base. Bases: ../shared/fixtures/models.</summary>
public sealed class DecoderAdapterTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-decoders-").FullName;

    public static TheoryData<string> Bases() => new(ModelGoldenTests.Folders().Where(f => !f.StartsWith("llama-", StringComparison.Ordinal)));

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory, MemberData(nameof(Bases))]
    public void A_path_gives_what_its_merged_base_gives(string name)
    {
        string origin = SharedFolder.Require("fixtures/models/" + name), adapter = Path.Combine(_folder, "adapter"), merged = Path.Combine(_folder, "merged");
        using CpuBackend backend = new(2);
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(origin), backend);
        int saved = WriteAdapter(model, adapter);
        using ResidentAdapter resident = ResidentAdapter.Load(adapter, "a", model.Sites, backend);
        AdapterPath path = PathResolver.Resolve("a", model.Sites, backend, [(resident, 1)]);
        int[] ids = [.. Enumerable.Range(0, 21).Select(i => 3 + i * 37 % 300)];
        float[] expected = ModelGolden.Logits(model, path, ids), plain = ModelGolden.Logits(model, AdapterPath.Root, ids);
        Assert.True(GoldenError.Relative(plain, expected) > 0.01, "the adapter does nothing");
        WriteMerged(model, path, origin, merged);
        using DecoderModel whole = DecoderModel.Load(BaseCheckpoint.OpenFolder(merged), backend);
        double error = GoldenError.Relative(ModelGolden.Logits(whole, AdapterPath.Root, ids), expected);
        Assert.True(error <= 1e-5, $"{name}: error {error:g3} with {saved} norms");
    }

    // Rows, gains and fused projections lie otherwise in GGUF; a checkpoint's adapter means the same on both.
    [Theory, InlineData("granite"), InlineData("gemma2"), InlineData("gemma3-old"), InlineData("phi3"), InlineData("gpt_neox"), InlineData("falcon"), InlineData("falcon-mqa"), InlineData("cohere"), InlineData("stablelm"), InlineData("mixtral"), InlineData("qwen3_moe")]
    public void A_checkpoint_s_adapter_gives_the_same_on_the_base_as_GGUF(string name)
    {
        string origin = GgufFromFolder.Sayable(SharedFolder.Require("fixtures/models/" + name), Path.Combine(_folder, "hf")), adapter = Path.Combine(_folder, "adapter"), gguf = Path.Combine(_folder, "base.gguf");
        // Another writer than the engine's, where that knows the architecture.
        if (name is "mixtral" or "qwen3_moe")
            Run("convert", origin, gguf);
        else
            GgufFromFolder.Write(origin, gguf);
        using CpuBackend backend = new(2);
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(origin), backend), same = DecoderModel.Load(BaseCheckpoint.Open(gguf), backend);
        WriteAdapter(model, adapter);
        int[] ids = [.. Enumerable.Range(0, 14).Select(i => 3 + i * 37 % 300)];
        float[] Logits(DecoderModel on)
        {
            using ResidentAdapter resident = ResidentAdapter.Load(adapter, "a", on.Sites, backend);
            return ModelGolden.Logits(on, PathResolver.Resolve("a", on.Sites, backend, [(resident, 1)]), ids);
        }
        float[] expected = Logits(model);
        double error = GoldenError.Relative(Logits(same), expected);
        Assert.True(error <= 1e-5, $"{name}: error {error:g3}");
        // Merged, either is a GGUF of the same layout.
        foreach (string source in new[] { gguf, origin })
        {
            string merged = Path.Combine(_folder, "merged.gguf");
            Run("merge", source, "--adapter", adapter, "--type", "F32", "-o", merged);
            using DecoderModel whole = DecoderModel.Load(BaseCheckpoint.Open(merged), backend);
            error = GoldenError.Relative(ModelGolden.Logits(whole, AdapterPath.Root, ids), expected);
            Assert.True(error <= 1e-5, $"{source}, merged: error {error:g3}");
        }
    }

    private static void Run(params string[] arguments)
    {
        StringWriter output = new(), faults = new();
        Assert.True(EdgeLoraCommand.Invoke(arguments, output, faults) == 0, faults.ToString());
    }

    private static int WriteAdapter(DecoderModel model, string folder)
    {
        Directory.CreateDirectory(folder);
        Random random = new(5);
        List<Tensor> tensors = [];
        List<string> targets = [], saved = [];
        Tensor Random(string tensor, Shape shape, float mean, float size)
        {
            float[] values = new float[shape.Elements];
            for (int i = 0; i < values.Length; i++)
                values[i] = mean + ((float)random.NextDouble() * 2 - 1) * size;
            return Tensor.FromFloats("base_model.model." + tensor, shape, values);
        }
        foreach (ModelSite site in model.Sites.Sites)
        {
            if (site.Linear is { } linear && site.Name != model.Sites.HeadName)
            {
                targets.Add(site.Name);
                tensors.Add(Random(site.Name + ".lora_A.weight", new Shape(2, linear.Inputs), 0, 0.2f));
                tensors.Add(Random(site.Name + ".lora_B.weight", new Shape(linear.Outputs, 2), 0, 0.2f));
            }
            else if (site.Norm is { } norm && model.Checkpoint.Weights.Tensors.TryGetValue(site.Name + ".weight", out Tensor? stored))
            {
                saved.Add(site.Name);
                tensors.Add(Random(site.Name + ".weight", stored.Shape, 1 - norm.Offset, 0.3f));
                if (norm.Bias is not null)
                    tensors.Add(Random(site.Name + ".bias", stored.Shape, 0, 0.3f));
            }
        }
        Safetensors.Write(Path.Combine(folder, "adapter_model.safetensors"), tensors);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), $$"""
            {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "fan_in_fan_out": {{(model.Sites.Sites.Any(s => s.IsConv1D) ? "true" : "false")}},
             "target_modules": [{{string.Join(", ", targets.Select(t => $"\"{t}\""))}}], "modules_to_save": [{{string.Join(", ", saved.Select(t => $"\"{t}\""))}}]}
            """);
        return saved.Count;
    }

    private static void WriteMerged(DecoderModel model, AdapterPath path, string origin, string folder)
    {
        Directory.CreateDirectory(folder);
        File.Copy(Path.Combine(origin, "config.json"), Path.Combine(folder, "config.json"));
        Dictionary<string, Tensor> tensors = new(model.Checkpoint.Weights.Tensors);
        foreach (ModelSite site in model.Sites.Sites)
        {
            if (path.Table[site.Index] is not { } adapter)
                continue;
            void Put(Tensor tensor)
            {
                string stored = tensors.ContainsKey(tensor.Name) ? tensor.Name : tensor.Name["transformer.".Length..];
                Assert.True(tensors.ContainsKey(stored), stored);
                tensors[stored] = tensor.View(stored, tensor.Shape);
            }
            Put(AdapterMerge.EffectiveWeight(site, adapter));
            if (AdapterMerge.EffectiveBias(site, adapter) is { } bias)
                Put(bias);
        }
        Safetensors.Write(Path.Combine(folder, "model.safetensors"), [.. tensors.Values.Where(t => t.Type.IsWeight())]);
    }
}
