using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>IA3, OFT and BOFT in trees, merged, and out of shape. Logits are Golden/AdapterGoldenTests' business; adapters are ../shared/fixtures/peft (scripts/peft_adapters.py).</summary>
public sealed class MapTests : IDisposable
{
    private const string Up = "model.layers.0.mlp.up_proj", Down = "model.layers.0.mlp.down_proj", Query = "model.layers.0.self_attn.q_proj";

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-maps-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory, InlineData(true), InlineData(false)]
    public void Scaled_inputs_scale_what_stands_beneath_and_nothing_that_comes_after(bool pairFirst)
    {
        using PeftFixture fixture = new("qwen2-ia3");
        ResidentAdapter scales = fixture.Stage();
        using ResidentAdapter pair = Pair(fixture, Up);
        ModelSite site = fixture.Model.Sites.Find(Up)!;
        float[] base_ = site.Linear!.Weight.ToFloats(), delta = Minus(Effective(fixture, site, (pair, 1f)), base_), l = scales.Adapter.File.Modules[Up][PeftPart.Scales]!.ToFloats();
        float[] found = pairFirst ? Effective(fixture, site, (pair, 1f), (scales, 1f)) : Effective(fixture, site, (scales, 1f), (pair, 1f));
        Near([.. base_.Select((w, i) => l[i % l.Length] * (pairFirst ? w + delta[i] : w) + (pairFirst ? 0 : delta[i]))], found);
        // What the graph computes is what merging says.
        int[] ids = [3, 9, 27, 81];
        AdapterPath path = pairFirst ? fixture.Resolve((pair, 1), (scales, 1)) : fixture.Resolve((scales, 1), (pair, 1));
        SiteAdapter own = path.Table[site.Index]!;
        SiteAdapter?[] merged = [.. Enumerable.Range(0, fixture.Model.Sites.Count).Select(i => path.Table[i])];
        using DeviceTensor whole = fixture.Model.Backend.Upload(AdapterMerge.EffectiveWeight(site, own));
        merged[site.Index] = new([], whole, own.Bias);
        Near(ModelGolden.Logits(fixture.Model, new("merged", new SiteTable(merged)), ids), ModelGolden.Logits(fixture.Model, path, ids));
    }

    [Fact]
    public void Outputs_are_scaled_with_their_bias_and_with_the_parent_s_pairs()
    {
        using PeftFixture fixture = new("qwen2-ia3");
        ResidentAdapter scales = fixture.Stage();
        using ResidentAdapter pair = Pair(fixture, Query);
        ModelSite site = fixture.Model.Sites.Find(Query)!;
        int inputs = site.Linear!.Inputs;
        float[] l = scales.Adapter.File.Modules[Query][PeftPart.Scales]!.ToFloats(), under = Effective(fixture, site, (pair, 1f));
        Near([.. under.Select((w, i) => l[i / inputs] * w)], Effective(fixture, site, (pair, 1f), (scales, 1f)));
        SiteAdapter own = fixture.Resolve((pair, 1), (scales, 1)).Table[site.Index]!;
        Near([.. site.Bias!.ToFloats().Select((b, i) => l[i] * b)], AdapterMerge.EffectiveBias(site, own)!.ToFloats());
    }

    [Theory, InlineData("qwen2-ia3", Up), InlineData("qwen2-ia3", Query), InlineData("llama-oft", Query)]
    public void Half_a_strength_is_half_the_way(string name, string module)
    {
        using PeftFixture fixture = new(name);
        ResidentAdapter adapter = fixture.Stage();
        ModelSite site = fixture.Model.Sites.Find(module)!;
        float[] whole = Effective(fixture, site, (adapter, 1f)), before = site.Linear!.Weight.ToFloats();
        Near([.. before.Select((w, i) => (w + whole[i]) / 2)], Effective(fixture, site, (adapter, 0.5f)));
        Assert.Null(fixture.Resolve((adapter, 0)).Table[site.Index]);
    }

    [Fact]
    public void Scales_of_down_proj_cost_no_weight_and_nothing_may_be_added_under_them()
    {
        using PeftFixture fixture = new("llama-ia3");
        ResidentAdapter scales = fixture.Stage();
        Assert.InRange(scales.ByteLength, 1, 16_384);
        using ResidentAdapter up = Pair(fixture, Up), down = Pair(fixture, Down);
        fixture.Resolve((up, 1), (scales, 1));
        fixture.Resolve((scales, 1), (down, 1));
        Assert.Contains($"{Up}: a parent (IA3) scales its outputs", Assert.Throws<ModelFileException>(() => fixture.Resolve((scales, 1), (up, 1))).Message);
    }

    [Fact]
    public void Rotated_weights_are_counted()
    {
        using PeftFixture fixture = new("llama-oft");
        ResidentAdapter adapter = fixture.Stage();
        long dense = adapter.Deltas.Sum(d => sizeof(float) * d.Host.Site.Linear!.Weight.Shape.Elements);
        Assert.Equal((dense, dense), (adapter.ByteLength, adapter.Adapter.ByteLength));
        Assert.Contains("OFT is run here, not trained", Assert.Throws<ModelFileException>(() => ResidentAdapter.StageTrainable(fixture.Load(), fixture.Model.Backend, null)).Message);
    }

    [Theory, InlineData("llama-ia3"), InlineData("llama-oft")]
    public void A_merged_model_has_the_adapter_s_logits_and_a_LoRA_is_extracted_from_it(string name)
    {
        using PeftFixture fixture = new(name);
        string merged = Path.Combine(_folder, "merged"), lora = Path.Combine(_folder, "lora");
        Command.Run("merge", fixture.BaseFolder, "--adapter", fixture.Folder, "-o", merged);
        using (PeftFixture whole = new(name) { BaseFolder = merged })
            whole.CheckLogits(AdapterPath.Root);
        Command.Run("adapter", "extract", fixture.BaseFolder, merged, "--rank", "64", "-o", lora);
        using ResidentAdapter extracted = ResidentAdapter.Load(lora, "lora", fixture.Model.Sites, fixture.Model.Backend);
        fixture.CheckLogits(fixture.Resolve((extracted, 1)));
    }

    [Fact]
    public void Another_format_refuses_them_and_says_what_to_do()
    {
        string source = SharedFolder.Require("fixtures/peft/llama-oft");
        Assert.Contains("peft_type OFT (merge it, or extract a LoRA", Command.Fail("convert", source, Path.Combine(_folder, "out"), "--to", "mlx"));
        Command.Run("convert", source, Path.Combine(_folder, "a.elora"));
        Command.Run("convert", Path.Combine(_folder, "a.elora"), Path.Combine(_folder, "back"));
        foreach (string file in (string[])["adapter_config.json", "adapter_model.safetensors"])
            Assert.Equal(File.ReadAllBytes(Path.Combine(source, file)), File.ReadAllBytes(Path.Combine(_folder, "back", file)));
    }

    [Theory]
    [InlineData("llama-oft", "\"oft_block_size\": 8,", "", "oft_block_size: is missing: OFT of PEFT before 0.14 is not supported")]
    [InlineData("llama-oft", "\"peft_version\": \"0.21.2\"", "\"peft_version\": \"0.17.1\"", "peft_version: expected 0.18 or later")]
    [InlineData("llama-oft", "\"block_share\": false", "\"block_share\": true", "oft_R: expected [1, n(n-1)/2]")]
    [InlineData("llama-oft", "\"bias\": \"none\"", "\"bias\": \"oft_only\"", "bias: expected none")]
    [InlineData("llama-boft", "\"bias\": \"none\"", "\"bias\": \"all\"", "bias: is not supported with BOFT")]
    [InlineData("llama-ia3", "\"k_proj\"", "\"q_proj\"", "ia3_l: is missing, but target_modules names it")]
    [InlineData("llama-ia3", "\"init_ia3_weights\": true", "\"another\": 2", "another: 2 is unknown here")]
    public void What_does_not_agree_or_is_not_known_is_named(string name, string old, string changed, string fault)
    {
        using PeftFixture fixture = new(name);
        string json = File.ReadAllText(Path.Combine(fixture.Folder, "adapter_config.json"));
        Assert.Contains(old, json);
        File.WriteAllText(Path.Combine(_folder, "adapter_config.json"), json.Replace(old, changed));
        File.Copy(Path.Combine(fixture.Folder, "adapter_model.safetensors"), Path.Combine(_folder, "adapter_model.safetensors"));
        Assert.Contains(fault, Assert.Throws<ModelFileException>(() => LoraAdapter.Load(_folder, "own", fixture.Model.Sites)).Message);
    }

    [Theory, InlineData(null), InlineData(4), InlineData(9)]
    public void A_rotation_is_Cayley_s_or_the_library_s_series(int? terms)
    {
        // One block of two: S = [[0, a], [-a, 0]], S² = -a²·I.
        const float A = 0.25f;
        float[] found = InputMap.Rotation([A], 2, 1, new(terms, null, false))!.Apply([1, 0, 0, 1], 2, inputMajor: false, 1);
        (double same, double other) = (1, 0);
        if (terms is null)
            (same, other) = ((1 - A * A) / (1 + A * A), -2 * A / (1 + A * A));
        else
        {
            // I + 2S + 2S² + … + 2Sⁿ⁻² + Sⁿ⁻¹: the powers go 1, S, -a², -a²S, a⁴, …
            for (int power = 1; power < terms; power++)
            {
                double factor = (power < terms - 1 ? 2 : 1) * Math.Pow(A, power) * (power / 2 % 2 == 0 ? 1 : -1);
                if (power % 2 == 0)
                    same += factor;
                else
                    other += factor;
            }
        }
        // R = [[same, other], [-other, same]]; rows of the identity become its columns: w'[k] = Σ R[k, c]·w[c].
        Near([(float)same, (float)-other, (float)other, (float)same], found);
    }

    private static ResidentAdapter Pair(PeftFixture fixture, string module)
    {
        LinearSite linear = fixture.Model.Sites.Find(module)!.Linear!;
        Random random = new(3);
        Tensor Made(int rows, int columns) => Tensor.FromFloats("", new Shape(rows, columns), [.. Enumerable.Range(0, rows * columns).Select(_ => (random.NextSingle() - 0.5f) * 0.2f)]);
        PeftConfig config = PairConfig.Of("pair", new Dictionary<string, (int, double)> { [module] = (2, 3) });
        return ResidentAdapter.Stage(LoraAdapter.Fit(PeftAdapter.Create("pair", config, [(module, PeftPart.A, Made(2, linear.Inputs)), (module, PeftPart.B, Made(linear.Outputs, 2))]), fixture.Model.Sites, "pair"), fixture.Model.Backend);
    }

    private static float[] Effective(PeftFixture fixture, ModelSite site, params (ResidentAdapter, float)[] steps) => AdapterMerge.EffectiveWeight(site, fixture.Resolve(steps).Table[site.Index]!).ToFloats();

    private static float[] Minus(float[] a, float[] b) => [.. a.Zip(b, (x, y) => x - y)];

    private static void Near(float[] expected, float[] found, double tolerance = 1e-6) => Assert.InRange(GoldenError.Relative(found, expected), 0, tolerance);
}
