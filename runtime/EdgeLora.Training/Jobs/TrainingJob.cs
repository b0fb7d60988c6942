using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>Where a job is in its life.</summary>
public enum JobStatus
{
    /// <summary>Waits for memory.</summary>
    Queued,
    /// <summary>Trains.</summary>
    Running,
    /// <summary>Was asked to wait; keeps its memory.</summary>
    Paused,
    /// <summary>Took all its steps, or stopped early; its adapter is saved.</summary>
    Finished,
    /// <summary>Failed; its last checkpoint is on disk. The other jobs go on.</summary>
    Faulted,
}

/// <summary>One optimizer step as it was taken.</summary>
/// <param name="Step">From 1.</param>
/// <param name="Epoch">Epochs done after it.</param>
/// <param name="Loss">Mean -log p over the step's targets.</param>
/// <param name="GradNorm">‖g‖₂ before clipping.</param>
/// <param name="LearningRate">Rate of the first group.</param>
/// <param name="Tokens">Tokens that went through.</param>
public sealed record StepMetrics(long Step, double Epoch, double Loss, double GradNorm, double LearningRate, long Tokens);

/// <summary>What a job trains: its start, what lies beneath it, its rows.</summary>
/// <param name="Name">For messages.</param>
/// <param name="Recipe">Settings.</param>
/// <param name="Parent">The frozen path beneath; the root for none.</param>
/// <param name="ParentFingerprint">Of the parent's tensors; empty below the root.</param>
/// <param name="Start">The adapter before step 1; the job owns what it makes of it.</param>
/// <param name="Train">Rows to train on.</param>
/// <param name="Validation">Rows to evaluate on; may be empty.</param>
public sealed record JobSetup(
    string Name, TrainingRecipe Recipe, AdapterPath Parent, string ParentFingerprint, Func<LoraAdapter> Start, IReadOnlyList<TrainingExample> Train, IReadOnlyList<TrainingExample> Validation);

/// <summary>
/// One adapter's training run: its rows, schedule, optimizer, evaluation and files, cut into micro-batches that an engine runs together with those of other jobs. Everything random depends on
/// (seed, step) alone and the place in the data on the step, so that a run goes on from a checkpoint with the same bits.
/// </summary>
public sealed class TrainingJob : IDisposable
{
    private readonly TrainingEngine _engine;
    private readonly ITrainableModel _model;
    private readonly ExampleOrder _order;
    private readonly LearningRateSchedule _schedule;
    private readonly int _batchesPerEpoch;
    private Dropout? _dropout;
    private List<IReadOnlyList<TrainingExample>> _batches = [];
    private int _nextBatch;
    private double _scale, _lossSum;
    private long _tokens;

    /// <summary>A job, not started yet. Throws <see cref="ArgumentException"/> for a token that the base does not have or a row longer than its learned positions.</summary>
    public TrainingJob(TrainingEngine engine, ITrainableModel model, JobSetup setup)
    {
        CheckRows(model.Config, setup);
        (_engine, _model, Setup) = (engine, model, setup);
        TrainingRecipe recipe = setup.Recipe;
        _order = new(setup.Train.Count, recipe.Seed, recipe.Shuffle);
        _batchesPerEpoch = (setup.Train.Count + recipe.BatchSize - 1) / recipe.BatchSize;
        TotalSteps = recipe.TotalSteps(_batchesPerEpoch);
        _schedule = LearningRateSchedule.Of(recipe, TotalSteps);
        int longest = setup.Train.Concat(setup.Validation).Max(e => e.InputIds.Length);
        ActivationBytes = TrainingMemory.ActivationBytes(model.Config, (long)longest * Math.Min(recipe.BatchSize, setup.Train.Count), recipe.GradientCheckpointing);
    }

    /// <summary>What it trains.</summary>
    public JobSetup Setup { get; }

    /// <summary>Its name.</summary>
    public string Name => Setup.Name;

    /// <summary>Its settings.</summary>
    public TrainingRecipe Recipe => Setup.Recipe;

    /// <summary>What it runs on.</summary>
    public ITrainingBackend Backend => _engine.Backend;

    /// <summary>Where it is.</summary>
    public JobStatus Status { get; internal set; }

    /// <summary>Whether it was asked to wait.</summary>
    public bool PauseRequested { get; private set; }

    /// <summary>Why it failed; else null.</summary>
    public Exception? Fault { get; internal set; }

    /// <summary>Why it ended before its last step; else null.</summary>
    public string? StoppedEarly { get; internal set; }

    /// <summary>Steps of the whole run.</summary>
    public long TotalSteps { get; }

    /// <summary>Steps taken.</summary>
    public long Step { get; private set; }

    /// <summary>The step taken last; null before the first.</summary>
    public StepMetrics? Last { get; private set; }

    /// <summary>The adapter being trained; null before the start.</summary>
    public AdapterTrainer? Trainer { get; private set; }

    /// <summary>What its path does without dropout: for evaluation.</summary>
    public SiteTable EvaluationTable { get; private set; } = SiteTable.Base;

    /// <summary>The staged adapter; null before the start.</summary>
    public ResidentAdapter? Adapter { get; private set; }

    /// <summary>Bytes of activations that its micro-batches need, at most.</summary>
    public long ActivationBytes { get; }

    /// <summary>Bytes of its values, gradients and optimizer state; 0 before the start.</summary>
    public long TrainerBytes => Trainer?.ByteLength ?? 0;

