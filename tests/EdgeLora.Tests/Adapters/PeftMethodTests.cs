using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Formats;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>PEFT's other methods read as low-rank pairs; their logits are Golden/AdapterGoldenTests' business. Real files: ../shared/data/lora-adapters/peft-tiny-regression (huggingface/peft's own regression artefacts).</summary>
public sealed class PeftMethodTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-methods-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Fact]
    public void AdaLoRA_divides_alpha_by_the_rank_in_the_file()
    {
        string folder = Regression("adalora_mlp");
        using TensorFile file = TorchPickle.Open(Path.Combine(folder, "adapter_model.bin"));
        float[] Values(string ending) => file.Tensors.Single(t => t.Key.EndsWith(ending, StringComparison.Ordinal)).Value.ToFloats();
        float[] a = Values("lora_A"), b = Values("lora_B"), e = Values("lora_E");
        int rank = e.Length, inputs = a.Length / rank, outputs = b.Length / rank;
        using PeftAdapter adapter = PeftAdapter.Open(folder);
        double[] found = DiffusionFiles.Delta(adapter, "lin0");
        for (int o = 0; o < outputs; o++)
            for (int i = 0; i < inputs; i++)
            {
                double expected = 8 / (rank + 1e-5) * Enumerable.Range(0, rank).Sum(r => (double)b[o * rank + r] * e[r] * a[r * inputs + i]);
                Assert.InRange(found[o * inputs + i] - expected, -1e-7, 1e-7);
            }
    }

    [Theory, InlineData("ia3_mlp", 0), InlineData("ia3_no_ff_mlp", 1)]
    public void IA3_of_real_files_is_read_as_scales_of_inputs_and_outputs(string name, int ones)
    {
        using PeftAdapter adapter = PeftAdapter.Open(Regression(name));
        Assert.Equal("IA3", adapter.Config.PeftType);
        Assert.Equal(1, adapter.Modules["lin0"][PeftPart.Scales]!.Shape[ones]);
        string written = Path.Combine(_folder, "again");
        adapter.Write(written);
        using PeftAdapter again = PeftAdapter.Open(written);
        Assert.Equal(adapter.Tensors.Keys.Order(), again.Tensors.Keys.Order());
    }

    [Theory]
    [InlineData("lora_conv2d", "conv2d", PeftPart.A)]
    [InlineData("lora_mlp", "lin0", PeftPart.A)]
    [InlineData("lora_emb_conv1d", "emb", PeftPart.EmbeddingA)]
    public void Convolutions_tables_and_linear_layers_of_real_files_are_read(string name, string module, PeftPart part)
    {
        using PeftAdapter adapter = PeftAdapter.Open(Regression(name));
        Assert.Equal(8, adapter.Modules[module][part]!.Shape[0]);
        Assert.Equal(1, adapter.Config.ScaleOf(module, 8));
    }

    [Fact]
    public void VeRA_s_projections_are_made_anew_where_they_were_not_saved()
    {
        string folder = Path.Combine(_folder, "vera"), source = SharedFolder.Require("fixtures/peft/llama-vera"), model = SharedFolder.Require("fixtures/peft/bases/llama");
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), File.ReadAllText(Path.Combine(source, "adapter_config.json")).Replace("\"save_projection\": true", "\"save_projection\": false"));
        using (TensorFile file = Safetensors.Open(Path.Combine(source, "adapter_model.safetensors")))
            Safetensors.Write(Path.Combine(folder, "adapter_model.safetensors"), file.Tensors.Values.Where(t => !t.Name.StartsWith("base_model.vera_", StringComparison.Ordinal)));
        AdapterOptions options = new() { Base = AdapterComparison.BaseOf(model) };
        using PeftAdapter saved = AdapterFormats.Read(source, options), made = AdapterFormats.Read(folder, options);
        AdapterComparison.CheckSame(saved, made, "vera");
        Assert.Contains("give the base (--base)", Assert.Throws<ModelFileException>(() => PeftAdapter.Open(folder)).Message);
        using PeftFixture fixture = new("llama-vera");
        using ResidentAdapter hosted = ResidentAdapter.Load(folder, "vera", fixture.Model.Sites, fixture.Model.Backend);
        fixture.CheckLogits(fixture.Resolve((hosted, 1)));
        // A key that is another's makes other numbers.
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), File.ReadAllText(Path.Combine(folder, "adapter_config.json")).Replace("\"projection_prng_key\": 0", "\"projection_prng_key\": 1"));
        using PeftAdapter other = AdapterFormats.Read(folder, options);
        Assert.NotEqual(saved.Tensors.Values.First().ToFloats(), other.Tensors.Values.First().ToFloats());
    }

    [Fact]
    public void Layers_of_other_widths_take_the_corner_of_VeRA_s_shared_projections()
    {
        string folder = Path.Combine(_folder, "wide");
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), """{"peft_type": "VERA", "task_type": "CAUSAL_LM", "r": 4, "projection_prng_key": 5, "save_projection": false, "target_modules": ["q_proj", "down_proj"]}""");
        using PeftFixture fixture = new("llama-vera");
        string[] modules = [.. fixture.Model.Sites.Sites.Select(s => s.Name).Where(n => n.EndsWith("q_proj", StringComparison.Ordinal) || n.EndsWith("down_proj", StringComparison.Ordinal))];
        Tensor Ones(string name, int count) => Tensor.FromFloats(name, new Shape(count), [.. Enumerable.Repeat(1f, count)]);
        Safetensors.Write(Path.Combine(folder, "adapter_model.safetensors"), modules.SelectMany(m => (Tensor[])[Ones($"base_model.model.{m}.vera_lambda_b", fixture.Model.Sites.Find(m)!.Linear!.Outputs), Ones($"base_model.model.{m}.vera_lambda_d", 4)]));
        using LoraAdapter adapter = LoraAdapter.Load(folder, "wide", fixture.Model.Sites);
        LowRankDelta narrow = adapter.Deltas.First(d => d.Site.Name.EndsWith("q_proj", StringComparison.Ordinal)).LowRank!, wide = adapter.Deltas.First(d => d.Site.Name.EndsWith("down_proj", StringComparison.Ordinal)).LowRank!;
        Assert.Equal(wide.A.Resized(narrow.A.Shape).ToFloats(), narrow.A.ToFloats());
        Assert.True(wide.A.Shape.Columns > narrow.A.Shape.Columns);
        Assert.InRange(wide.A.ToFloats().Max(), 0.9 * Math.Sqrt(6.0 / wide.A.Shape.Columns), Math.Sqrt(6.0 / wide.A.Shape.Columns));
    }

    [Fact]
    public void VeRA_is_written_in_another_format_only_with_the_base_s_widths()
    {
        string source = SharedFolder.Require("fixtures/peft/llama-vera"), model = SharedFolder.Require("fixtures/peft/bases/llama"), target = Path.Combine(_folder, "lora");
        foreach (string to in (string[])["peft", "elora", "mlx"])
            Assert.Contains("give it (--base)", Command.Fail("convert", source, Path.Combine(_folder, "out"), "--to", to));
        Command.Run("inspect", source);
        Assert.Contains("fits", Command.Run("inspect", source, "--base", model));
        Command.Run("convert", source, target, "--base", model);
        using PeftFixture fixture = new("llama-vera");
        using ResidentAdapter lora = ResidentAdapter.Load(target, "lora", fixture.Model.Sites, fixture.Model.Backend);
        fixture.CheckLogits(fixture.Resolve((lora, 1)));
    }

    [Fact]
    public void A_missing_factor_and_an_unknown_field_are_named()
    {
        string folder = Path.Combine(_folder, "lokr"), source = SharedFolder.Require("fixtures/peft/llama-lokr");
        Directory.CreateDirectory(folder);
        string config = File.ReadAllText(Path.Combine(source, "adapter_config.json"));
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), config);
        using (TensorFile file = Safetensors.Open(Path.Combine(source, "adapter_model.safetensors")))
            Safetensors.Write(Path.Combine(folder, "adapter_model.safetensors"), file.Tensors.Values.Where(t => t.Name != "base_model.model.model.layers.1.self_attn.q_proj.lokr_w2"));
        Assert.Contains("model.layers.1.self_attn.q_proj.lokr_w2_a: is missing", Assert.Throws<ModelFileException>(() => PeftAdapter.Open(folder)).Message);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), config.Replace("\"rank_dropout_scale\": false", "\"another_scale\": 3"));
        Assert.Contains("another_scale: 3 is unknown here", Assert.Throws<ModelFileException>(() => PeftAdapter.Open(folder)).Message);
    }

    [Fact]
    public void A_read_LoHa_is_written_as_a_LoRA_of_the_same_changes()
    {
        using PeftAdapter loha = PeftAdapter.Open(SharedFolder.Require("fixtures/peft/llama-loha"));
        string folder = Path.Combine(_folder, "as-lora");
        loha.Write(folder);
        using PeftAdapter lora = PeftAdapter.Open(folder);
        Assert.Equal(("LORA", 16), (lora.Config.PeftType, lora.Config.Rank));
        Assert.All(loha.Modules.Keys, m => Assert.Equal(DiffusionFiles.Delta(loha, m), DiffusionFiles.Delta(lora, m)));
    }

    private string Regression(string name)
    {
        string source = SharedFolder.Require("data/lora-adapters/peft-tiny-regression"), folder = Path.Combine(_folder, name);
        Directory.CreateDirectory(folder);
        foreach (string file in new[] { "adapter_config.json", "adapter_model.bin" })
            File.Copy(Path.Combine(source, $"{name}_0.6.1_{file}"), Path.Combine(folder, file), true);
        return folder;
    }
}
