using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Models;

/// <summary>Decoders with a score head, made of ../shared/fixtures/models: the score is a few rows of the language model's own head, so its logits say what must come out.</summary>
public sealed class DecoderClassifierTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-score-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory]
    [InlineData("llama-bias-untied", "lm_head.weight", "LlamaForCausalLM", "LlamaForSequenceClassification"), InlineData("gpt2", "transformer.wte.weight", "GPT2LMHeadModel", "GPT2ForSequenceClassification")]
    [InlineData("gpt_neox", "embed_out.weight", "GPTNeoXForCausalLM", "GPTNeoXForSequenceClassification"), InlineData("qwen3", "model.embed_tokens.weight", "Qwen3ForCausalLM", "Qwen3ForSequenceClassification")]
    public void The_score_is_read_at_the_last_token_that_is_no_padding(string name, string head, string from, string to)
    {
        string source = SharedFolder.Require("fixtures/models/" + name), scored = Score(source, head, from, to, rows: 3, pad: 7);
        using ReferenceBackend backend = new();
        using DecoderModel language = DecoderModel.Load(BaseCheckpoint.OpenFolder(source), backend);
        using DecoderClassifier model = DecoderClassifier.Load(BaseCheckpoint.OpenFolder(scored), backend);
        int[] ids = [3, 14, 15, 92, 65];
        float[] expected = ModelGolden.Logits(language, AdapterPath.Root, ids)[(4 * language.Config.Vocabulary)..(4 * language.Config.Vocabulary + 3)];
        Assert.Equal(3, model.Classes);
        Assert.InRange(GoldenError.Relative(model.Classify(EncoderInput.Tokens(ids), AdapterPath.Root), expected), 0, 2e-6);
        // Padding behind, said by the id or by the mask, and a batch mate.
        float[][] rows = model.Classify(new EncoderRow(EncoderInput.Tokens([.. ids, 7, 7]), AdapterPath.Root), new EncoderRow(EncoderInput.Tokens([5, 6]), AdapterPath.Root), new EncoderRow(EncoderInput.Tokens([.. ids, 9], [1, 1, 1, 1, 1, 0]), AdapterPath.Root));
        Assert.InRange(GoldenError.Relative(rows[0], expected), 0, 2e-6);
        Assert.InRange(GoldenError.Relative(rows[2], expected), 0, 2e-6);
        Assert.Contains("behind the tokens", Assert.Throws<ArgumentException>(() => model.Classify(EncoderInput.Tokens([7, 3], [0, 1]), AdapterPath.Root)).Message);
        ModelFileException e = Assert.Throws<ModelFileException>(() => DecoderModel.Load(BaseCheckpoint.OpenFolder(scored), backend));
        Assert.Contains("architectures", e.Message);
    }

    [Fact]
    public void An_adapter_brings_a_score_to_a_language_model_and_trains_it()
    {
        string source = SharedFolder.Require("fixtures/models/llama");
        using Cpu.CpuBackend backend = new();
        using DecoderClassifier model = DecoderClassifier.Load(BaseCheckpoint.OpenFolder(source), backend, classes: 4);
        Assert.Equal(["score"], model.MissingHead);
        EncoderInput input = EncoderInput.Tokens([3, 14, 15]);
        Assert.Contains("score.weight is missing", Assert.Throws<InvalidOperationException>(() => model.Classify(input, AdapterPath.Root)).Message);
        Random random = new(3);
        Tensor Values(long rows, long columns) => Tensor.FromFloats("", new Shape(rows, columns), [.. Enumerable.Range(0, (int)(rows * columns)).Select(_ => (float)random.NextDouble() - 0.5f)]);
        ModelSite q = model.Sites.Find("model.layers.0.self_attn.q_proj")!;
        PeftConfig config = PeftConfigReader.Parse("own", System.Text.Encoding.UTF8.GetBytes("""{"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "lora_alpha": 2, "target_modules": ["layers.0.self_attn.q_proj"], "modules_to_save": ["classifier", "score"]}"""));
        PeftAdapter file = PeftAdapter.Create("own", config, [(q.Name, PeftPart.A, Values(2, q.Linear!.Inputs)), (q.Name, PeftPart.B, Values(q.Linear.Outputs, 2)), ("score", PeftPart.Weight, Values(4, model.Config.HiddenSize))]);
        using ResidentAdapter adapter = ResidentAdapter.StageTrainable(LoraAdapter.Fit(file, model.Sites, "own"), backend, null);
        AdapterPath path = PathResolver.Extend(AdapterPath.Root, "own", model.Sites, backend, adapter);
        using TrainingEngine engine = new(model);
        using AdapterTrainer trainer = new(engine, adapter, path, new(OptimizerKind.AdamW, 0.9, 0.999, 1e-8, 0), _ => (0.01, 0));
        TrainingExample[] examples = [new([3, 14, 15], [2, 2, 2], [3]), new([92, 65], [0, 0], [2])];
        double first = engine.Train([new(path.Table, examples, 0.5)])[0].LossSum;
        float[] logits = model.Classify(input, path);
        double own = Math.Log(logits.Sum(z => Math.Exp(z))) - logits[2], other = Math.Log(model.Classify(EncoderInput.Tokens([92, 65]), path).Sum(z => Math.Exp(z))) - model.Classify(EncoderInput.Tokens([92, 65]), path)[0];
        Assert.Equal(own + other, first, 1e-4);
        for (int step = 0; step < 5; step++)
        {
            trainer.Step(1);
            engine.Train([new(path.Table, examples, 0.5)]);
        }
        Assert.True(engine.Evaluate([new(path.Table, examples, 0.5)])[0].LossSum < first * 0.8);
    }

    // The first rows of the head as a score.
    private string Score(string source, string head, string from, string to, int rows, int pad)
    {
        string config = File.ReadAllText(Path.Combine(source, "config.json"));
        Assert.Contains(from, config);
        config = System.Text.RegularExpressions.Regex.Replace(config.Replace(from, to), "\"pad_token_id\": [^,]*,", "").Replace("\"model_type\"", $"\"pad_token_id\": {pad}, \"id2label\": {{\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"}}, \"model_type\"");
        File.WriteAllText(Path.Combine(_folder, "config.json"), config);
        using TensorFile file = Safetensors.Open(Path.Combine(source, "model.safetensors"));
        Tensor whole = file.Tensors[head];
        Safetensors.Write(Path.Combine(_folder, "model.safetensors"), [.. file.Tensors.Values.Where(t => t.Name is not ("lm_head.weight" or "embed_out.weight")), Tensor.FromFloats("score.weight", new Shape(rows, whole.Shape.Columns), whole.ToFloats()[..(rows * whole.Shape.Columns)])]);
        return _folder;
    }
}
