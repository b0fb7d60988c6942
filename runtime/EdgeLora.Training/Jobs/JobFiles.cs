using System.Globalization;
using System.Text;
using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>
/// What a job writes into its output folder: metrics.jsonl, <c>checkpoint-STEP</c> folders (the adapter, optimizer.safetensors, trainer_state.json), <c>best</c> where it may stop early, and at the end
/// the adapter itself. A checkpoint is a folder that is renamed when it is whole: a killed run leaves whole ones and a temporary one, which the next run removes.
/// </summary>
public sealed class JobFiles
{
    private const string CheckpointPrefix = "checkpoint-", BestName = "best", Temporary = ".tmp", StateName = AdapterTree.TrainerStateName, OptimizerName = "optimizer.safetensors";

    private static readonly string[] s_settings =
    [
        "optim", "learning_rate", "adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay", "max_grad_norm", "lr_scheduler_type", "min_lr_rate", "lr_power", "lr_end", "loraplus_lr_ratio", "loraplus_lr_embedding",
        "alpha_pattern", "per_device_train_batch_size", "gradient_accumulation_steps", "seed", "shuffle",
    ];

    private readonly TrainingJob _job;
    private readonly string _baseFingerprint;
    private readonly string _folder;
    private readonly Lazy<string> _dataFingerprint;

    /// <summary>Files of a job. Creates its folder, removes what a killed run left half written.</summary>
    public JobFiles(TrainingJob job, string baseFingerprint)
    {
        (_job, _baseFingerprint, _folder) = (job, baseFingerprint, job.Recipe.OutputFolder);
        _dataFingerprint = new(() => DataFingerprint.Of(job.Setup.Train));
        Directory.CreateDirectory(_folder);
        foreach (string left in Directory.EnumerateDirectories(_folder, "*" + Temporary))
            if (Path.GetFileName(left) is { } name && (name.StartsWith("." + CheckpointPrefix, StringComparison.Ordinal) || name.StartsWith("." + BestName, StringComparison.Ordinal)))
                Directory.Delete(left, true);
    }

    /// <summary>metrics.jsonl: one line a step or evaluation.</summary>
    public string MetricsPath => Path.Combine(_folder, "metrics.jsonl");

    /// <summary>The checkpoint of the most steps, or null.</summary>
    public static string? Newest(string folder) => Checkpoints(folder).LastOrDefault().Path;

    /// <summary>Writes a checkpoint of the job's present state, then removes the oldest beyond save_total_limit. Returns its folder.</summary>
    public string SaveCheckpoint(JobProgress progress)
    {
        string folder = Path.Combine(_folder, CheckpointPrefix + _job.Step.ToString(CultureInfo.InvariantCulture));
        SaveState(folder, progress);
        if (_job.Recipe.SaveTotalLimit is not { } limit)
            return folder;
        (long Step, string Path)[] all = [.. Checkpoints(_folder)];
        foreach ((long _, string old) in all.Take(Math.Max(0, all.Length - Math.Max(1, limit))))
            Remove(old);
        return folder;
    }

    /// <summary>Keeps the present values as the best ones.</summary>
    public void SaveBest(JobProgress progress) => SaveState(Path.Combine(_folder, BestName), progress);

    /// <summary>Takes the best values back, where they were kept.</summary>
    public bool RestoreBest()
    {
        string best = Path.Combine(_folder, BestName);
        if (!Directory.Exists(best))
            return false;
        ReadTensors(Path.Combine(best, PeftAdapter.WeightsName), t => [(t.Key, t.Value)]);
        _job.Trainer!.Refresh();
        return true;
    }

    /// <summary>Writes the adapter into the output folder, as PEFT's two files or one <c>.elora</c>.</summary>
    public void SaveResult()
    {
        AdapterLineage lineage = new(_job.Recipe.Parent ?? "", _job.Setup.ParentFingerprint, _baseFingerprint);
        AdapterOutput.Write(Trained(), _folder, _job.Recipe.OutputFormat, lineage);
    }

    /// <summary>Removes every checkpoint and <c>best</c>: for a fresh start into a used folder.</summary>
    public void RemoveOld()
    {
        foreach ((long _, string old) in Checkpoints(_folder).ToArray())
            Remove(old);
        if (Directory.Exists(Path.Combine(_folder, BestName)))
            Remove(Path.Combine(_folder, BestName));
        File.Delete(MetricsPath);
    }

