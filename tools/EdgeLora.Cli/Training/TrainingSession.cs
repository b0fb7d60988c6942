using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;

namespace EdgeLora.Cli.Training;

/// <summary>Recipes on one base, from reading them to the saved adapters.</summary>
internal sealed class TrainingSession : IDisposable
{
    private readonly CommandIo _io;
    private readonly bool _json;
    private readonly EdgeHost _host;
    private readonly TrainingEngine _engine;
    private readonly JobScheduler _scheduler;
    private readonly TrainingProgress _progress;

    /// <summary>Opens the base, reads every recipe's data, queues the jobs. Throws before anything trains where one of them cannot.</summary>
    public TrainingSession(CommandIo io, IReadOnlyList<TrainingRecipe> recipes, string device, int threads, bool int8Activations, bool resume, bool json)
    {
        (_io, _json) = (io, json);
        CheckTogether(recipes);
        _host = EdgeHost.Open(recipes[0].ModelPath, new EdgeHostOptions { Device = device, Threads = threads, Int8Activations = int8Activations, DeviceReport = DeviceArguments.Report });
        try
        {
            _engine = new(_host.Model);
            long budget = recipes.Select(r => r.MemoryBudgetBytes).Min() ?? long.MaxValue;
            _scheduler = new(_engine, _host.Model.BaseFingerprint, budget);
            _progress = new(io, _scheduler, _engine, json);
            foreach (TrainingRecipe recipe in recipes)
                Add(recipe, resume);
        }
        catch
        {
            _scheduler?.Dispose();
            _engine?.Dispose();
            _host.Dispose();
            throw;
        }
    }

    /// <summary>Trains. True when every job has finished.</summary>
    public bool Run(CancellationToken cancellation)
    {
        try
        {
            _progress.Run(() => _scheduler.Run(cancellation));
        }
        catch (OperationCanceledException)
        {
            foreach (TrainingJob job in _scheduler.Jobs.Where(j => j.Status is not (JobStatus.Finished or JobStatus.Faulted)))
                _io.Error.WriteLine($"{job.Name}: stopped after {job.Step} steps; {(JobFiles.Newest(job.Recipe.OutputFolder) is { } from ? $"--resume goes on from {from}" : "nothing is saved")}");
            throw;
        }
        foreach (TrainingJob job in _scheduler.Jobs)
        {
            if (job.Fault is { } fault)
                _io.Error.WriteLine($"{job.Name}: {fault.Message}");
            else
                LossCurve.Write(job.Recipe.OutputFolder);
            if (_json)
                _io.WriteJson(w => WriteResult(w, job));
        }
        _progress.Summary();
        return _scheduler.Jobs.All(j => j.Status == JobStatus.Finished);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _scheduler.Dispose();
        _engine.Dispose();
        _host.Dispose();
    }

    private static void CheckTogether(IReadOnlyList<TrainingRecipe> recipes)
    {
        List<string> faults = [];
        foreach (TrainingRecipe recipe in recipes)
            if (Path.GetFullPath(recipe.ModelPath) != Path.GetFullPath(recipes[0].ModelPath))
                faults.Add($"{recipe.Source}: model_name_or_path: expected {recipes[0].ModelPath}, as {recipes[0].Source} has it, found {recipe.ModelPath}: jobs of one run share one base");
        foreach (IGrouping<string, TrainingRecipe> same in recipes.GroupBy(r => Path.GetFullPath(r.OutputFolder)).Where(g => g.Count() > 1))
            faults.Add($"{string.Join(", ", same.Select(r => r.Source))}: output_dir: {same.Key} is given more than once");
        foreach (TrainingRecipe recipe in recipes.Where(r => File.Exists(r.OutputFolder)))
            faults.Add($"output_dir: {recipe.OutputFolder} is a file; expected a folder");
        if (faults.Count > 0)
            throw new UsageException(string.Join(Environment.NewLine, faults));
    }

