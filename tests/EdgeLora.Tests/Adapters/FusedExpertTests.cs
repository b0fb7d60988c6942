using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>PEFT's <c>target_parameters</c>. Logits are Golden/AdapterGoldenTests' business (../shared/fixtures/peft/mixtral-experts, scripts/peft_adapters.py); bases are ../shared/fixtures/models.</summary>
public sealed class FusedExpertTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-experts-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory]
    [InlineData("mixtral", 1, "model.layers.{0}.block_sparse_moe.experts.{1}.", "w1", "w3", "w2")]
    [InlineData("qwen2_moe", 2, "model.layers.{0}.mlp.experts.{1}.", "gate_proj", "up_proj", "down_proj")]
    [InlineData("qwen3_moe", 1, "model.layers.{0}.mlp.experts.{1}.", "gate_proj", "up_proj", "down_proj")]
    public void Every_expert_gets_its_part_of_the_fused_pairs(string name, int second, string expert, string gate, string up, string down)
    {
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(SharedFolder.Require("fixtures/models/" + name)), new ReferenceBackend());
        Case made = new(model.Sites, second, expert, gate, down);
        using LoraAdapter adapter = LoraAdapter.Fit(made.Adapter(), model.Sites, "own");
        Dictionary<string, SiteDelta> deltas = adapter.Deltas.ToDictionary(d => d.Site.Name);
        Assert.Equal(made.Experts * 5 + 3, deltas.Count);
        for (int e = 0; e < made.Experts; e++)
        {
            string at0 = string.Format(expert, 0, e), at1 = string.Format(expert, second, e);
            // Layer 0 has both parameters: gate_up_proj is the inner wrapper. The second layer has gate_up_proj alone.
            Check(made, deltas[at0 + gate], "0.base_layer", 2, e, 0, 6 / Math.Sqrt(2));
            Check(made, deltas[at0 + up], "0.base_layer", 2, e, made.Width, 6 / Math.Sqrt(2));
            Check(made, deltas[at0 + down], "0", 3, e, 0, 4 / Math.Sqrt(3));
            Check(made, deltas[at1 + gate], "1", 2, e, 0, 6 / Math.Sqrt(2));
            Check(made, deltas[at1 + up], "1", 2, e, made.Width, 6 / Math.Sqrt(2));
        }
        LowRankDelta router = deltas[made.Router].LowRank!;
        Assert.Equal(made.Values["router.A"], router.A.ToFloats());
        Assert.Equal(made.Values["router.B"], router.B.ToFloats());
        Assert.Equal((2, (float)(4 / Math.Sqrt(2))), (router.Rank, router.Scale));
        Assert.Equal(4, deltas["model.layers.0.self_attn.q_proj"].LowRank!.Rank);
    }

    [Fact]
    public void Fused_pairs_go_through_an_elora_file_bit_for_bit_and_split_ones_give_the_same_logits()
    {
        string source = SharedFolder.Require("fixtures/peft/mixtral-experts"), model = SharedFolder.Require("fixtures/peft/bases/mixtral"), elora = Path.Combine(_folder, "a.elora"), back = Path.Combine(_folder, "back");
        Command.Run("convert", source, elora);
        Command.Run("convert", elora, back);
        foreach (string file in (string[])["adapter_config.json", "adapter_model.safetensors"])
            Assert.Equal(File.ReadAllBytes(Path.Combine(source, file)), File.ReadAllBytes(Path.Combine(back, file)));
        string split = Path.Combine(_folder, "split"), splitElora = Path.Combine(_folder, "split.elora");
        Command.Run("convert", source, split, "--split-experts", "--base", model);
        Command.Run("convert", source, splitElora, "--split-experts", "--base", model);
        Command.Run("convert", source, Path.Combine(_folder, "split.onnx_adapter"), "--split-experts", "--base", model, "--fold");
        using PeftFixture fixture = new("mixtral-experts");
        int[] ids = [.. Enumerable.Range(3, 12)];
        float[][] logits = [.. new[] { source, elora, split, splitElora }.Select(p =>
        {
            using ResidentAdapter adapter = ResidentAdapter.Load(p, "own", fixture.Model.Sites, fixture.Model.Backend);
            return ModelGolden.Logits(fixture.Model, fixture.Resolve((adapter, 1)), ids);
        })];
        Assert.All(logits, l => Assert.Equal(logits[0], l));
        using PeftAdapter parts = PeftAdapter.Open(split);
        Assert.Contains("model.layers.0.block_sparse_moe.experts.3.w2", parts.Modules.Keys);
        Assert.Empty(parts.Config.TargetParameters);
    }

    [Fact]
    public void A_format_that_has_no_fused_pairs_says_how_to_split_them()
    {
        string source = SharedFolder.Require("fixtures/peft/mixtral-experts"), model = SharedFolder.Require("fixtures/peft/bases/mixtral");
        foreach (string to in (string[])["mlx", "loralib", "onnx_adapter", "gguf"])
            Assert.Contains("--split-experts", Command.Fail("convert", source, Path.Combine(_folder, "out-" + to), "--to", to, "--base", model));
        Assert.Contains("give it (--base)", Command.Fail("convert", source, Path.Combine(_folder, "out"), "--split-experts"));
        Assert.Contains("has no target_parameters", Command.Fail("convert", SharedFolder.Require("fixtures/peft/llama-qv"), Path.Combine(_folder, "out"), "--split-experts", "--base", model));
        Assert.Contains("target_parameters", Command.Fail("adapter", "add", source, source, "-o", Path.Combine(_folder, "sum")));
        Assert.Contains("mlp.experts.gate_up_proj", Command.Run("inspect", source));
        Assert.Empty(Directory.EnumerateFileSystemEntries(_folder));
    }

    [Theory]
    [InlineData("\"mlp.experts.up_proj\"", "holds pairs of 2 parameters, but target_parameters names none there")]
    [InlineData("\"mlp.experts.down_proj\"", "holds pairs of 2 parameters, but target_parameters names down_proj there")]
    [InlineData("\"mlp.experts.gate_up_proj\", \"mlp.experts.down_proj\", \"mlp.experts.bias\"", "the base has no parameter mlp.experts.bias")]
    [InlineData("\"mlp.experts.gate_up_proj\", \"mlp.experts.down_proj\", \"mlp.gate.weight\"", "model.layers.0.mlp.gate.weight: its lora_A and lora_B are missing")]
    public void Parameters_and_tensors_that_do_not_agree_are_named(string parameters, string fault) => Assert.Contains(fault, Refused(json => json.Replace("\"mlp.experts.gate_up_proj\",\n    \"mlp.experts.down_proj\"", parameters)));

    [Fact]
    public void A_rank_that_is_no_expert_s_is_named_with_both_shapes()
    {
        string fault = Refused(json => json.Replace("\"r\": 2", "\"r\": 3"));
        Assert.Contains("model.layers.0.mlp.experts.base_layer.lora_A: expected [12, 64] for model.layers.0.mlp.experts.gate_up_proj, found [8, 64]", fault);
        Assert.Contains("model.layers.0.mlp.experts.lora_B: expected [64, 12] for model.layers.0.mlp.experts.down_proj, found [64, 8]", fault);
    }

    private string Refused(Func<string, string> edit)
    {
        using PeftFixture fixture = new("mixtral-experts");
        string json = File.ReadAllText(Path.Combine(fixture.Folder, "adapter_config.json"));
        Assert.NotEqual(json, edit(json));
        File.WriteAllText(Path.Combine(_folder, "adapter_config.json"), edit(json));
        File.Copy(Path.Combine(fixture.Folder, "adapter_model.safetensors"), Path.Combine(_folder, "adapter_model.safetensors"));
        return Assert.Throws<ModelFileException>(() => LoraAdapter.Load(_folder, "own", fixture.Model.Sites)).Message;
    }

    // delta_weight[e] = s·einsum("o r e, e r i -> e o i"): A has expert after expert, B interleaves them.
    private static void Check(Case made, SiteDelta delta, string wrapper, int rank, int e, int from, double scale)
    {
        LowRankDelta own = delta.LowRank!;
        Assert.Equal((rank, (float)scale), (own.Rank, own.Scale));
        float[] fusedA = made.Values[wrapper + ".A"], fusedB = made.Values[wrapper + ".B"], a = own.A.ToFloats(), b = own.B.ToFloats();
        int inputs = own.A.Shape.Columns;
        Assert.Equal(fusedA[(e * rank * inputs)..((e + 1) * rank * inputs)], a);
        for (int o = 0; o < own.B.Shape[0]; o++)
            for (int r = 0; r < rank; r++)
                Assert.Equal(fusedB[(from + o) * rank * made.Experts + r * made.Experts + e], b[o * rank + r]);
    }

    /// <summary>Random fused pairs: layer 0 has both parameters, a second layer gate_up_proj; the router's weight in layer 0, and two plain pairs.</summary>
    private sealed class Case
    {
        private readonly List<(string, PeftPart, Tensor)> _tensors = [];
        private readonly Random _random = new(7);
        private readonly int _second;

        public Case(SiteCatalog sites, int second, string expert, string gate, string down)
        {
            _second = second;
            while (sites.Find(string.Format(expert, 0, Experts) + gate) is not null)
                Experts++;
            LinearSite first = sites.Find(string.Format(expert, 0, 0) + gate)!.Linear!, last = sites.Find(string.Format(expert, 0, 0) + down)!.Linear!;
            Width = first.Outputs;
            Router = string.Format(expert, 0, 0).Replace("experts.0.", "gate");
            Add("model.layers.0.mlp.experts.base_layer", "0.base_layer", 2 * Experts, first.Inputs, 2 * Width);
            Add("model.layers.0.mlp.experts", "0", 3 * Experts, last.Inputs, last.Outputs);
            Add($"model.layers.{second}.mlp.experts", "1", 2 * Experts, first.Inputs, 2 * Width);
            Add("model.layers.0.mlp.gate", "router", 2, first.Inputs, Experts);
            foreach (string module in (string[])["model.layers.0.self_attn.q_proj", $"model.layers.{second}.self_attn.q_proj"])
                Add(module, module, 4, sites.Find(module)!.Linear!.Inputs, sites.Find(module)!.Linear!.Outputs);
        }

        public int Experts { get; }

        public int Width { get; }

        public string Router { get; }

        public Dictionary<string, float[]> Values { get; } = [];

        public PeftAdapter Adapter() => PeftAdapter.Create("own", PeftConfigReader.Parse("own", System.Text.Encoding.UTF8.GetBytes($$"""
            {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "use_rslora": true, "target_modules": ["layers.0.self_attn.q_proj", "layers.{{_second}}.self_attn.q_proj"],
             "target_parameters": ["layers.0.mlp.experts.down_proj", "layers.0.mlp.experts.gate_up_proj", "layers.{{_second}}.mlp.experts.gate_up_proj", "model.layers.0.mlp.gate.weight"],
             "rank_pattern": {"q_proj": 4, "down_proj": 3}, "alpha_pattern": {"experts.gate_up_proj": 6, "experts": 99} }
            """)), _tensors);

        private void Add(string module, string key, int rank, int inputs, int outputs)
        {
            foreach ((PeftPart part, int rows, int columns) in (ReadOnlySpan<(PeftPart, int, int)>)[(PeftPart.A, rank, inputs), (PeftPart.B, outputs, rank)])
            {
                float[] values = Values[$"{key}.{part}"] = [.. Enumerable.Range(0, rows * columns).Select(_ => _random.NextSingle() - 0.5f)];
                _tensors.Add((module, part, Tensor.FromFloats("", new Shape(rows, columns), values)));
            }
        }
    }
}
