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
    public TrainingSession(CommandIo io, IReadOnlyList<TrainingRecipe> recipes, string device, int threads, bool resume, bool json)
    {
        (_io, _json) = (io, json);
        CheckTogether(recipes);
        _host = EdgeHost.Open(recipes[0].ModelPath, new EdgeHostOptions { Device = device, Threads = threads });
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
        _progress.Run(() => _scheduler.Run(cancellation));
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
        if (faults.Count > 0)
            throw new UsageException(string.Join(Environment.NewLine, faults));
    }

    private void Add(TrainingRecipe recipe, bool resume)
    {
        AdapterPath parent = AdapterPath.Root;
        string fingerprint = "";
        if (recipe.Parent is { Length: > 0 } node)
        {
            parent = _host.Enter(node);
            using PeftAdapter file = PeftAdapter.Open(_host.Tree.Get(node).Folder);
            fingerprint = Fingerprint.Of(file.File);
        }
        (JobSetup setup, TrainableSummary summary, DataReport data) = JobSetups.Of(recipe, _host.Model, _host.Tokenizer, parent, fingerprint);
        TrainingJob job = new(_engine, _host.Model, setup);
        _scheduler.Add(job, summary.Trainable, Checkpoint(recipe, resume));
        if (!_json)
        {
            _io.Output.WriteLine($"{setup.Name}: {summary}");
            foreach (string line in data.Lines())
                _io.Output.WriteLine($"{setup.Name}: {line}");
            _io.Output.WriteLine($"{setup.Name}: {job.TotalSteps} steps");
            _io.Output.Flush();
        }
    }

    private static string? Checkpoint(TrainingRecipe recipe, bool resume) => recipe.ResumeFromCheckpoint switch
    {
        null or "false" => resume ? JobFiles.Newest(recipe.OutputFolder) : null,
        "true" => JobFiles.Newest(recipe.OutputFolder) ?? throw new UsageException($"resume_from_checkpoint: {recipe.OutputFolder} has no checkpoint"),
        string folder => folder,
    };

    private static void WriteResult(Utf8JsonWriter w, TrainingJob job)
    {
        w.WriteString("job", job.Name);
        w.WriteString("status", job.Status.ToString().ToLowerInvariant());
        w.WriteNumber("steps", job.Step);
        if (job.Last is { } last)
            w.WriteNumber("loss", last.Loss);
        w.WriteString("output", job.Recipe.OutputFolder);
        if (job.StoppedEarly is { } early)
            w.WriteString("stoppedEarly", early);
        if (job.Fault is { } fault)
            w.WriteString("fault", fault.Message);
    }
}
