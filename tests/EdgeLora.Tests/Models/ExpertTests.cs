using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Models;

/// <summary>Mixtures of experts beyond the golden numbers: bits, training, refusals. Models are ../shared/fixtures/models.</summary>
public sealed class ExpertTests
{
    [Theory]
    [InlineData("mixtral"), InlineData("qwen2_moe"), InlineData("qwen3_moe")]
    public void A_row_s_bits_do_not_depend_on_its_batch_mates(string name)
    {
        using Cpu.CpuBackend backend = new();
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(SharedFolder.Require("fixtures/models/" + name)), backend);
        int[][] rows = [[3, 14, 15, 92, 65], [35, 89, 79, 3, 23, 84, 62], [64, 33]];
        float[][] alone = [.. rows.Select(ids => ModelGolden.Logits(model, AdapterPath.Root, ids))];
        BatchLayout batch = new();
        List<KvBuffer> caches = [];
        foreach (int[] ids in rows)
        {
            caches.Add(model.CreateCache(ids.Length));
            batch.BeginSequence(caches[^1], 0);
            foreach (int id in ids)
                batch.Add(id, SiteTable.Base);
        }
        float[] together = new float[batch.Rows * model.Config.Vocabulary];
        model.Forward(batch, [.. Enumerable.Range(0, batch.Rows)], together);
        caches.ForEach(c => c.Dispose());
        Assert.Equal(alone.SelectMany(l => l), together);
    }

    [Theory]
    [InlineData("mixtral", false, "w1", "w2", "w3", "gate"), InlineData("qwen2_moe", false, "gate_proj", "down_proj", "gate", "shared_expert_gate"), InlineData("qwen3_moe", false, "up_proj", "gate", "q_proj"), InlineData("mixtral", true, "w1", "w2", "gate")]
    public void LoRA_on_experts_and_router_has_the_loss_s_slope(string name, bool dense, params string[] targets)
    {
        string folder = SharedFolder.Require("fixtures/models/" + name);
        using Cpu.CpuBackend cpu = new();
        ITrainingBackend backend = dense ? VulkanDriver.Backend() : cpu;
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(folder), backend);
        using ResidentAdapter adapter = ResidentAdapter.StageTrainable(LoraAdapter.Fit(RandomLora(model.Sites, targets), model.Sites, "own"), backend, null);
        AdapterPath path = PathResolver.Extend(AdapterPath.Root, "own", model.Sites, backend, adapter);
        using TrainingEngine engine = new(model);
        using AdapterTrainer trainer = new(engine, adapter, path, new(OptimizerKind.AdamW, 0.9, 0.999, 1e-8, 0), _ => (0.003, 0));
        int[][] rows = [[3, 14, 15, 92, 65, 35, 89], [79, 3, 23, 84, 62, 64, 33, 83, 27, 95]];
        TrainingExample[] examples = [.. rows.Select(ids => new TrainingExample(ids, ids, [ids.Length]))];
        double Loss() => engine.Evaluate([new(path.Table, examples, 1)])[0].LossSum;
        double before = engine.Train([new(path.Table, examples, 1)])[0].LossSum;
        Assert.Equal(before, Loss(), 1e-4);
        // A step along the gradient of one kind of site changes the loss by its length.
        foreach (string target in targets)
        {
            TrainableTensor[] tensors = [.. trainer.Tensors.Where(t => t.Key.Contains($".{target}.", StringComparison.Ordinal))];
            float[][] values = [.. tensors.Select(t => t.Value.ToFloats())], gradients = [.. tensors.Select(t => t.Gradient.ToFloats())];
            double length = Math.Sqrt(gradients.Sum(g => g.Sum(x => (double)x * x)));
            Assert.True(length > 1e-3, $"{target}: gradient {length}");
            double Moved(double by)
            {
                for (int i = 0; i < tensors.Length; i++)
                    backend.Write([.. values[i].Select((v, j) => (float)(v + by / length * gradients[i][j]))], tensors[i].Value, 0);
                return Loss();
            }
            // Small: where a row changes its experts the loss jumps.
            const double Step = 0.001;
            double slope = (8 * (Moved(Step) - Moved(-Step)) - (Moved(2 * Step) - Moved(-2 * Step))) / (12 * Step);
            Moved(0);
            Assert.True(Math.Abs(slope - length) < 0.02 * length + 2e-4, $"{target}: gradient {length}, slope {slope}");
        }
        for (int step = 0; step < 4; step++)
        {
            trainer.Step(1);
            engine.Train([new(path.Table, examples, 1)]);
        }
        Assert.True(Loss() < before, $"{before} -> {Loss()}");
        if (dense)
            backend.Dispose();
    }

    [Fact]
    public void Checkpointing_changes_no_bit_of_an_expert_s_gradient()
    {
        using Cpu.CpuBackend backend = new();
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.OpenFolder(SharedFolder.Require("fixtures/models/qwen2_moe")), backend);
        using ResidentAdapter adapter = ResidentAdapter.StageTrainable(LoraAdapter.Fit(RandomLora(model.Sites, ["gate_proj", "gate"]), model.Sites, "own"), backend, null);
        AdapterPath path = PathResolver.Extend(AdapterPath.Root, "own", model.Sites, backend, adapter);
        int[] ids = [3, 14, 15, 92, 65, 35, 89];
        float[][] Gradients(bool checkpointing)
        {
            using TrainingEngine engine = new(model) { Checkpointing = checkpointing };
            using AdapterTrainer trainer = new(engine, adapter, path, new(OptimizerKind.AdamW, 0.9, 0.999, 1e-8, 0), _ => (0.01, 0));
            engine.Train([new(path.Table, [new(ids, ids, [ids.Length])], 1)]);
            return [.. trainer.Tensors.Select(t => t.Gradient.ToFloats())];
        }
        float[][] kept = Gradients(false), again = Gradients(true);
        for (int i = 0; i < kept.Length; i++)
            Assert.Equal(kept[i], again[i]);
        Assert.Contains(kept, g => g.Any(v => v != 0));
    }

    private static PeftAdapter RandomLora(SiteCatalog sites, string[] targets)
    {
        Random random = new(5);
        List<(string, PeftPart, Tensor)> tensors = [];
        Tensor Values(long rows, long columns) => Tensor.FromFloats("", new Shape(rows, columns), [.. Enumerable.Range(0, (int)(rows * columns)).Select(_ => (float)(random.NextDouble() - 0.5) * 0.4f)]);
        foreach (ModelSite site in sites.Sites)
            if (site.Linear is { } linear && targets.Any(t => site.Name.EndsWith("." + t, StringComparison.Ordinal)))
            {
                tensors.Add((site.Name, PeftPart.A, Values(2, linear.Inputs)));
                tensors.Add((site.Name, PeftPart.B, Values(linear.Outputs, 2)));
            }
        string json = $$"""{"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 2, "target_modules": [{{string.Join(", ", targets.Select(t => $"\"{t}\""))}}]}""";
        return PeftAdapter.Create("own", PeftConfigReader.Parse("own", System.Text.Encoding.UTF8.GetBytes(json)), tensors);
    }
}
