using System.Globalization;
using EdgeLora.Cpu;
using EdgeLora.Training;

namespace EdgeLora.Benchmarks;

/// <summary>One LoRA step of ours beside the same step of TorchSharp on libtorch, after both have shown the same loss and gradients.</summary>
internal static class TrainingBenchmark
{
    private const double LargestError = 1e-3;

    /// <summary>Heads the lines of <see cref="Run"/>.</summary>
    public const string Header = "| Base | Micro-batch | Threads | EdgeLora tokens/s | fastest | CPU s a step | TorchSharp tokens/s | fastest | CPU s a step | EdgeLora ÷ TorchSharp |\n|---|---|---|---|---|---|---|---|---|---|";

    /// <summary>Compares, measures for about <paramref name="seconds"/>, and returns a line of the table. Throws <see cref="InvalidDataException"/> where the peer computes something else.</summary>
    public static string Run(string folder, TrainingCase subject, int threads, double seconds)
    {
        LoraJobs.Write(folder, subject, 1);
        using CpuBackend backend = new(threads);
        using LoraJobs jobs = new(folder, subject, 1, backend);
        using TorchLlama peer = new(folder, subject, jobs.Jobs[0].Trainer!.Tensors, RandomTraining.LearningRate, threads);
        Compare(jobs, peer);
        Rounds[] rounds = Interleaved.Run(seconds, () => jobs.Complete(jobs.Train()), () =>
        {
            peer.Train();
            peer.Complete();
        });
        double tokens = subject.Sequences * subject.Tokens;
        string Cells(Rounds r) => string.Create(CultureInfo.InvariantCulture, $"{tokens / r.Median:F0} | {tokens / r.Fastest:F0} | {r.Cpu:F3}");
        return string.Create(CultureInfo.InvariantCulture, $"| {subject.Base.Name} | {subject.Sequences} x {subject.Tokens} | {threads} | {Cells(rounds[0])} | {Cells(rounds[1])} | {rounds[0].FasterThan(rounds[1]):F2} |");
    }

    // Both take the step, so that the next ones start alike too.
    private static void Compare(LoraJobs jobs, TorchLlama peer)
    {
        LossResult[] results = jobs.Train();
        double loss = results[0].LossSum / results[0].Targets, theirs = peer.Train(), worst = 0;
        Dictionary<string, TrainableTensor> ours = jobs.Jobs[0].Trainer!.Tensors.ToDictionary(t => t.Key);
        foreach ((string key, float[] expected) in peer.Gradients())
        {
            float[] found = ours[key].InFileOrder(ours[key].Gradient);
            double difference = 0, norm = 0;
            for (int i = 0; i < expected.Length; i++)
            {
                difference += ((double)found[i] - expected[i]) * ((double)found[i] - expected[i]);
                norm += (double)expected[i] * expected[i];
            }
            worst = Math.Max(worst, Math.Sqrt(difference / norm));
        }
        Console.WriteLine(FormattableString.Invariant($"  loss {loss:F6}, the peer's {theirs:F6}; gradients of {ours.Count} tensors: largest relative difference {worst:E1}"));
        if (!(Math.Abs(loss - theirs) <= LargestError * theirs && worst <= LargestError))
            throw new InvalidDataException($"the peer does not compute the same: expected loss and gradients within {LargestError}");
        jobs.Complete(results);
        peer.Complete();
    }
}
