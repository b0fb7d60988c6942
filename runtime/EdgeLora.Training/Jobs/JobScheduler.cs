using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>
/// Trains several adapters at once on one base. Each round takes one micro-batch of every running job, fuses them along the batch axis and gives each job its own result: fair by construction,
/// and a job's bits are those of a run alone. Jobs start when memory allows, wait, finish and fail by themselves.
/// </summary>
public sealed class JobScheduler : IDisposable
{
    private readonly TrainingEngine _engine;
    private readonly string _baseFingerprint;
    private readonly long _budgetBytes;
    private readonly List<Entry> _entries = [];
    private readonly Lock _lock = new();
    private CancellationToken _cancellation;

    /// <summary>A scheduler on an engine.</summary>
    /// <param name="engine">Stays the caller's.</param>
    /// <param name="baseFingerprint">Of the base.</param>
    /// <param name="budgetBytes">Most bytes that running jobs may need together, beside the base.</param>
    public JobScheduler(TrainingEngine engine, string baseFingerprint, long budgetBytes = long.MaxValue) => (_engine, _baseFingerprint, _budgetBytes) = (engine, baseFingerprint, budgetBytes);

    /// <summary>A step was taken.</summary>
    public event Action<TrainingJob, StepMetrics>? StepTaken;

    /// <summary>An evaluation was made.</summary>
    public event Action<TrainingJob, EvaluationMetrics>? Evaluated;

    /// <summary>A job's status changed.</summary>
    public event Action<TrainingJob>? StatusChanged;

    /// <summary>Something of a job was written: the file or folder.</summary>
    public event Action<TrainingJob, string>? Saved;

    /// <summary>All jobs, in the order they came.</summary>
    public IReadOnlyList<TrainingJob> Jobs
    {
        get
        {
            lock (_lock)
                return [.. _entries.Select(e => e.Job)];
        }
    }

    /// <summary>Adds a job; also while others run. It starts when memory allows.</summary>
    /// <param name="job">Not started; owned from here on.</param>
    /// <param name="parameters">Numbers that train, for the budget.</param>
    /// <param name="resume">A checkpoint to go on from; null: from the start, and older checkpoints in its folder are removed.</param>
    /// <exception cref="InvalidOperationException">It needs more than the whole budget.</exception>
    public void Add(TrainingJob job, long parameters, string? resume = null)
    {
        long needed = TrainingMemory.TrainerBytes(parameters, job.Recipe.Optimizer) + job.ActivationBytes;
        if (needed > _budgetBytes)
            throw new InvalidOperationException($"{job.Name}: needs about {needed >> 20} MiB, but the memory budget is {_budgetBytes >> 20} MiB; a smaller per_device_train_batch_size, cutoff_len or gradient_checkpointing helps");
        lock (_lock)
            _entries.Add(new(job, needed, resume));
    }

    /// <summary>Runs until every job has finished or failed. When cancelled, a job that saves checkpoints saves one of where it is, to go on from with the same bits.</summary>
    public void Run(CancellationToken cancellation = default)
    {
        _cancellation = cancellation;
        try
        {
            RunRounds(cancellation);
        }
        catch (OperationCanceledException)
        {
            foreach (Entry entry in Snapshot())
                if (entry is { Job: { Status: JobStatus.Running or JobStatus.Paused, Step: > 0, Recipe.SaveSteps: > 0 } })
                    Guard(entry, () => Save(entry));
            throw;
        }
    }

    private void RunRounds(CancellationToken cancellation)
    {
        while (true)
        {
            cancellation.ThrowIfCancellationRequested();
            Admit();
            Entry[] entries = Snapshot();
            foreach (Entry e in entries)
                if (e.Job.Status is JobStatus.Running or JobStatus.Paused && e.Job.Status != (e.Job.PauseRequested ? JobStatus.Paused : JobStatus.Running))
                    SetStatus(e.Job, e.Job.PauseRequested ? JobStatus.Paused : JobStatus.Running);
            Entry[] running = [.. entries.Where(e => e.Job.Status == JobStatus.Running)];
            if (running.Length > 0)
                RunRound(running);
            else if (entries.Any(e => e.Job.Status is JobStatus.Paused))
                cancellation.WaitHandle.WaitOne(20);
            else if (entries.All(e => e.Job.Status is JobStatus.Finished or JobStatus.Faulted))
                return;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Entry entry in Snapshot())
            entry.Job.Dispose();
    }

    private Entry[] Snapshot()
    {
        lock (_lock)
            return [.. _entries];
    }

    // In order: a small job does not overtake a large one forever.
    private void Admit()
    {
        foreach (Entry entry in Snapshot())
        {
            if (entry.Job.Status != JobStatus.Queued)
                continue;
            long used = Snapshot().Where(e => e.Job.Status is JobStatus.Running or JobStatus.Paused).Sum(e => e.Bytes);
            if (entry.Bytes > _budgetBytes - used)
                return;
            Guard(entry, () => Start(entry));
        }
    }

