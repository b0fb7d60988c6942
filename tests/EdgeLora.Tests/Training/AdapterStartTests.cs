using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Adapters;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>Fresh adapters against what PEFT saved before the first step: ../shared/fixtures/training, made by scripts/training_traces.py there, and ../shared/fixtures/peft.</summary>
public sealed class AdapterStartTests
{
    // Forms of LoRA that a recipe has no field for, and one whose alpha_pattern names nothing, which a recipe may not.
    private static readonly string[] s_others = ["patterns", "lora-bias", "tokens", "exclude", "alora", "replicated", "olora", "tie", "experts", "lntuning", "suffix"];

    public static TheoryData<string> PeftForms => new(SharedFolder.Folders("fixtures/peft").Where(IsLora).DefaultIfEmpty("llama-qv"));

    [Theory, MemberData(nameof(TraceFixture.Adapters), MemberType = typeof(TraceFixture))]
    public void A_fresh_adapter_has_the_library_s_keys_shapes_and_configuration(string name)
    {
        using TraceFixture fixture = new(name);
        using PeftAdapter expected = PeftAdapter.Open(Path.Combine(fixture.Folder, "init"));
        (SiteCatalog sites, IDisposable? owned) = Sites(fixture);
        PeftAdapter created = AdapterStart.Of(RecipeOf(expected.Config), sites, null, expected.Config.BaseModel, expected.Config.TaskType!);
        Assert.Equal(Shapes(expected), Shapes(created));
        Assert.Equal(expected.ConfigJson, created.ConfigJson);
        Assert.Equal(fixture.Json.GetProperty("trainable_parameters").GetInt64(), TrainedTensors.Of(created).Sum(t => t.Shape.Elements));
        using LoraAdapter fitted = LoraAdapter.Fit(created, sites, name);
        Assert.True(fitted.Deltas.Count > 0);
        owned?.Dispose();
    }

    [Theory, MemberData(nameof(PeftForms))]
    public void A_recipe_makes_the_tensors_of_every_form_that_it_can_ask_for(string name)
    {
        string folder = SharedFolder.Require("fixtures/peft/" + name);
        using PeftAdapter expected = PeftAdapter.Open(folder);
        using TensorFile weights = Safetensors.Open(Path.Combine(PeftAdapter.BaseFolder(folder), "model.safetensors"));
        SiteCatalog sites = CheckpointSites.Of(weights, name.StartsWith("llama-tied", StringComparison.Ordinal) || name.StartsWith("gpt2", StringComparison.Ordinal));
        using PeftAdapter created = AdapterStart.Of(RecipeOf(expected.Config), sites, task: expected.Config.TaskType!);
        // The library adds a frozen copy of a table that is a target.
        Assert.Equal(Shapes(expected).Where(s => !s.Name.Contains("base_layer.weight", StringComparison.Ordinal)), Shapes(created));
    }

    [Fact]
    public void A_starts_uniform_or_normal_and_B_at_zero()
    {
        using TraceFixture fixture = new("lora_all_cosine");
        foreach ((LoraStart start, double deviation) in new[] { (LoraStart.Kaiming, 1 / Math.Sqrt(3 * 64)), (LoraStart.Gaussian, 1.0 / 64) })
        {
            using PeftAdapter adapter = AdapterStart.Of(new() { LoraStart = start, LoraRank = 64 }, fixture.Model.Sites);
            Assert.Equal(start == LoraStart.Gaussian, adapter.ConfigJson.Contains("\"init_lora_weights\": \"gaussian\"", StringComparison.Ordinal));
            foreach (PeftModule module in adapter.Modules.Values)
            {
                Assert.All(module[PeftPart.B]!.ToFloats(), b => Assert.Equal(0, b));
                if (module[PeftPart.A] is not { } a || a.Shape[1] != 64)
                    continue;
                float[] values = a.ToFloats();
                Assert.InRange(Math.Sqrt(values.Average(x => (double)x * x)), deviation * 0.95, deviation * 1.05);
                Assert.InRange(values.Average(x => (double)x), -deviation / 10, deviation / 10);
                if (start == LoraStart.Kaiming)
                    Assert.All(values, x => Assert.InRange(x, -1f / 8, 1f / 8));
            }
        }
    }

    [Fact]
    public void The_seed_alone_decides_the_numbers()
    {
        using TraceFixture fixture = new("lora_all_cosine");
        string[] prints = [.. new[] { 1, 1, 2 }.Select(s => Fingerprint.Of(AdapterStart.Of(new() { Seed = s }, fixture.Model.Sites).File))];
        Assert.Equal(prints[0], prints[1]);
        Assert.NotEqual(prints[0], prints[2]);
    }

    [Fact]
    public void Magnitudes_are_the_library_s()
    {
        using TraceFixture fixture = new("dora");
        using PeftAdapter expected = PeftAdapter.Open(Path.Combine(fixture.Folder, "init")), created = AdapterStart.Of(RecipeOf(expected.Config), fixture.Model.Sites);
        Assert.All(expected.Modules.Values, m => Assert.True(GoldenError.Relative(created.Modules[m.Name][PeftPart.Magnitude]!.Floats, m[PeftPart.Magnitude]!.Floats) < 1e-6, m.Name));
    }