    /// <summary>Makes its tensors. Throws <see cref="ModelFileException"/> where the start does not fit the base.</summary>
    public void Start()
    {
        LoraAdapter start = Setup.Start();
        // An adapter that training goes on from brings its own.
        _dropout = start.Config.Dropout > 0 ? new(start.Config.Dropout) : null;
        Adapter = ResidentAdapter.StageTrainable(start, _model.Backend, _dropout);
        AdapterPath path = PathResolver.Extend(Setup.Parent, Name, _model.Sites, _model.Backend, Adapter);
        Dictionary<string, ParameterGroup> groups = [];
        foreach (ParameterGroup group in ParameterGroups.Of(Recipe, TrainedTensors.Of(start.File)))
            foreach (string key in group.Keys)
                groups[key] = group;
        Trainer = new(_engine, Adapter, path, OptimizerSettings.Of(Recipe), t => (groups[t.Key].LearningRate, groups[t.Key].WeightDecay));
        EvaluationTable = _dropout is null ? path.Table : WithoutDropout(path.Table);
    }

    /// <summary>Its rows for the next micro-batch. The first of a step plans the step: its rows, and what one target counts.</summary>
    public JobRows NextRows()
    {
        if (_nextBatch == 0)
            PlanStep();
        if (_dropout is not null)
            _dropout.Seed = SeedOf(Step, _nextBatch);
        return new(Trainer!.Path.Table, _batches[_nextBatch], _scale);
    }

    /// <summary>Takes the result of the micro-batch; the last of a step takes the optimizer's step and returns its metrics, else null. Throws <see cref="InvalidOperationException"/> where the run has diverged.</summary>
    public StepMetrics? Complete(LossResult result)
    {
        _lossSum += result.LossSum;
        _tokens += _batches[_nextBatch].Sum(e => e.InputIds.Length);
        if (++_nextBatch < _batches.Count)
            return null;
        _nextBatch = 0;
        double factor = _schedule.Factor(Step), loss = _lossSum * _scale;
        if (!double.IsFinite(loss))
            throw new InvalidOperationException($"step {Step + 1}: the loss is {loss}: the run has diverged");
        double norm = Trainer!.Step(factor);
        Step = Trainer.StepsDone;
        return Last = new(Step, EpochsAt(Step), loss, norm, Trainer.Tensors[0].LearningRate * factor, _tokens);
    }

    /// <summary>Whether all steps are taken.</summary>
    public bool Done => Step >= TotalSteps;

    /// <summary>Goes on after <paramref name="step"/> steps whose values and optimizer state were written into the trainer.</summary>
    public void Resume(long step)
    {
        Trainer!.StepsDone = checked((int)step);
        Step = step;
        Trainer.ClearGradients();
        Trainer.Refresh();
        _nextBatch = 0;
    }

    /// <summary>Asks it to wait after the micro-batch that runs now. It keeps its memory.</summary>
    public void Pause() => PauseRequested = true;

    /// <summary>Lets it go on.</summary>
    public void Unpause() => PauseRequested = false;

    /// <summary>Frees its tensors and leaves the engine.</summary>
    public void Dispose()
    {
        Trainer?.Dispose();
        Adapter?.Dispose();
        (Trainer, Adapter) = (null, null);
    }

    private int StepsPerEpoch => (_batchesPerEpoch + Recipe.AccumulationSteps - 1) / Recipe.AccumulationSteps;

    private double EpochsAt(long step)
    {
        (long epoch, long inEpoch) = Math.DivRem(step, StepsPerEpoch);
        return epoch + Math.Min(1.0, (double)inEpoch * Recipe.AccumulationSteps / _batchesPerEpoch);
    }

    // A last, shorter step of an epoch counts as one.
    private void PlanStep()
    {
        (long epoch, long inEpoch) = Math.DivRem(Step, StepsPerEpoch);
        int first = (int)inEpoch * Recipe.AccumulationSteps, end = Math.Min(first + Recipe.AccumulationSteps, _batchesPerEpoch);
        _batches = [];
        for (int b = first; b < end; b++)
        {
            int from = b * Recipe.BatchSize, to = Math.Min(from + Recipe.BatchSize, _order.Count);
            _batches.Add([.. Enumerable.Range(from, to - from).Select(i => Setup.Train[_order[(int)epoch, i]])]);
        }
        int targets = _batches.Sum(b => b.Sum(_engine.TargetsOf));
        if (targets == 0)
            throw new InvalidOperationException($"step {Step + 1}: no token of its rows carries loss");
        (_scale, _lossSum, _tokens) = (1.0 / targets, 0, 0);
    }

    private ulong SeedOf(long step, int batch) => ((ulong)Recipe.Seed * 0x9E3779B97F4A7C15) ^ ((ulong)step * 0xD1B54A32D192ED03) ^ ((ulong)batch * 0x8CB92BA72F3D8DD7);

    private static void CheckRows(ModelConfig config, JobSetup setup)
    {
        foreach (TrainingExample example in setup.Train.Concat(setup.Validation))
        {
            int id = Math.Max(example.InputIds.Max(), example.Labels.Max());
            if (id >= config.Vocabulary || example.InputIds.Min() < 0)
                throw new ArgumentException($"{setup.Name}: token {(id >= config.Vocabulary ? id : example.InputIds.Min())}: expected 0..{config.Vocabulary - 1}, the base's vocabulary");
            if (config.Rope is null && example.SegmentLengths.Max() > config.ContextLength)
                throw new ArgumentException($"{setup.Name}: a row of {example.SegmentLengths.Max()} tokens: the base has {config.ContextLength} positions");
        }
    }

    private SiteTable WithoutDropout(SiteTable table)
    {
        SiteAdapter?[] sites = new SiteAdapter?[_model.Sites.Count];
        for (int i = 0; i < sites.Length; i++)
            sites[i] = table[i] is { } site ? site with { Steps = [.. site.Steps.Select(s => s with { Dropout = null })] } : null;
        return new(sites);
    }
}