    /// <summary>Goes on from a checkpoint: values, optimizer state, step. metrics.jsonl loses the lines that come after it. Throws <see cref="ModelFileException"/>, and changes nothing, where it belongs to another base, recipe or data.</summary>
    public JobProgress Resume(string checkpoint)
    {
        string statePath = Path.Combine(checkpoint, StateName);
        if (!File.Exists(statePath))
            throw new ModelFileException(checkpoint, $"{StateName} is missing: expected a checkpoint of a training run");
        using JsonDocument document = SafeJson.ReadFile(statePath);
        JsonElement state = document.RootElement;
        FaultList faults = new(checkpoint);
        foreach ((string field, string expected) in Identity())
        {
            string found = state.TryGetProperty(field, out JsonElement value) ? value.GetString() ?? "" : "nothing";
            if (found != expected)
                faults.Add($"{field}: expected {expected}, as this run has it, found {found}");
        }
        faults.ThrowIfAny();
        long step = state.GetProperty("step").GetInt64();
        ReadTensors(Path.Combine(checkpoint, PeftAdapter.WeightsName), t => [(t.Key, t.Value)]);
        if (_job.Recipe.Optimizer == OptimizerKind.AdamW)
            ReadTensors(Path.Combine(checkpoint, OptimizerName), t => [(t.Key + ".m", t.FirstMoment!), (t.Key + ".v", t.SecondMoment!)]);
        _job.Resume(step);
        TrimMetrics(step);
        return new(state.TryGetProperty("best_loss", out JsonElement best) && best.ValueKind == JsonValueKind.Number ? best.GetDouble() : null, state.GetProperty("evaluations_without_gain").GetInt32(), state.GetProperty("evaluated_step").GetInt64());
    }

    /// <summary>Appends a line to metrics.jsonl.</summary>
    public void Append(string line)
    {
        using FileStream stream = new(MetricsPath, FileMode.Append, FileAccess.Write, FileShare.Read);
        stream.Write(System.Text.Encoding.UTF8.GetBytes(line + "\n"));
    }