    private void Add(TrainingRecipe recipe, bool resume)
    {
        RefuseOutput(recipe, recipe.ModelPath, "the base's");
        RefuseOutput(recipe, _host.Model.Checkpoint.Path, "the base's");
        string? checkpoint = Checkpoint(recipe, resume);
        if (checkpoint is null && !recipe.OverwriteOutput && JobFiles.Newest(recipe.OutputFolder) is { } earlier)
            throw new UsageException($"output_dir: {earlier} is a checkpoint of an earlier run, which a fresh start would remove; --resume goes on from it, overwrite_output_dir: true removes it");
        AdapterPath parent = AdapterPath.Root;
        string fingerprint = "";
        if (recipe.Parent is { Length: > 0 } node)
        {
            parent = _host.Enter(node);
            RefuseOutput(recipe, _host.Tree.Get(node).Folder, "its parent's");
            using PeftAdapter file = PeftAdapter.Open(_host.Tree.Get(node).Folder);
            fingerprint = Fingerprint.Of(file.File);
        }
        (JobSetup setup, TrainableSummary summary, DataReport data) = JobSetups.Of(recipe, _host.Model, _host.Tokenizer, parent, fingerprint);
        TrainingJob job = new(_engine, _host.Model, setup);
        _scheduler.Add(job, summary.Trainable, checkpoint);
        if (_json)
            _io.WriteJson(w =>
            {
                w.WriteString("job", setup.Name);
                w.WriteNumber("trainable_parameters", summary.Trainable);
                w.WriteNumber("base_parameters", summary.BaseParameters);
                w.WriteNumber("checkpoint_bytes", summary.CheckpointBytes);
                w.WriteNumber("train_rows", data.TrainRows);
                w.WriteNumber("train_tokens", data.TrainTokens);
                w.WriteNumber("eval_rows", data.ValidationRows);
                w.WriteNumber("total_steps", job.TotalSteps);
            });
        else
        {
            foreach (string line in summary.ToString().Split('\n'))
                _io.Output.WriteLine($"{setup.Name}: {line}");
            foreach (string line in data.Lines())
                _io.Output.WriteLine($"{setup.Name}: {line}");
            _io.Output.WriteLine($"{setup.Name}: {job.TotalSteps} steps");
            _io.Output.Flush();
        }
    }

    private static void RefuseOutput(TrainingRecipe recipe, string folder, string whose)
    {
        if (Path.TrimEndingDirectorySeparator(Path.GetFullPath(recipe.OutputFolder)) == Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)))
            throw new UsageException($"output_dir: {recipe.OutputFolder} is {whose} own folder, which training never writes; give another one");
    }

    private static string? Checkpoint(TrainingRecipe recipe, bool resume) => recipe.ResumeFromCheckpoint switch
    {
        null or "false" => resume ? JobFiles.Newest(recipe.OutputFolder) : null,
        "true" => JobFiles.Newest(recipe.OutputFolder) ?? throw new UsageException($"resume_from_checkpoint: {recipe.OutputFolder} has no checkpoint"),
        string folder => folder,
    };

    private void WriteResult(Utf8JsonWriter w, TrainingJob job)
    {
        (long tokens, double steps, double evaluations) = _progress.Spent(job);
        w.WriteString("job", job.Name);
        w.WriteString("status", job.Status.ToString().ToLowerInvariant());
        w.WriteNumber("steps", job.Step);
        if (job.Last is { } last)
            w.WriteNumber("loss", last.Loss);
        w.WriteNumber("tokens", tokens);
        w.WriteNumber("step_seconds", Math.Round(steps, 3));
        w.WriteNumber("eval_seconds", Math.Round(evaluations, 3));
        w.WriteString("output", job.Recipe.OutputFolder);
        if (job.StoppedEarly is { } early)
            w.WriteString("stoppedEarly", early);
        if (job.Fault is { } fault)
            w.WriteString("fault", fault.Message);
    }
}
