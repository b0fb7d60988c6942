using EdgeLora.Models;
using EdgeLora.Training;

namespace EdgeLora.Measuring;

/// <summary>LoRA jobs on rows of random tokens, in memory: what <c>edgelora train</c> runs, without its files. Every token carries loss; no clipping, a constant rate, the rows in order.</summary>
internal static class RandomTraining
{
    /// <summary>Every job's rate.</summary>
    public const double LearningRate = 1e-4;

    /// <summary>A row's tokens: the same numbers every time, others in each row.</summary>
    public static int[] Row(int row, int tokens, int vocabulary)
    {
        Random random = new(row);
        return [.. Enumerable.Range(0, tokens).Select(_ => random.Next(vocabulary))];
    }

    /// <summary>A job that is ready for its first step; a step is one micro-batch.</summary>
    /// <param name="engine">Of <paramref name="model"/>.</param>
    /// <param name="model">The frozen base.</param>
    /// <param name="adapter">Folder of the adapter that training goes on from: random in A and B, so that every gradient is there from the first step.</param>
    /// <param name="name">For messages.</param>
    /// <param name="firstRow">Number of its first row.</param>
    /// <param name="sequences">Rows of a micro-batch.</param>
    /// <param name="tokens">Tokens of each.</param>
    public static TrainingJob Start(TrainingEngine engine, DecoderModel model, string adapter, string name, int firstRow, int sequences, int tokens)
    {
        TrainingExample[] rows = [.. Enumerable.Range(firstRow, sequences).Select(r => Row(r, tokens, model.Config.Vocabulary)).Select(t => new TrainingExample(t, t, [t.Length]))];
        TrainingRecipe recipe = new() { BatchSize = sequences, MaxSteps = 1_000_000, Schedule = ScheduleKind.Constant, LearningRate = LearningRate, MaxGradNorm = 0, Shuffle = false };
        TrainingJob job = new(engine, model, new(name, recipe, AdapterPath.Root, "", () => LoraAdapter.Load(adapter, name, model.Sites), rows, []));
        job.Start();
        return job;
    }
}