    private static IEnumerable<(long Step, string Path)> Checkpoints(string folder) => !Directory.Exists(folder) ? [] :
        Directory.EnumerateDirectories(folder, CheckpointPrefix + "*")
            .Select(p => (Ok: long.TryParse(Path.GetFileName(p)[CheckpointPrefix.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out long step), Step: step, Path: p))
            .Where(p => p.Ok).OrderBy(p => p.Step).Select(p => (p.Step, p.Path));

    // A tree that is open on the output folder passes over names with a dot.
    private static string Hidden(string folder, string suffix) => Path.Combine(Path.GetDirectoryName(folder)!, "." + Path.GetFileName(folder) + suffix);

    // Renamed first: a reader never meets a checkpoint that is half removed.
    private static void Remove(string folder)
    {
        string away = Hidden(folder, ".old" + Temporary);
        if (Directory.Exists(away))
            Directory.Delete(away, true);
        Directory.Move(folder, away);
        Directory.Delete(away, true);
    }

    private void SaveState(string folder, JobProgress progress)
    {
        string temporary = Hidden(folder, Temporary);
        if (Directory.Exists(temporary))
            Directory.Delete(temporary, true);
        Directory.CreateDirectory(temporary);
        Trained().Write(temporary);
        if (_job.Recipe.Optimizer == OptimizerKind.AdamW)
            Safetensors.Write(Path.Combine(temporary, OptimizerName), _job.Trainer!.Tensors.SelectMany(t => new[] { Stored(t, t.FirstMoment!, ".m"), Stored(t, t.SecondMoment!, ".v") }));
        using (MemoryStream json = new())
        {
            using (Utf8JsonWriter writer = new(json, new JsonWriterOptions { Indented = true }))
            {
                writer.WriteStartObject();
                writer.WriteNumber("step", _job.Step);
                foreach ((string field, string value) in Identity())
                    writer.WriteString(field, value);
                if (progress.BestLoss is { } best)
                    writer.WriteNumber("best_loss", best);
                else
                    writer.WriteNull("best_loss");
                writer.WriteNumber("evaluations_without_gain", progress.EvaluationsWithoutGain);
                writer.WriteNumber("evaluated_step", progress.EvaluatedStep);
                writer.WriteEndObject();
            }
            AtomicFile.WriteBytes(Path.Combine(temporary, StateName), json.ToArray());
        }
        if (Directory.Exists(folder))
            Remove(folder);
        Directory.Move(temporary, folder);
    }

    // What must be the same for a run to go on with the same bits. Order and dropout follow from seed and step.
    private IEnumerable<(string Field, string Value)> Identity()
    {
        TrainingRecipe r = _job.Recipe;
        yield return ("base_fingerprint", _baseFingerprint);
        yield return ("parent_fingerprint", _job.Setup.ParentFingerprint);
        yield return ("data_fingerprint", _dataFingerprint.Value);
        yield return ("method", r.Method.ToString());
        yield return ("total_steps", _job.TotalSteps.ToString(CultureInfo.InvariantCulture));
        yield return ("warmup_steps", r.WarmupOf(_job.TotalSteps).ToString(CultureInfo.InvariantCulture));
        // Of these the adapter's own count, also where it was started from another one.
        PeftConfig config = _job.Adapter!.Adapter.Config;
        yield return ("lora_dropout", config.Dropout.ToString("R", CultureInfo.InvariantCulture));
        yield return ("lora_alpha", config.Alpha.ToString("R", CultureInfo.InvariantCulture));
        yield return ("use_rslora", config.UseRslora ? "true" : "false");
        foreach (string name in s_settings)
            yield return (name, RecipeFields.Find(name)!.Show(r));
    }

    private PeftAdapter Trained() => AdapterOutput.Of(_job.Adapter!.Adapter, _job.Trainer!.Tensors.Select(t => (t.Key, t.InFileOrder(t.Value))));

    private static Tensor Stored(TrainableTensor tensor, DeviceTensor values, string suffix) => Tensor.FromFloats(tensor.Key + suffix, values.Shape, values.ToFloats());

    private void ReadTensors(string path, Func<TrainableTensor, IEnumerable<(string Key, DeviceTensor Destination)>> wanted)
    {
        using TensorFile file = Safetensors.Open(path);
        FaultList faults = new(path);
        List<(TrainableTensor Tensor, DeviceTensor Destination, Tensor Source)> found = [];
        foreach (TrainableTensor tensor in _job.Trainer!.Tensors)
            foreach ((string key, DeviceTensor destination) in wanted(tensor))
                if (!file.Tensors.TryGetValue(key, out Tensor? source))
                    faults.Add($"{key}: is missing");
                else if (source.Shape.Elements != destination.Shape.Elements || source.Type != DType.F32)
                    faults.Add($"{key}: expected {destination.Shape} F32, found {source.Shape} {source.Type}");
                else
                    found.Add((tensor, destination, source));
        faults.ThrowIfAny();
        foreach ((TrainableTensor tensor, DeviceTensor destination, Tensor source) in found)
            _job.Backend.Write(ReferenceEquals(destination, tensor.Value) ? tensor.Layout.ToDevice(source.ToFloats(), destination.Shape) : source.ToFloats(), destination, 0);
    }

    private void TrimMetrics(long step)
    {
        if (!File.Exists(MetricsPath))
            return;
        StringBuilder kept = new();
        foreach (string line in File.ReadLines(MetricsPath))
        {
            try
            {
                using JsonDocument document = JsonDocument.Parse(line);
                if (document.RootElement.TryGetProperty("step", out JsonElement at) && at.GetInt64() <= step && !document.RootElement.TryGetProperty(MetricsLine.Final, out _))
                    kept.Append(line).Append('\n');
            }
            catch (JsonException)
            {
                // A line that a kill cut short.
            }
        }
        AtomicFile.WriteText(MetricsPath, kept.ToString());
    }
}

/// <summary>What evaluation and early stopping have to remember.</summary>
/// <param name="BestLoss">Lowest evaluation loss so far; null before the first evaluation.</param>
/// <param name="EvaluationsWithoutGain">Evaluations since then.</param>
/// <param name="EvaluatedStep">The step after which the last evaluation between steps was made.</param>
public sealed record JobProgress(double? BestLoss = null, int EvaluationsWithoutGain = 0, long EvaluatedStep = 0);
