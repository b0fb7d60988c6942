using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>Learning rates and decays against the groups and rates of every trace in ../shared/fixtures/training.</summary>
public sealed class ParameterGroupTests
{
    [Theory, MemberData(nameof(TraceFixture.All), MemberType = typeof(TraceFixture))]
    public void Every_tensor_has_the_library_s_rate_and_decay(string name)
    {
        using TraceFixture fixture = new(name);
        IReadOnlyList<ParameterGroup> groups = ParameterGroups.Of(fixture.Recipe, Tensors(fixture));
        JsonElement[] expected = [.. fixture.Json.GetProperty("param_groups").EnumerateArray()];
        Assert.Equal(expected.Select(g => (g.GetProperty("learning_rate").GetDouble(), g.GetProperty("weight_decay").GetDouble())), groups.Select(g => (g.LearningRate, g.WeightDecay)));
        Assert.All(expected.Zip(groups), p =>
            Assert.Equal(p.First.GetProperty("keys").EnumerateArray().Select(k => k.GetString()!).Order(StringComparer.Ordinal), p.Second.Keys.Order(StringComparer.Ordinal)));
    }

    [Theory, MemberData(nameof(TraceFixture.All), MemberType = typeof(TraceFixture))]
    public void Every_step_has_the_library_s_rate(string name)
    {
        using TraceFixture fixture = new(name);
        using JsonDocument trace = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(fixture.Folder, "trace.json")));
        double[][] expected = [.. trace.RootElement.GetProperty("lr").EnumerateArray().Select(s => s.EnumerateArray().Select(r => r.GetDouble()).ToArray())];
        long steps = fixture.Recipe.TotalSteps(batchesPerEpoch: 1);
        Assert.Equal(expected.Length, steps);
        LearningRateSchedule schedule = LearningRateSchedule.Of(fixture.Recipe, steps);
        IReadOnlyList<ParameterGroup> groups = ParameterGroups.Of(fixture.Recipe, Tensors(fixture));
        for (int k = 0; k < steps; k++)
            Assert.Equal(expected[k], groups.Select(g => g.LearningRate * schedule.Factor(k)));
    }

    [Fact]
    public void With_LoRA_plus_an_embedding_has_its_own_rate_and_biases_do_not_decay()
    {
        TrainedTensor[] tensors =
        [
            new("a", new Shape(4, 8), ParameterKind.Weight), new("e", new Shape(4, 8), ParameterKind.LowRankEmbedding), new("b", new Shape(8, 4), ParameterKind.LowRankB),
            new("m", new Shape(8), ParameterKind.Magnitude), new("n", new Shape(8), ParameterKind.Gain), new("c", new Shape(8), ParameterKind.Bias),
        ];
        IReadOnlyList<ParameterGroup> groups = ParameterGroups.Of(new() { LearningRate = 1e-3, WeightDecay = 0.1, LoraPlusRatio = 16, LoraPlusEmbeddingRate = 1e-6 }, tensors);
        Assert.Equal([(1e-3, 0.1, "a"), (1e-6, 0.1, "e"), (0.016, 0.1, "bm"), (0.016, 0, "nc")], groups.Select(g => (g.LearningRate, g.WeightDecay, string.Concat(g.Keys))));
    }

    // transformers.get_scheduler, printed for S = 10, w = 2 and lr = 1e-3.
    [Theory]
    [InlineData(ScheduleKind.Constant, 0, 1.0)]
    [InlineData(ScheduleKind.ConstantWithWarmup, 0, 0.0), InlineData(ScheduleKind.ConstantWithWarmup, 1, 0.5), InlineData(ScheduleKind.ConstantWithWarmup, 9, 1.0)]
    [InlineData(ScheduleKind.Linear, 6, 0.5), InlineData(ScheduleKind.Cosine, 6, 0.5), InlineData(ScheduleKind.Linear, 12, 0.0)]
    [InlineData(ScheduleKind.CosineWithMinLr, 6, 0.55), InlineData(ScheduleKind.CosineWithMinLr, 10, 0.1)]
    [InlineData(ScheduleKind.Polynomial, 6, 0.25 * 0.9999 + 0.0001), InlineData(ScheduleKind.Polynomial, 11, 0.0001)]
    public void A_schedule_has_the_library_s_shape(ScheduleKind kind, int step, double expected)
    {
        LearningRateSchedule schedule = new() { Kind = kind, WarmupSteps = 2, TotalSteps = 10, MinRate = 0.1, Power = 2, EndRate = 1e-7 / 1e-3 };
        Assert.Equal(expected, schedule.Factor(step), 12);
    }

    [Theory]
    [InlineData(10, 1, 3, 30), InlineData(10, 4, 1, 3), InlineData(10, 4, 2.5, 8), InlineData(1, 8, 1, 1)]
    public void Epochs_count_whole_steps_and_the_last_shorter_one(int batches, int accumulation, double epochs, long steps) =>
        Assert.Equal(steps, new TrainingRecipe { AccumulationSteps = accumulation, Epochs = epochs }.TotalSteps(batches));

    [Fact]
    public void A_warm_up_ratio_rounds_up() => Assert.Equal((4, 7), (new TrainingRecipe { WarmupRatio = 0.1 }.WarmupOf(31), new TrainingRecipe { WarmupSteps = 7 }.WarmupOf(31)));

    private static IReadOnlyList<TrainedTensor> Tensors(TraceFixture fixture)
    {
        string init = Path.Combine(fixture.Folder, "init");
        if (fixture.Recipe.Method is TrainingMethod.Full or TrainingMethod.Freeze)
            return [.. TrainableWeights.Of(fixture.Recipe, fixture.Model.Sites).Select(w => w.Trained)];
        if (fixture.Recipe.Method == TrainingMethod.Bottleneck)
        {
            using TensorFile file = Safetensors.Open(Path.Combine(init, PeftAdapter.WeightsName));
            return [.. file.Tensors.Values.Select(t => new TrainedTensor(t.Name, t.Shape, t.Shape.Rank == 1 ? ParameterKind.Bias : ParameterKind.Weight))];
        }
        using PeftAdapter adapter = PeftAdapter.Open(init);
        return TrainedTensors.Of(adapter);
    }
}
