using System.Globalization;
using EdgeLora.Cpu;
using EdgeLora.Training;

namespace EdgeLora.Benchmarks;

/// <summary>Four jobs fused on one base against the same four one after the other.</summary>
internal static class ParallelTrainingBenchmark
{
    private const int Jobs = 4;

    /// <summary>Heads the lines of <see cref="Run"/>.</summary>
    public const string Header = "| Base | Micro-batch of a job | Threads | Four alone, tokens/s | fastest | Four fused, tokens/s | fastest | Fused ÷ alone | by cpu s | Bytes of the base, once | of a job's values, gradients, moments | of activations, alone | fused |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|";

    /// <summary>Measures for about <paramref name="seconds"/> and returns a line of the table. Throws <see cref="InvalidDataException"/> where a fused job's losses are not its own alone, bit for bit.</summary>
    public static string Run(string folder, TrainingCase subject, int threads, double seconds)
    {
        LoraJobs.Write(folder, subject, Jobs);
        using CpuBackend backend = new(threads);
        using LoraJobs fused = new(folder, subject, Jobs, backend), alone = new(folder, subject, Jobs, backend);
        Rounds[] rounds = Interleaved.Run(seconds, () => fused.Complete(fused.Train()), () =>
        {
            foreach (TrainingJob job in alone.Jobs)
                alone.StepAlone(job);
        });
        foreach ((TrainingJob together, TrainingJob own) in fused.Jobs.Zip(alone.Jobs))
            if (together.Last != own.Last)
                throw new InvalidDataException($"{own.Name}: expected {own.Last}, as alone, found {together.Last}");
        double tokens = Jobs * subject.Sequences * subject.Tokens;
        string Cells(Rounds r) => string.Create(CultureInfo.InvariantCulture, $"{tokens / r.Median:F0} | {tokens / r.Fastest:F0}");
        return string.Create(CultureInfo.InvariantCulture,
            $"| {subject.Base.Name} | {subject.Sequences} x {subject.Tokens} | {threads} | {Cells(rounds[1])} | {Cells(rounds[0])} | {rounds[0].FasterThan(rounds[1]):F2} | {rounds[1].Cpu / rounds[0].Cpu:F2} | {MiB(fused.BaseBytes)} | {MiB(fused.Jobs[0].TrainerBytes)} | {MiB(alone.ActivationBytes)} | {MiB(fused.ActivationBytes)} |");
    }

    private static string MiB(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:F1} MiB");
}
