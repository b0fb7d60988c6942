using EdgeLora.Cli;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>PEFT adapters of ../shared/fixtures/peft as .onnx_adapter files and back: the same logits, or a refusal that names what such a file cannot hold.</summary>
public sealed class OnnxLowRankTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-onnx-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory]
    [InlineData("llama-qv")]
    [InlineData("llama-all")]
    [InlineData("llama-patterns")]
    [InlineData("llama-rslora")]
    [InlineData("llama-layers")]
    [InlineData("llama-head")]
    [InlineData("llama-bf16-qv")]
    [InlineData("gpt2-attn")]
    public void An_adapter_that_went_through_an_onnx_file_gives_PEFT_s_logits(string name)
    {
        using PeftFixture fixture = new(name);
        string file = Path.Combine(_folder, "there.onnx_adapter"), back = Path.Combine(_folder, "back");
        Run("convert", fixture.Folder, file, "--fold");
        Run("convert", file, back);
        using LoraAdapter original = LoraAdapter.Load(fixture.Folder, "original", fixture.Model.Sites);
        foreach (string path in new[] { file, back })
        {
            using ResidentAdapter adapter = ResidentAdapter.Load(path, "converted", fixture.Model.Sites, fixture.Model.Backend);
            fixture.CheckLogits(fixture.Resolve((adapter, 1)));
            using LoraAdapter read = LoraAdapter.Load(path, "converted", fixture.Model.Sites);
            Assert.Equal(original.Deltas.Select(d => (d.Site.Name, d.LowRank!.Rank)), read.Deltas.Select(d => (d.Site.Name, d.LowRank!.Rank)));
            Assert.All(read.Deltas, d => Assert.Equal(1, d.LowRank!.Scale));
        }
    }

    [Theory]
    [InlineData("llama-dora", "use_dora", "model.layers.0.self_attn.q_proj.lora_magnitude_vector")]
    [InlineData("llama-save-head", "modules_to_save", "lm_head.weight")]
    [InlineData("llama-tokens", "trainable_token_indices", "trainable_tokens_delta")]
    [InlineData("llama-embed", "model.embed_tokens.lora_embedding_A", "model.embed_tokens.lora_embedding_B")]
    [InlineData("llama-lora-bias", "lora_bias", "lora_B.bias")]
    [InlineData("qwen2-bias-lora", "adapter_config.json: bias", "base_layer.bias")]
    [InlineData("llama-alora", "alora_invocation_tokens", "cannot hold it")]
    [InlineData("llama-replicated", "layer_replication", "cannot hold it")]
    [InlineData("llama-lntuning", "peft_type LN_TUNING", "cannot hold it")]
    public void What_an_onnx_file_cannot_hold_is_named_and_nothing_is_written(string name, params string[] faults)
    {
        string folder = SharedFolder.Require("fixtures/peft/" + name), file = Path.Combine(_folder, "refused.onnx_adapter");
        using PeftAdapter adapter = PeftAdapter.Open(folder);
        ModelFileException e = Assert.Throws<ModelFileException>(() => OnnxLowRank.Write(file, adapter));
        Assert.StartsWith(folder, e.Message);
        Assert.All(faults, f => Assert.Contains(f, e.Message));
        Assert.False(File.Exists(file));
    }

    [Fact]
    public void A_scale_that_rounds_is_folded_only_where_that_is_allowed()
    {
        string folder = SharedFolder.Require("fixtures/peft/llama-rslora"), file = Path.Combine(_folder, "rounded.onnx_adapter");
        using StringWriter output = new(), error = new();
        Assert.Equal(EdgeLoraCommand.Failed, EdgeLoraCommand.Invoke(["convert", folder, file], output, error));
        Assert.Contains("has no place in an .onnx_adapter file; folding it into B rounds the numbers: allow it with --fold", error.ToString());
        Assert.False(File.Exists(file));
        Run("convert", SharedFolder.Require("fixtures/peft/llama-qv"), file);
        Assert.True(File.Exists(file));
    }

    [Fact]
    public void Names_are_the_model_builder_s_where_it_has_some_and_the_checkpoint_s_elsewhere()
    {
        Assert.Equal("model.layers.3.attn.q_proj.lora_A.MatMul.weight", OnnxLowRank.NameOf("model.layers.3.self_attn.q_proj", PeftPart.A));
        Assert.Equal("model.layers.3.mlp.gate_proj.lora_B.MatMul.weight", OnnxLowRank.NameOf("model.layers.3.mlp.gate_proj", PeftPart.B));
        Assert.Equal("transformer.h.0.attn.c_attn.lora_A.MatMul.weight", OnnxLowRank.NameOf("transformer.h.0.attn.c_attn", PeftPart.A));
        Assert.Equal("lm_head.lora_B.MatMul.weight", OnnxLowRank.NameOf("lm_head", PeftPart.B));
    }

    [Fact]
    public void A_file_of_ONNX_Runtime_becomes_PEFT_s_modules_turned_and_of_scale_one()
    {
        string path = SharedFolder.Require("fixtures/onnx_adapter/llama-f16.onnx_adapter");
        using OnnxAdapter file = OnnxAdapter.Read(path);
        using PeftAdapter adapter = OnnxLowRank.Read(path);
        Assert.Equal(["model.layers.0.self_attn.o_proj", "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.o_proj", "model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"], adapter.Modules.Keys);
        foreach (PeftModule module in adapter.Modules.Values)
            foreach (PeftPart part in new[] { PeftPart.A, PeftPart.B })
            {
                Tensor theirs = file.File.Tensors[OnnxLowRank.NameOf(module.Name, part)], ours = module[part]!;
                Assert.Equal(new Shape(theirs.Shape[1], theirs.Shape[0]), ours.Shape);
                float[] turned = theirs.ToFloats(), values = ours.ToFloats();
                for (int r = 0; r < theirs.Shape[0]; r++)
                    for (int c = 0; c < theirs.Shape[1]; c++)
                        Assert.Equal(turned[r * theirs.Shape[1] + c], values[c * theirs.Shape[0] + r]);
            }
        Assert.All(adapter.Modules.Keys, m => Assert.Equal(1, adapter.Config.ScaleOf(m, adapter.Config.RankOf(m))));
    }

    [Theory]
    [InlineData("small", "layer: A and B are of ranks 3 and 2")]
    [InlineData("types", "f64: is neither A nor B of a module")]
    [InlineData("no-parameters", "holds no low-rank pair")]
    public void Tensors_that_are_no_pair_are_refused_by_name(string name, string fault)
    {
        string path = SharedFolder.Require($"fixtures/onnx_adapter/{name}.onnx_adapter");
        Assert.Contains(fault, Assert.Throws<ModelFileException>(() => OnnxLowRank.Read(path)).Message);
    }

    [Theory, InlineData("graph/rank1_f32"), InlineData("graph/rank7_f16")]
    public void Inputs_of_a_graph_made_by_hand_are_pairs_by_their_endings(string name)
    {
        using PeftAdapter adapter = OnnxLowRank.Read(SharedFolder.Require($"fixtures/onnx_adapter/{name}.onnx_adapter"));
        Assert.Equal(["layer"], adapter.Modules.Keys);
        Assert.Equal(1, Assert.Single(LowRankPair.Of(adapter, [])).Scale);
    }

    [Fact]
    public void A_pair_that_does_not_fit_together_or_is_of_rank_0_is_refused_by_name()
    {
        string path = Path.Combine(_folder, "odd.onnx_adapter");
        OnnxAdapter.Write(path,
        [
            Zeros("a.lora_A.MatMul.weight", 4, 2), Zeros("a.lora_B.MatMul.weight", 3, 4),
            Zeros("b.lora_A.MatMul.weight", 4, 0), Zeros("b.lora_B.MatMul.weight", 0, 4),
            Zeros("c.lora_A.weight", 4, 2, 1), Zeros("c.lora_B.weight", 2, 4),
        ], cancellation: TestContext.Current.CancellationToken);
        ModelFileException e = Assert.Throws<ModelFileException>(() => OnnxLowRank.Read(path));
        Assert.Equal(["a: A and B are of ranks 2 and 3", "b.lora_A.MatMul.weight: expected [inputs, rank], found [4, 0]", "b.lora_B.MatMul.weight: expected [rank, outputs], found [0, 4]", "c.lora_A.weight: expected [inputs, rank], found [4, 2, 1]"], e.Faults);
    }

    [Fact]
    public void A_folder_with_an_onnx_file_is_a_node_like_any_other()
    {
        string tree = Path.Combine(_folder, "tree"), shipped = Path.Combine(SharedFolder.Repository, "adapters", "nano");
        Directory.CreateDirectory(Path.Combine(tree, "restaurant"));
        File.WriteAllText(Path.Combine(tree, "base.json"), $$"""{"path": "{{Path.Combine(shipped, "base").Replace("\\", "/")}}"}""");
        string file = Path.Combine(tree, "restaurant", PeftAdapter.OnnxName);
        Run("convert", Path.Combine(shipped, "restaurant"), file, "--fold");
        string[] prompt = ["--greedy", "--max-tokens", "12", "-p", "Once upon a time"];
        string expected = Run(["run", shipped, "--at", "restaurant", .. prompt]);
        Assert.Equal(expected, Run(["run", tree, "--at", "restaurant", .. prompt]));
        Assert.Equal(expected, Run(["run", Path.Combine(shipped, "base"), "--adapter", file, .. prompt]));
        Assert.NotEqual(expected, Run(["run", tree, .. prompt]));
        foreach (string path in new[] { file, Path.GetDirectoryName(file)! })
        {
            string report = Run("inspect", path, "--base", Path.Combine(shipped, "base"));
            Assert.Contains(": adapter, .onnx_adapter", report);
            Assert.Contains("fits         True", report);
            Assert.EndsWith("  sound", report.TrimEnd());
        }
    }

    [Fact]
    public void Numbers_too_large_for_F16_are_refused_by_module()
    {
        string path = Path.Combine(_folder, "large.onnx_adapter"), half = Path.Combine(_folder, "half.onnx_adapter");
        OnnxAdapter.Write(path, [Tensor.FromFloats("a.lora_A.MatMul.weight", new Shape(1, 1), [1]), Tensor.FromFloats("a.lora_B.MatMul.weight", new Shape(1, 1), [70000])], cancellation: TestContext.Current.CancellationToken);
        using PeftAdapter adapter = OnnxLowRank.Read(path);
        Assert.Contains("a.lora_B: holds numbers too large for F16", Assert.Throws<ModelFileException>(() => OnnxLowRank.Write(half, adapter, DType.F16)).Message);
    }

    private static Tensor Zeros(string name, params long[] shape) => Tensor.FromFloats(name, new Shape(shape), new float[new Shape(shape).Elements]);

    private static string Run(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(arguments, output, error);
        Assert.True(code == EdgeLoraCommand.Ok, $"{string.Join(' ', arguments)}: {error}");
        return output.ToString();
    }
}
