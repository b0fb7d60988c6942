using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Models;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>Bases with random weights: what is in them, and that they run and learn.</summary>
public sealed class RandomBaseTests : IDisposable
{
    // What old files still hold and nobody reads.
    private static readonly string[] s_buffers = [".attn.bias", ".attention.bias", ".masked_bias", ".inv_freq"];

    private readonly FreshBase _base = new();

    public static TheoryData<string> ModelTypes() => new(FreshBase.ModelTypes);

    public static TheoryData<string> Checkpoints() => new(Golden.ModelGoldenTests.Folders());

    public void Dispose() => _base.Dispose();

    [Theory, MemberData(nameof(ModelTypes))]
    public void A_base_of_every_architecture_loads_and_gives_near_equal_chances(string modelType)
    {
        string folder = _base.Make("base", FreshBase.Config(modelType));
        using CpuBackend backend = new(1);
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(folder), backend);
        Assert.Equal(0, model.Config.BosId);
        Assert.Equal([0], model.Config.EndIds);
        float[] logits = Logits(model);
        double total = logits.Sum(x => Math.Exp(x));
        Assert.All(logits, x => Assert.InRange(Math.Exp(x) / total * logits.Length, 0.5, 2));
        Assert.True(logits.Max() > logits.Min());
    }

    // The names and shapes that the reference library wrote.
    [Theory, MemberData(nameof(Checkpoints))]
    public void The_plan_of_a_config_is_its_checkpoint(string name)
    {
        using BaseCheckpoint checkpoint = BaseCheckpoint.OpenFolder(SharedFolder.Require("fixtures/models/" + name));
        WeightPlan plan = WeightPlan.Of(checkpoint.Config);
        // The hub's GPT-2 files lack the prefix of the whole model's names.
        string prefix = checkpoint.Weights.Tensors.ContainsKey("wte.weight") ? "transformer." : "";
        Assert.Equal(
            checkpoint.Weights.Tensors.Values.Where(t => !s_buffers.Any(t.Name.EndsWith)).Select(t => $"{prefix}{t.Name} {t.Shape}").Order(StringComparer.Ordinal),
            plan.Weights.Select(w => $"{w.Name} {w.Shape}").Order(StringComparer.Ordinal));
    }

    [Theory, MemberData(nameof(ModelTypes))]
    public void Matrices_are_normal_gains_one_and_biases_zero(string modelType)
    {
        string folder = _base.Make("base", FreshBase.Config(modelType, """, "initializer_range": 0.05, "tie_word_embeddings": false, "attention_bias": true, "mlp_bias": true"""));
        using TensorFile file = Safetensors.Open(folder);
        WeightPlan plan = WeightPlan.Of(HfConfig.Read(folder));
        Assert.Equal(plan.Weights.Select(w => w.Name).Order(), file.Tensors.Keys.Order());
        Assert.Contains(plan.Weights, w => w.Name is "lm_head.weight" or "embed_out.weight");
        foreach (PlannedWeight weight in plan.Weights)
        {
            float[] x = file.Tensors[weight.Name].ToFloats();
            if (weight.Role is WeightRole.Gain or WeightRole.Bias)
            {
                Assert.All(x, v => Assert.Equal(weight.Role == WeightRole.Gain ? 1f - weight.Offset : 0f, v));
                continue;
            }
            // GPT-2's two projections of each of the 2 layers: 0.05/√4.
            double expected = modelType == "gpt2" && weight.Name.EndsWith("c_proj.weight", StringComparison.Ordinal) ? 0.025 : 0.05;
            double mean = x.Average(v => (double)v), deviation = Math.Sqrt(x.Average(v => (v - mean) * (v - mean))), fourth = x.Average(v => Math.Pow(v / expected, 4));
            // Five deviations of each estimate.
            Assert.InRange(mean, -5 * expected / Math.Sqrt(x.Length), 5 * expected / Math.Sqrt(x.Length));
            Assert.InRange(deviation / expected, 1 - 5 / Math.Sqrt(2.0 * x.Length), 1 + 5 / Math.Sqrt(2.0 * x.Length));
            Assert.InRange(fourth, 3 - 5 * Math.Sqrt(96.0 / x.Length), 3 + 5 * Math.Sqrt(96.0 / x.Length));
        }
    }

    [Fact]
    public void A_seed_gives_the_same_files_and_another_one_gives_others()
    {
        byte[] Bytes(string folder) => [.. new[] { "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json" }.SelectMany(n => File.ReadAllBytes(Path.Combine(folder, n)))];
        string config = FreshBase.Config("llama");
        byte[] first = Bytes(_base.Make("a", config, seed: 5)), again = Bytes(_base.Make("b", config, seed: 5)), other = Bytes(_base.Make("c", config, seed: 6));
        Assert.Equal(first, again);
        Assert.NotEqual(first, other);
        using TensorFile file = Safetensors.Open(_base.Path("a"));
        float[][] starts = [.. file.Tensors.Values.Where(t => t.Shape.Rank == 2).Select(t => t.ToFloats()[..8])];
        Assert.Equal(starts.Length, starts.Select(s => string.Join(' ', s)).Distinct().Count());
    }

    [Fact]
    public void BF16_weights_are_the_same_numbers_rounded()
    {
        using TensorFile wide = Safetensors.Open(_base.Make("wide", FreshBase.Config("llama"))), narrow = Safetensors.Open(_base.Make("narrow", FreshBase.Config("llama"), type: DType.BF16));
        foreach (Tensor tensor in wide.Tensors.Values)
        {
            Assert.Equal(DType.BF16, narrow.Tensors[tensor.Name].Type);
            Assert.Equal(QuantBlocks.ToTensor("", DType.BF16, tensor.Shape, tensor.ToFloats()).Bytes.ToArray(), narrow.Tensors[tensor.Name].Bytes.ToArray());
        }
        Assert.Equal("bfloat16", HfConfig.Read(_base.Path("narrow")).GetString("torch_dtype"));
    }

    [Fact]
    public void The_config_gets_what_the_tokenizer_knows_and_keeps_the_rest()
    {
        HfConfig small = HfConfig.Read(_base.Make("small", FreshBase.Config("llama", """, "dtype": "float16", "rope_theta": 500.0, "architectures": ["LlamaForCausalLM"]""")));
        Assert.Equal((Tokenizer.Load(_base.Path("small")).VocabularySize, 0, 0), (small.GetInt("vocab_size", 0, 9999), small.GetInt("bos_token_id", 0, 9), small.GetInt("eos_token_id", 0, 9)));
        Assert.Equal(("float32", 500.0, "LlamaForCausalLM"), (small.GetString("dtype"), small.GetDouble("rope_theta", 0, 9999), small.GetStrings("architectures")[0]));
        Assert.False(small.Has("torch_dtype"));
        // Rows beyond the tokenizer's tokens are allowed: sizes that divide well.
        HfConfig padded = HfConfig.Read(_base.Make("padded", FreshBase.Config("llama", """, "vocab_size": 320, "eos_token_id": [2, 0]""")));
        Assert.Equal(320, padded.GetInt("vocab_size", 0, 9999));
        using TensorFile file = Safetensors.Open(_base.Path("padded"));
        Assert.Equal(new Shape(320, 32), file.Tensors["model.embed_tokens.weight"].Shape);
    }

    [Theory]
    [InlineData("""{"model_type": "mamba", "hidden_size": 32}""", "model_type", "gpt2")]
    [InlineData("""{"model_type": "bert", "hidden_size": 32}""", "model_type", "is an encoder")]
    [InlineData("""{"model_type": "llama", "hidden_size": 30, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}""", "num_attention_heads", "30")]
    [InlineData("""{"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}""", "num_hidden_layers", "")]
    [InlineData("""{"model_type": "gpt2", "n_embd": 32, "n_head": 4, "n_layer": 2, "activation_function": "relu"}""", "activation_function", "gelu_new")]
    [InlineData("""{"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 0}""", "vocab_size", "0")]
    public void A_bad_config_is_refused_by_field_before_anything_is_made(string config, string field, string more)
    {
        string message = Assert.Throws<ModelFileException>(() => BaseConfig.Read(_base.Write("config.json", config))).Message;
        Assert.Contains("config.json", message);
        Assert.Contains(field, message);
        Assert.Contains(more, message);
    }

    [Fact]
    public void Contradictions_between_config_and_tokenizer_are_all_named()
    {
        string message = Assert.Throws<ModelFileException>(() => _base.Make("base", FreshBase.Config("llama", """, "vocab_size": 100, "bos_token_id": 7, "eos_token_id": [3, 4]"""))).Message;
        Assert.Contains("vocab_size: expected at least", message);
        Assert.Contains("bos_token_id: expected 0, the tokenizer's bos_token, found 7", message);
        Assert.Contains("eos_token_id: expected 0, the tokenizer's eos_token, found 3, 4", message);
        Assert.Contains("initializer_range", Assert.Throws<ModelFileException>(() => _base.Make("other", FreshBase.Config("llama", """, "initializer_range": -1"""))).Message);
        Assert.Throws<ArgumentException>(() => _base.Make("quantised", FreshBase.Config("llama"), type: DType.Q8_0));
        Assert.False(File.Exists(_base.Path("base/model.safetensors")));
    }

    [Theory, MemberData(nameof(ModelTypes))]
    public void A_fresh_base_learns_from_its_texts(string modelType)
    {
        // Cohere's factor on logits makes the first steps of a fresh base small.
        string folder = _base.Make("base", FreshBase.Config(modelType, modelType == "cohere" ? """, "logit_scale": 1""" : ""));
        using CpuBackend backend = new(1);
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(folder), backend);
        TrainingRecipe recipe = new()
        {
            Method = TrainingMethod.Full,
            Dataset = [_base.Write("texts.txt", string.Join("\n\n", FreshBase.Sentences))],
            DocumentSeparator = DataOptions.BlankLine,
            DocumentStart = true,
            MaxSteps = 40,
            LearningRate = 0.01,
        };
        TrainingData data = TrainingData.Load(recipe.ToDataOptions(model.Config.Vocabulary), Tokenizer.Load(folder));
        Assert.All(data.Train, row => Assert.Equal((0, 0), (row.InputIds[0], row.InputIds[^1])));
        using TrainingEngine engine = new(model);
        using TrainingJob job = new(engine, model, new("full", recipe, AdapterPath.Root, "", () => PartialStart.Create(recipe, model.Sites), data.Train, []));
        job.Start();
        List<double> losses = [];
        while (!job.Done)
            if (job.Complete(engine.Train([job.NextRows()])[0]) is { } step)
                losses.Add(step.Loss);
        Assert.Equal(40, losses.Count);
        Assert.Equal(Math.Log(model.Config.Vocabulary), losses[0], 0.1);
        Assert.True(losses[^1] < 0.5 * losses[0], $"{losses[0]:F3} -> {losses[^1]:F3}");
    }

    private static float[] Logits(DecoderModel model)
    {
        using KvBuffer cache = model.CreateCache(4);
        BatchLayout batch = new();
        batch.BeginSequence(cache, 0);
        foreach (int token in (int[])[0, 70, 80, 90])
            batch.Add(token, SiteTable.Base);
        float[] logits = new float[model.Config.Vocabulary];
        model.Forward(batch, [3], logits);
        return logits;
    }
}
