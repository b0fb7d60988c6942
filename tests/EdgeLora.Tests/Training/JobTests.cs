using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Models;
using EdgeLora.Training;
using Xunit;

namespace EdgeLora.Tests.Training;

/// <summary>Jobs on the shipped base, with rows of random tokens: what counts here is bits, not what is learned.</summary>
public sealed class JobTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora").FullName;
    private DecoderModel _model = Load(new CpuBackend(2));

    public void Dispose()
    {
        Unload();
        Directory.Delete(_folder, true);
    }

    [Theory, InlineData("cpu", 6), InlineData("vulkan", 2)]
    public void Fused_jobs_have_the_bits_of_runs_alone(string device, int steps)
    {
        if (device == "vulkan")
            On(VulkanDriver.Backend());
        TrainingRecipe[] recipes = [Lora(4, 1), Lora(8, 2) with { BatchSize = 2, UseDora = true, LoraDropout = 0.1 }, Bottleneck(3), Lora(2, 4) with { AccumulationSteps = 2, Optimizer = OptimizerKind.Sgd, LearningRate = 0.1 }];
        recipes = [.. recipes.Select(r => r with { MaxSteps = steps })];
        string[] alone = [.. recipes.Select((r, i) => Run($"alone{i}", r)[0])];
        string[] fused = Run("fused", recipes);
        Assert.Equal(alone, fused);
    }

    [Theory, InlineData("cpu", 6), InlineData("vulkan", 2)]
    public void Checkpointing_of_activations_changes_no_bit(string device, int steps)
    {
        if (device == "vulkan")
            On(VulkanDriver.Backend());
        TrainingRecipe recipe = Lora(4, 1) with { MaxSteps = steps };
        Assert.Equal(Run("stored", recipe), Run("recomputed", recipe with { GradientCheckpointing = true }));
    }

    [Fact]
    public void A_run_that_was_cut_off_goes_on_with_the_same_bits()
    {
        TrainingRecipe recipe = Lora(4, 7) with { SaveSteps = 2, LoraDropout = 0.2, SaveTotalLimit = 2, Schedule = ScheduleKind.Cosine, WarmupSteps = 2 };
        string whole = Run("whole", recipe)[0];
        foreach (int cut in (int[])[1, 2, 3, 5])
        {
            string folder = Path.Combine(_folder, $"cut{cut}");
            using (CancellationTokenSource stop = new())
                Assert.ThrowsAny<OperationCanceledException>(() => RunJobs(folder, [recipe], null, (_, m) =>
                {
                    if (m.Step == cut)
                        stop.Cancel();
                }, stop.Token));
            // A cancelled run saves where it is, whatever save_steps says.
            Assert.Equal(Path.Combine(folder, $"checkpoint-{cut}"), JobFiles.Newest(folder));
            Assert.Equal(whole, RunJobs(folder, [recipe], JobFiles.Newest(folder))[0]);
        }
    }

    [Fact]
    public void A_run_that_was_cancelled_while_it_evaluated_makes_that_evaluation_first()
    {
        TrainingRecipe recipe = Lora(4, 7) with { SaveSteps = 100, EvalSteps = 2, EarlyStoppingPatience = 3 };
        string whole = Run("whole", recipe)[0], folder = Path.Combine(_folder, "cut");
        using (CancellationTokenSource stop = new())
            Assert.ThrowsAny<OperationCanceledException>(() => RunJobs(folder, [recipe], null, (_, m) =>
            {
                if (m.Step == 4)
                    stop.Cancel();
            }, stop.Token));
        Assert.DoesNotContain(File.ReadLines(Path.Combine(folder, "metrics.jsonl")), l => l.StartsWith("{\"step\":4,\"eval", StringComparison.Ordinal));
        Assert.Equal(whole, RunJobs(folder, [recipe], JobFiles.Newest(folder))[0]);
    }

    [Fact]
    public void A_job_that_diverges_fails_alone()
    {
        string expected = Run("alone", Lora(4, 1))[0];
        List<TrainingJob> jobs = [];
        string[] results = RunJobs(Path.Combine(_folder, "beside"), [Lora(4, 1), Lora(4, 2) with { LearningRate = 1e30, MaxGradNorm = 0 }], null, null, default, jobs);
        Assert.Equal(JobStatus.Faulted, jobs[1].Status);
        Assert.Contains("diverged", jobs[1].Fault!.Message);
        Assert.Equal(JobStatus.Finished, jobs[0].Status);
        Assert.Equal(expected, results[0]);
    }

    [Fact]
    public void What_does_not_fit_the_budget_waits_its_turn()
    {
        using TrainingEngine engine = new(_model);
        TrainingJob one = Job(engine, Lora(4, 1), "one"), two = Job(engine, Lora(4, 2), "two");
        long each = TrainingMemory.TrainerBytes(Parameters(one), OptimizerKind.AdamW) + one.ActivationBytes;
        using JobScheduler scheduler = new(engine, "base", each + each / 2);
        int most = 0;
        scheduler.StepTaken += (_, _) => most = Math.Max(most, scheduler.Jobs.Count(j => j.Status == JobStatus.Running));
        scheduler.Add(one, Parameters(one));
        scheduler.Add(two, Parameters(two));
        scheduler.Run(TestContext.Current.CancellationToken);
        Assert.Equal(1, most);
        Assert.All(scheduler.Jobs, j => Assert.Equal(JobStatus.Finished, j.Status));
        using JobScheduler small = new(engine, "base", each / 2);
        Assert.Contains("memory budget", Assert.Throws<InvalidOperationException>(() => small.Add(Job(engine, Lora(4, 3), "three"), Parameters(one))).Message);
    }

    [Fact]
    public void A_paused_job_waits_while_others_go_on_and_then_gives_the_same_bits()
    {
        string expected = Run("alone", Lora(4, 1))[0];
        using TrainingEngine engine = new(_model);
        using JobScheduler scheduler = new(engine, "base");
        TrainingJob paused = Job(engine, Lora(4, 1), "paused"), other = Job(engine, Lora(4, 2), "other");
        scheduler.StepTaken += (job, m) =>
        {
            if (job == paused && m.Step == 2)
                paused.Pause();
        };
        scheduler.StatusChanged += job =>
        {
            if (job == other && job.Status == JobStatus.Finished)
            {
                Assert.Equal(2, paused.Step);
                paused.Unpause();
            }
        };
        scheduler.Add(paused, Parameters(paused));
        scheduler.Add(other, Parameters(other));
        scheduler.Run(TestContext.Current.CancellationToken);
        Assert.Null(paused.Fault);
        Assert.Equal(expected, Result(paused.Recipe.OutputFolder));
    }

    [Fact]
    public void Early_stopping_ends_the_run_with_its_best_values()
    {
        TrainingRecipe recipe = Lora(4, 1) with { MaxSteps = 40, EvalSteps = 1, EarlyStoppingPatience = 2, LearningRate = 0.5 };
        List<TrainingJob> jobs = [];
        List<double> losses = [];
        RunJobs(Path.Combine(_folder, "early"), [recipe], null, null, default, jobs, (_, m) => losses.Add(m.Loss));
        Assert.NotNull(jobs[0].StoppedEarly);
        Assert.True(jobs[0].Step < 40);
        // The first evaluation is the base's, the last one that of the restored values.
        Assert.Equal(losses[1..^1].Min(), losses[^1]);
    }

    [Fact]
    public void A_checkpoint_of_other_data_is_refused_by_name()
    {
        TrainingRecipe recipe = Lora(4, 1) with { SaveSteps = 2 };
        string folder = Path.Combine(_folder, "mine");
        RunJobs(folder, [recipe]);
        List<TrainingJob> jobs = [];
        RunJobs(folder, [recipe with { LearningRate = 0.5 }], JobFiles.Newest(folder), null, default, jobs);
        Assert.Equal(JobStatus.Faulted, jobs[0].Status);
        Assert.Contains("learning_rate: expected 0.5, as this run has it, found 0.01", jobs[0].Fault!.Message);
        RunJobs(folder, [recipe with { LoraAlpha = 3 }], JobFiles.Newest(folder), null, default, jobs);
        Assert.Contains("lora_alpha: expected 3", jobs[1].Fault!.Message);
    }

    private static DecoderModel Load(IComputeBackend backend) => DecoderModel.Load(BaseCheckpoint.Open(Path.Combine(SharedFolder.Repository, "adapters/nano/base")), backend);

    private void Unload()
    {
        _model.Dispose();
        _model.Backend.Dispose();
    }

    private void On(IComputeBackend backend)
    {
        Unload();
        _model = Load(backend);
    }

    private static TrainingRecipe Lora(int rank, int seed) => new()
    {
        LoraRank = rank,
        Seed = seed,
        BatchSize = 3,
        MaxSteps = 6,
        LearningRate = 0.01,
        SaveSteps = 0,
    };

    private static TrainingRecipe Bottleneck(int seed) => Lora(4, seed) with { Method = TrainingMethod.Bottleneck, BottleneckSize = 5 };

    private TrainingJob Job(TrainingEngine engine, TrainingRecipe recipe, string name)
    {
        recipe = recipe with { OutputFolder = Path.Combine(_folder, name) };
        LoraAdapter Start() => recipe.Method == TrainingMethod.Bottleneck
            ? BottleneckStart.Create(recipe, _model.Sites)
            : LoraAdapter.Fit(AdapterStart.Of(recipe, _model.Sites), _model.Sites, name);
        return new(engine, _model, new(name, recipe, AdapterPath.Root, "", Start, Rows(recipe.Seed, 7), Rows(99, 2)));
    }

    private static long Parameters(TrainingJob job)
    {
        using LoraAdapter start = job.Setup.Start();
        return TrainedTensors.Of(start.File).Sum(t => t.Shape.Elements);
    }

    private List<TrainingExample> Rows(int seed, int count)
    {
        Random random = new(seed);
        List<TrainingExample> rows = [];
        for (int i = 0; i < count; i++)
        {
            int[] ids = [.. Enumerable.Range(0, 5 + random.Next(12)).Select(_ => random.Next(_model.Config.Vocabulary))];
            int first = random.Next(1, 4);
            rows.Add(new(ids, [.. ids.Select((id, t) => t < first ? TrainingExample.Ignored : id)], [ids.Length]));
        }
        return rows;
    }

    private string[] Run(string name, params TrainingRecipe[] recipes) => RunJobs(Path.Combine(_folder, name), recipes);

    // What each job wrote: every step's line and the adapter's bytes.
    private string[] RunJobs(
        string folder, TrainingRecipe[] recipes, string? resume = null, Action<TrainingJob, StepMetrics>? onStep = null, CancellationToken cancellation = default, List<TrainingJob>? jobs = null,
        Action<TrainingJob, EvaluationMetrics>? onEvaluation = null)
    {
        using TrainingEngine engine = new(_model);
        using JobScheduler scheduler = new(engine, "base");
        scheduler.StepTaken += onStep;
        scheduler.Evaluated += onEvaluation;
        foreach ((TrainingRecipe recipe, int i) in recipes.Select((r, i) => (r, i)))
        {
            TrainingJob job = Job(engine, recipe, recipes.Length == 1 ? folder : Path.Combine(folder, i.ToString()));
            jobs?.Add(job);
            scheduler.Add(job, Parameters(job), resume);
        }
        scheduler.Run(cancellation);
        return [.. scheduler.Jobs.Select(j => j.Fault is null ? Result(j.Recipe.OutputFolder) : "")];
    }

    private static string Result(string folder) =>
        File.ReadAllText(Path.Combine(folder, "metrics.jsonl")) + Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(Path.Combine(folder, PeftAdapter.WeightsName))));
}
