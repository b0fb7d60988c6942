using System.Diagnostics;
using EdgeLora.Core;
using EdgeLora.Training;

namespace EdgeLora.Cli.Bench;

/// <summary>A LoRA step, r 8 on every linear layer: forward, backward, AdamW.</summary>
/// <param name="measured">What runs.</param>
/// <param name="settings">Its rows.</param>
internal sealed class TrainingCases(MeasuredModel measured, BenchSettings settings) : IDisposable
{
    private TrainingEngine? _engine;
    private TrainingJob? _job;

    /// <summary>The case; none on a device that does not train.</summary>
    public IEnumerable<BenchCase> All() => measured.Model.Backend is not ITrainingBackend { NoTraining: null } ? [] : [new(new(FormattableString.Invariant($"train/lora-r{RandomTree.TrainedRank}-{settings.TrainingRows}x{Tokens}"), "Training",
        FormattableString.Invariant($"LoRA r {RandomTree.TrainedRank}, all linear, a step of {settings.TrainingRows} × {Tokens} tokens"), BenchUnit.TokensPerSecond.Name, BenchUnit.TokensPerSecond), settings.TrainingRows * Tokens, Run)];

    private int Tokens => Math.Min(settings.TrainingTokens, measured.Model.Config.ContextLength);

    /// <inheritdoc/>
    public void Dispose()
    {
        _job?.Dispose();
        _engine?.Dispose();
    }

    private double Run(int steps)
    {
        _engine ??= new(measured.Model);
        _job ??= RandomTraining.Start(_engine, measured.Model, measured.Tree.Get(RandomTree.Trained).Folder, RandomTree.Trained, 0, settings.TrainingRows, Tokens);
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < steps; i++)
            _job.Complete(_engine.Train([_job.NextRows()])[0]);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