    [Fact]
    public void PiSSA_starts_from_the_library_s_factors_up_to_their_signs()
    {
        using TraceFixture fixture = new("pissa");
        using PeftAdapter expected = PeftAdapter.Open(Path.Combine(fixture.Folder, "init")), created = AdapterStart.Of(RecipeOf(expected.Config), fixture.Model.Sites);
        foreach (PeftModule module in expected.Modules.Values)
        {
            PeftModule own = created.Modules[module.Name];
            double product = GoldenError.Relative(Product(own), Product(module)), factor = GoldenError.Relative(Array.ConvertAll(own[PeftPart.A]!.ToFloats(), Math.Abs), Array.ConvertAll(module[PeftPart.A]!.ToFloats(), Math.Abs));
            // The library decomposes in float32: where singular values lie close, its vectors err by some 1e-5.
            Assert.True(product < 1e-4 && factor < 1e-4, FormattableString.Invariant($"{module.Name}: product {product:g3}, A {factor:g3}"));
        }
    }

    [Theory]
    [InlineData("llama", LoraStart.Kaiming, false), InlineData("llama", LoraStart.Pissa, false), InlineData("llama", LoraStart.Gaussian, true), InlineData("qwen2", LoraStart.Kaiming, true), InlineData("gpt2", LoraStart.Pissa, true)]
    public void A_fresh_adapter_changes_nothing_yet_not_on_a_parent_either(string name, LoraStart start, bool dora)
    {
        string folder = SharedFolder.Require("fixtures/training/bases/" + name);
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(folder), new ReferenceBackend());
        using ResidentAdapter parent = Stage(model, AdapterStart.Of(Recipe(dora), model.Sites), shake: true);
        AdapterPath under = PathResolver.Resolve("parent", model.Sites, model.Backend, [(parent, 1)]);
        TrainingRecipe recipe = Recipe(dora && start != LoraStart.Pissa) with { LoraStart = start, ModulesToSave = ["lm_head", LastNorm(model)], Bias = PeftBias.All };
        foreach (AdapterPath path in new[] { AdapterPath.Root, under })
        {
            using ResidentAdapter child = Stage(model, AdapterStart.Of(recipe, model.Sites, path.Table), shake: false);
            AdapterPath whole = PathResolver.Extend(path, "child", model.Sites, model.Backend, child);
            int[] tokens = [1, 5, 9, 200, 31, 7];
            Assert.True(GoldenError.Relative(ModelGolden.Logits(model, whole, tokens), ModelGolden.Logits(model, path, tokens)) < 3e-6, $"{path}");
        }
        Assert.True(GoldenError.Relative(ModelGolden.Logits(model, under, [1, 5, 9]), ModelGolden.Logits(model, AdapterPath.Root, [1, 5, 9])) > 1e-3);
    }

    [Fact]
    public void A_base_with_permuted_rows_gives_the_same_adapter()
    {
        string folder = SharedFolder.Require("fixtures/training/bases/llama-q8");
        using DecoderModel plain = DecoderModel.Load(BaseCheckpoint.OpenFolder(folder), new ReferenceBackend()), gguf = DecoderModel.Load(BaseCheckpoint.Open(Path.Combine(folder, "model.gguf")), new ReferenceBackend());
        Assert.Contains(gguf.Sites.Sites, s => s.RowOrder is not null);
        foreach (TrainingRecipe recipe in new TrainingRecipe[]
        {
            new() { LoraRank = 4, LoraStart = LoraStart.Pissa, UseDora = true },
            new() { LoraRank = 4, LoraTarget = new(["v_proj"]), ModulesToSave = ["q_proj", "norm"] },
        })
        {
            using PeftAdapter a = AdapterStart.Of(recipe, plain.Sites), b = AdapterStart.Of(recipe, gguf.Sites);
            Assert.Equal(Shapes(a), Shapes(b));
            Assert.All(a.Modules.Values, m => Assert.All(m.Parts, p => Assert.True(GoldenError.Relative(b.Modules[m.Name][p.Key]!.Floats, p.Value.Floats) < 1e-5, $"{m.Name} {p.Key}")));
        }
    }

    [Fact]
    public void Every_name_that_means_nothing_is_refused_together()
    {
        using TraceFixture fixture = new("lora_all_cosine");
        ModelFileException refusal = Assert.Throws<ModelFileException>(() => AdapterStart.Of(new()
        {
            LoraTarget = new(["q_porj", "v_proj", "input_layernorm"]),
            ModulesToSave = ["lm_haed"],
            RankPattern = [new(PythonPattern.DottedEnd("down_proj"), 2)],
            LayersToTransform = [0, 7],
        }, fixture.Model.Sites));
        Assert.Equal(
        [
            "lora_target: the base has no module q_porj; did you mean q_proj?",
            "lora_target: model.layers.0.input_layernorm is a norm; LoRA needs a linear layer or an embedding",
            "additional_target: the base has no module lm_haed; did you mean lm_head?",
            "rank_pattern: down_proj matches no targeted module",
            "layers_to_transform: layer 7, but the base has 2",
        ], refusal.Faults);
    }

    [Fact]
    public void A_given_adapter_is_taken_as_it_is_and_must_agree_with_what_the_recipe_sets()
    {
        using TraceFixture fixture = new("lora_patterns");
        string init = Path.Combine(fixture.Folder, "init");
        TrainingRecipe recipe = new() { AdapterInit = init, LoraDropout = 0.1, LoraRank = 4, LoraAlpha = 8, Given = new HashSet<string> { "lora_rank", "lora_alpha", "lora_dropout", "lora_target" } };
        using (PeftAdapter taken = AdapterStart.Of(recipe, fixture.Model.Sites))
            Assert.Equal((0.1, 2), (taken.Config.Dropout, taken.Config.RankOf("model.layers.0.mlp.down_proj")));
        ModelFileException refusal = Assert.Throws<ModelFileException>(() => AdapterStart.Of(recipe with { LoraRank = 8, LoraTarget = new(["q_proj"]) }, fixture.Model.Sites));
        Assert.Equal("lora_rank: adapter_init has 4, the recipe asks for 8", refusal.Faults[0]);
        Assert.StartsWith("lora_target: adapter_init has model.layers.0", refusal.Faults[1], StringComparison.Ordinal);
    }

    internal static TrainingRecipe RecipeOf(PeftConfig config) => new()
    {
        LoraRank = config.Rank,
        LoraAlpha = config.Alpha,
        LoraDropout = config.Dropout,
        LoraTarget = config.TargetsAllLinear ? LoraTargets.AllLinear : new(config.TargetModules, config.TargetPattern?.Source),
        RankPattern = config.RankPattern,
        AlphaPattern = config.AlphaPattern,
        UseRslora = config.UseRslora,
        UseDora = config.UseDora,
        LoraStart = config.Residual == PeftResidual.Pissa ? LoraStart.Pissa : config.Start == "gaussian" ? LoraStart.Gaussian : LoraStart.Kaiming,
        Bias = config.Bias,
        ModulesToSave = [.. config.ModulesToSave.Where(m => config.TaskType != "SEQ_CLS" || m is not ("classifier" or "score"))],
        LayersToTransform = config.LayersToTransform,
    };

    private static TrainingRecipe Recipe(bool dora) => new() { LoraRank = 3, UseDora = dora };

    private static string LastNorm(DecoderModel model) => model.Config.ModelType == "gpt2" ? "ln_f" : "model.norm";

    // With some weight in B, so that the parent does something.
    private static ResidentAdapter Stage(DecoderModel model, PeftAdapter adapter, bool shake)
    {
        if (shake)
        {
            Random random = new(3);
            adapter = PeftAdapter.Create("parent", adapter.Config, adapter.Modules.Values.SelectMany(m => m.Parts, (m, p) => (m.Name, p.Key,
                p.Key == PeftPart.B ? Tensor.FromFloats("", p.Value.Shape, [.. Enumerable.Range(0, (int)p.Value.Shape.Elements).Select(_ => (float)(random.NextDouble() - 0.5) / 5)]) : p.Value)));
        }
        return ResidentAdapter.Stage(LoraAdapter.Fit(adapter, model.Sites, "adapter"), model.Backend);
    }

    private static (SiteCatalog, IDisposable?) Sites(TraceFixture fixture)
    {
        if (fixture.IsDecoder)
            return (fixture.Model.Sites, null);
        TensorFile weights = Safetensors.Open(Path.Combine(fixture.Recipe.ModelPath, "model.safetensors"));
        return (CheckpointSites.Of(weights, tied: false), weights);
    }

    internal static IEnumerable<(string Name, Shape Shape)> Shapes(PeftAdapter adapter) => adapter.Tensors.Values.Select(t => (t.Name, t.Shape)).OrderBy(t => t.Name, StringComparer.Ordinal);

    private static float[] Product(PeftModule module)
    {
        float[] a = module[PeftPart.A]!.ToFloats(), b = module[PeftPart.B]!.ToFloats();
        int rank = (int)module[PeftPart.A]!.Shape[0], inputs = a.Length / rank, outputs = b.Length / rank;
        float[] product = new float[outputs * inputs];
        for (int o = 0; o < outputs; o++)
            for (int i = 0; i < inputs; i++)
                for (int r = 0; r < rank; r++)
                    product[o * inputs + i] += b[o * rank + r] * a[r * inputs + i];
        return product;
    }

    private static bool IsLora(string name)
    {
        string folder = SharedFolder.Require("fixtures/peft/" + name);
        if (!PeftAdapter.IsAdapter(folder) || s_others.Any(o => name.Contains(o, StringComparison.Ordinal)))
            return false;
        try
        {
            using PeftAdapter adapter = PeftAdapter.Open(folder);
            return adapter.Config.PeftType == "LORA";
        }
        catch (ModelFileException)
        {
            // Methods that are no LoRA.
            return false;
        }
    }
}