    private void Start(Entry entry)
    {
        TrainingJob job = entry.Job;
        job.Start();
        entry.Files = new(job, _baseFingerprint);
        if (entry.Resume is null)
            entry.Files.RemoveOld();
        else
            entry.Progress = entry.Files.Resume(entry.Resume);
        SetStatus(job, JobStatus.Running);
        if (job.Step == 0)
            Evaluate(entry);
        // A run that was cancelled while it evaluated makes that evaluation now.
        if (job.Done || HasEnough(entry) || EvaluateWhereDue(entry))
            Finish(entry);
    }

    private void RunRound(Entry[] running)
    {
        List<(Entry Entry, JobRows Rows)> batch = [];
        foreach (Entry entry in running)
            Guard(entry, () => batch.Add((entry, entry.Job.NextRows())));
        if (batch.Count == 0)
            return;
        LossResult[] results;
        _engine.Checkpointing = batch.Any(b => b.Entry.Job.Recipe.GradientCheckpointing);
        try
        {
            results = _engine.Train([.. batch.Select(b => b.Rows)]);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // Some gradients were added already: nobody of this round can go on from here.
            foreach ((Entry entry, JobRows _) in batch)
                Fail(entry, e);
            return;
        }
        for (int i = 0; i < results.Length; i++)
        {
            (Entry entry, LossResult result) = (batch[i].Entry, results[i]);
            Guard(entry, () =>
            {
                if (entry.Job.Complete(result) is { } metrics)
                    AfterStep(entry, metrics);
            });
        }
    }

    private void AfterStep(Entry entry, StepMetrics metrics)
    {
        TrainingJob job = entry.Job;
        entry.Files!.Append(MetricsLine.Of(metrics));
        StepTaken?.Invoke(job, metrics);
        bool last = EvaluateWhereDue(entry) || job.Done;
        if (job.Recipe.SaveSteps > 0 && metrics.Step % job.Recipe.SaveSteps == 0)
            Save(entry);
        if (last)
            Finish(entry);
    }

    private void Save(Entry entry)
    {
        string saved = entry.Files!.SaveCheckpoint(entry.Progress);
        Saved?.Invoke(entry.Job, saved);
    }

    private EvaluationMetrics? Evaluate(Entry entry, bool final = false)
    {
        if (entry.Job.Setup.Validation.Count == 0)
            return null;
        EvaluationMetrics metrics = JobEvaluation.Run(_engine, entry.Job, _cancellation);
        entry.Files!.Append(MetricsLine.Of(metrics, final));
        Evaluated?.Invoke(entry.Job, metrics);
        return metrics;
    }

    // True: it stops early.
    private bool EvaluateWhereDue(Entry entry)
    {
        TrainingJob job = entry.Job;
        if (job.Done || job.Recipe.EvalSteps is not { } every || job.Step % every != 0 || job.Step == entry.Progress.EvaluatedStep || Evaluate(entry) is not { } evaluation)
            return false;
        entry.Progress = entry.Progress with { EvaluatedStep = job.Step };
        return IsEnough(entry, evaluation);
    }

    private static bool IsEnough(Entry entry, EvaluationMetrics metrics)
    {
        if (entry.Job.Recipe.EarlyStoppingPatience is null)
            return false;
        if (entry.Progress.BestLoss is not { } best || metrics.Loss < best)
        {
            entry.Progress = entry.Progress with { BestLoss = metrics.Loss, EvaluationsWithoutGain = 0 };
            entry.Files!.SaveBest(entry.Progress);
            return false;
        }
        entry.Progress = entry.Progress with { EvaluationsWithoutGain = entry.Progress.EvaluationsWithoutGain + 1 };
        return HasEnough(entry);
    }

    private static bool HasEnough(Entry entry)
    {
        if (entry.Job.Recipe.EarlyStoppingPatience is not { } patience || entry.Progress.EvaluationsWithoutGain < patience)
            return false;
        entry.Job.StoppedEarly = FormattableString.Invariant($"no gain in {patience} evaluations; the best loss was {entry.Progress.BestLoss:F4}");
        return true;
    }

    private void Finish(Entry entry)
    {
        if (entry.Job.Recipe.EarlyStoppingPatience is not null)
            entry.Files!.RestoreBest();
        Evaluate(entry, final: true);
        entry.Files!.SaveResult();
        Saved?.Invoke(entry.Job, entry.Job.Recipe.OutputFolder);
        SetStatus(entry.Job, JobStatus.Finished);
        entry.Job.Dispose();
    }

    private void Guard(Entry entry, Action action)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            Fail(entry, e);
        }
    }

    private void Fail(Entry entry, Exception fault)
    {
        entry.Job.Fault = fault;
        SetStatus(entry.Job, JobStatus.Faulted);
        entry.Job.Dispose();
    }

    private void SetStatus(TrainingJob job, JobStatus status)
    {
        job.Status = status;
        StatusChanged?.Invoke(job);
    }

    private sealed class Entry(TrainingJob job, long bytes, string? resume)
    {
        public TrainingJob Job => job;

        public long Bytes => bytes;

        public string? Resume => resume;

        public JobFiles? Files { get; set; }

        public JobProgress Progress { get; set; } = new();
    }
}
