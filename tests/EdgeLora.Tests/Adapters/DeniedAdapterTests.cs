using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Adapters whose configuration and tensors contradict each other: no format takes them, for PEFT would load other numbers or none.</summary>
public sealed class DeniedAdapterTests
{
    private const string Module = "model.layers.0.self_attn.q_proj";

    [Fact]
    public void A_rank_that_the_configuration_denies_is_refused_by_every_format()
    {
        PeftConfig config = Config(Module) with { Rank = 8 };
        foreach (AdapterFileFormat format in AdapterFormats.All.Where(f => f.Writes))
            Assert.Contains(Refusals(format, config, Pair(Module)), r => r.StartsWith($"{Module}: expected rank 8 of adapter_config.json, found A [4, 6]", StringComparison.Ordinal));
        Assert.DoesNotContain(Refusals(AdapterFormats.Peft, Config(Module), Pair(Module)), r => r.Contains("rank", StringComparison.Ordinal));
    }

    [Fact]
    public void Whole_numbers_are_no_weights()
    {
        (string, PeftPart, Tensor)[] pair = Pair(Module);
        pair[1].Item3 = new Tensor("", DType.I8, new Shape(5, 4), new ArrayStorage(20));
        foreach (AdapterFileFormat format in AdapterFormats.All.Where(f => f.Writes))
            Assert.Contains($"{Module}: expected numbers with a fraction, found I8", Refusals(format, Config(Module), pair));
        using PeftAdapter made = PeftAdapter.Create("made", Config(Module), pair);
        Assert.Contains("expected numbers with a fraction, found I8", Assert.Throws<ModelFileException>(() => AdapterDeltas.Check([new("made", made)], anyBase: false)).Message);
    }

    [Fact]
    public void The_inputs_of_a_graph_are_not_BF16() =>
        Assert.Equal(["BF16: an .onnx_adapter file is of F32 or F16"], AdapterFormats.Named("onnx_adapter")!.Judge(PeftAdapter.Create("made", Config(Module), Pair(Module)), new() { Type = DType.BF16 }).Refusals);

    [Fact]
    public void A_base_that_was_saved_without_its_prefix_takes_the_same_adapters()
    {
        string model = SharedFolder.Require("fixtures/models/gpt2-hub"), folder = Directory.CreateTempSubdirectory("edgelora-hub-").FullName;
        try
        {
            string there = Path.Combine(folder, "there.gguf"), back = Path.Combine(folder, "back");
            using TensorFile weights = Safetensors.Open(model);
            long width = weights.Tensors["wte.weight"].Shape[1];
            const string Site = "transformer.h.0.attn.c_attn";
            string own = Path.Combine(folder, "own");
            using (PeftAdapter made = PeftAdapter.Create("made", Config(Site), [(Site, PeftPart.A, Tensor.FromFloats("", new Shape(4, width), new float[4 * width])), (Site, PeftPart.B, Tensor.FromFloats("", new Shape(3 * width, 4), new float[12 * width]))]))
                made.Write(own);
            Command.Run("convert", own, there, "--base", model);
            Command.Run("convert", there, back, "--base", model);
            using PeftAdapter returned = PeftAdapter.Open(back);
            Assert.Equal([Site], returned.Modules.Keys);
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    [Theory, InlineData("peft"), InlineData("peft_bin"), InlineData("elora"), InlineData("mlx")]
    public void DoRA_without_magnitudes_is_refused(string format) =>
        Assert.Equal([$"{Module}.lora_magnitude_vector: is missing, but use_dora is true"], Refusals(AdapterFormats.Named(format)!, Config(Module) with { UseDora = true }, Pair(Module)));

    [Theory, InlineData("peft"), InlineData("elora"), InlineData("loralib")]
    public void An_adapter_without_a_tensor_is_refused(string format) =>
        Assert.Contains(Refusals(AdapterFormats.Named(format)!, Config(Module), []), r => r is "holds no tensor" or "holds no low-rank pair");

    [Theory, InlineData("lora_A.default.weight"), InlineData("lora_B.default.weight"), InlineData("lora_magnitude_vector.other.weight")]
    public void An_adapter_s_name_inside_a_tensor_s_is_told(string ending)
    {
        Tensor tensor = Tensor.FromFloats($"base_model.model.{Module}.{ending}", new Shape(4, 6), new float[24]);
        string message = Assert.Throws<ModelFileException>(() => PeftAdapter.From("made", Config(Module), new TensorFile("made", new Dictionary<string, Tensor> { [tensor.Name] = tensor }, new Dictionary<string, string>(), []))).Message;
        Assert.Contains($"{Module}.{ending}: holds the adapter's name ({ending.Split('.')[1]})", message);
    }

    [Theory]
    [InlineData("gpt_neox.layers.1.attention.query_key_value", "model.h.1.attention.query_key_value")]
    [InlineData("gpt_neox.layers.0.mlp.dense_4h_to_h", "model.h.0.mlp.dense_4h_to_h")]
    [InlineData("embed_out", "model.embed_out")]
    [InlineData("transformer.h.2.attn.c_attn", "model.h.2.attn.c_attn")]
    [InlineData("transformer.h.2.mlp.c_fc", "model.h.2.mlp.c_fc")]
    [InlineData("transformer.h.2.mlp.dense_h_to_4h", "transformer.h.2.mlp.dense_h_to_4h")]
    [InlineData("transformer.h.2.self_attention.query_key_value", "transformer.h.2.self_attention.query_key_value")]
    [InlineData("transformer.single_transformer_blocks.2.attn.to_q", "transformer.single_transformer_blocks.2.attn.to_q")]
    [InlineData(Module, Module)]
    public void A_module_goes_by_the_name_that_mlx_lm_gives_it(string module, string named)
    {
        string folder = Directory.CreateTempSubdirectory("edgelora-mlx-").FullName;
        try
        {
            using PeftAdapter made = PeftAdapter.Create("made", Config(module), Pair(module));
            AdapterFormats.Named("mlx")!.Write(made, folder, AdapterOptions.None);
            using (TensorFile file = Safetensors.Open(Path.Combine(folder, "adapters.safetensors")))
                Assert.Equal([named + ".lora_a", named + ".lora_b"], file.Tensors.Keys);
            using PeftAdapter back = AdapterFormats.Read(folder);
            Assert.Equal([module], back.Modules.Keys);
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    [Fact]
    public void Pairs_on_experts_have_no_place_in_MLX() =>
        Assert.Contains("mlx-lm has all experts of a layer in one module", Assert.Single(Refusals(AdapterFormats.Named("mlx")!, Config("model.layers.0.mlp.experts.1.up_proj"), Pair("model.layers.0.mlp.experts.1.up_proj"))));

    private static PeftConfig Config(string module) => new() { Rank = 4, Alpha = 8, TargetModules = [module] };

    private static (string, PeftPart, Tensor)[] Pair(string module) =>
        [(module, PeftPart.A, Tensor.FromFloats("", new Shape(4, 6), new float[24])), (module, PeftPart.B, Tensor.FromFloats("", new Shape(5, 4), new float[20]))];

    private static IReadOnlyList<string> Refusals(AdapterFileFormat format, PeftConfig config, (string, PeftPart, Tensor)[] tensors)
    {
        using PeftAdapter made = PeftAdapter.Create("made", config, tensors);
        return format.Judge(made, AdapterOptions.None).Refusals;
    }
}
