using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;

namespace EdgeLora.Benchmarks;

/// <summary>Training jobs on one base, in memory: what <c>edgelora train</c> runs, without its files. Each job's adapter is random in A and B, so that every gradient is there from the first step.</summary>
internal sealed class LoraJobs : IDisposable
{
    private readonly DecoderModel _model;
    private readonly TrainingEngine _engine;

    /// <summary>Jobs, ready for their first step.</summary>
    /// <param name="folder">Holds the base and an adapter a job, as <see cref="Write"/> made them.</param>
    /// <param name="subject">Sizes and rows.</param>
    /// <param name="jobs">How many.</param>
    /// <param name="backend">Stays the caller's.</param>
    public LoraJobs(string folder, TrainingCase subject, int jobs, ITrainingBackend backend)
    {
        _model = DecoderModel.Load(BaseCheckpoint.Open(Base(folder)), backend);
        _engine = new(_model);
        Jobs = [.. Enumerable.Range(0, jobs).Select(i => RandomTraining.Start(_engine, _model, Adapter(folder, i), $"job{i}", i * subject.Sequences, subject.Sequences, subject.Tokens))];
    }

    /// <summary>The jobs.</summary>
    public IReadOnlyList<TrainingJob> Jobs { get; }

    /// <summary>Bytes of the base: once, however many jobs there are.</summary>
    public long BaseBytes => _model.ByteLength;

    /// <summary>Bytes of activations and their gradients.</summary>
    public long ActivationBytes => _engine.ActivationBytes;

    /// <summary>Writes the base and an adapter for each of <paramref name="jobs"/> jobs.</summary>
    public static void Write(string folder, TrainingCase subject, int jobs)
    {
        RandomModel.WriteFolder(Base(folder), subject.Base, DType.F32);
        HfConfig config = HfConfig.Read(Base(folder));
        for (int i = 0; i < jobs; i++)
            RandomAdapter.Write(Adapter(folder, i), RandomAdapter.LayersOf(config), TrainingCase.Rank, seed: 1000 * (i + 1));
    }

    /// <summary>Folder of the base.</summary>
    public static string Base(string folder) => Path.Combine(folder, "base");

    private static string Adapter(string folder, int job) => Path.Combine(folder, $"job{job}");

    /// <summary>One micro-batch of all jobs at once: gradients, not yet the optimizer's step.</summary>
    public LossResult[] Train() => _engine.Train([.. Jobs.Select(j => j.NextRows())]);

    /// <summary>The optimizer's step of each job, after <see cref="Train"/>.</summary>
    public void Complete(LossResult[] results)
    {
        for (int i = 0; i < results.Length; i++)
            Jobs[i].Complete(results[i]);
    }

    /// <summary>A whole step of one job alone.</summary>
    public void StepAlone(TrainingJob job) => job.Complete(_engine.Train([job.NextRows()])[0]);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (TrainingJob job in Jobs)
            job.Dispose();
        _engine.Dispose();
        _model.Dispose();
    }
}
