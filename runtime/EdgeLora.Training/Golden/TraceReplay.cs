using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>What a replayed trace gave, against what was recorded.</summary>
/// <param name="Folder">The trace.</param>
/// <param name="Loss">Loss of each step, as computed here.</param>
/// <param name="GradNorm">Gradient norm of each step before clipping, as computed here.</param>
/// <param name="LossError">Largest relative error of a step's loss.</param>
/// <param name="GradNormError">Largest relative error of a step's gradient norm.</param>
/// <param name="RateError">Largest relative error of a group's learning rate.</param>
/// <param name="GradientError">Largest error of a tensor's gradient in step 1, max|a-b| / max|b|.</param>
/// <param name="FinalError">Largest error of a trained tensor after the last step, alike.</param>
/// <param name="Worst">The tensor with it.</param>
/// <param name="Tolerance">What the trace allows.</param>
/// <param name="Faults">Keys that only one side trains.</param>
public sealed record TraceResult(string Folder, double[] Loss, double[] GradNorm, double LossError, double GradNormError, double RateError, double GradientError, double FinalError, string Worst, TraceTolerance Tolerance, IReadOnlyList<string> Faults)
{
    /// <summary>Largest relative error allowed of a learning rate: F64 on both sides.</summary>
    public const double RateTolerance = 1e-12;

    /// <summary>Whether everything is within its tolerance. A NaN is not.</summary>
    public bool Passed => Faults.Count == 0 && LossError <= Tolerance.Loss && GradNormError <= Tolerance.GradNorm && RateError <= RateTolerance && GradientError <= Tolerance.Gradient && FinalError <= Tolerance.Final;
}

/// <summary>Runs a recorded training again, from its own start on its own batches, and compares every step.</summary>
public static class TraceReplay
{
    /// <summary>Replays a folder on a backend. Throws <see cref="ModelFileException"/> for a folder that is no trace, <see cref="NotSupportedException"/> for a method or task that is not built.</summary>
    /// <param name="folder">The trace.</param>
    /// <param name="backend">What it runs on; stays the caller's.</param>
    /// <param name="basePath">Another form of the same base; null: the one that the trace names.</param>
    public static TraceResult Run(string folder, IComputeBackend backend, string? basePath = null)
    {
        using TrainingTrace trace = TrainingTrace.Open(folder);
        BaseCheckpoint checkpoint = BaseCheckpoint.Open(basePath ?? (trace.Recipe.ModelPath is { Length: > 0 } named ? named : throw new ModelFileException(folder, "recipe.json: base: is missing")));
        switch (trace.Text("task"))
        {
            case "causal_lm":
                using (DecoderModel decoder = DecoderModel.Load(checkpoint, backend))
                    return Run(trace, decoder);
            case "classify":
                using (EncoderModel encoder = EncoderModel.Load(checkpoint, backend))
                    return Run(trace, encoder);
            default:
                checkpoint.Dispose();
                throw new NotSupportedException($"{folder}: task {trace.Text("task")} is not supported; causal_lm and classify are");
        }
    }

    private static TraceResult Run(TrainingTrace trace, ITrainableModel model)
    {
        IComputeBackend backend = model.Backend;
        using TrainingEngine engine = new(model);
        using ResidentAdapter? parent = trace.FolderOf("parent") is { } parentFolder ? ResidentAdapter.Load(parentFolder, "parent", model.Sites, backend) : null;
        AdapterPath under = parent is null ? AdapterPath.Root : PathResolver.Extend(AdapterPath.Root, "parent", model.Sites, backend, parent);
        using ResidentAdapter adapter = ResidentAdapter.StageTrainable(TraceStart.Open(trace, model), backend, null);
        AdapterPath path = PathResolver.Extend(under, "trace", model.Sites, backend, adapter);
        Dictionary<string, (double, double)> rates = trace.Groups.SelectMany(g => g.Keys.Select(k => (Key: k, Rates: (g.LearningRate, g.WeightDecay)))).ToDictionary(k => k.Key, k => k.Rates);
        List<string> faults = [];
        using AdapterTrainer trainer = new(engine, adapter, path, OptimizerSettings.Of(trace.Recipe), t =>
        {
            if (rates.Remove(t.Key, out (double, double) rate))
                return rate;
            faults.Add($"{t.Key}: trains here, but is in none of the recipe's param_groups");
            return (0, 0);
        });
        faults.AddRange(rates.Keys.Select(k => $"{k}: is in the recipe's param_groups, but does not train here"));
        return Run(trace, engine, trainer, faults);
    }

    private static TraceResult Run(TrainingTrace trace, TrainingEngine engine, AdapterTrainer trainer, List<string> faults)
    {
        int steps = trace.Loss.Length, accumulation = trace.Recipe.AccumulationSteps;
        LearningRateSchedule schedule = LearningRateSchedule.Of(trace.Recipe, trace.Recipe.MaxSteps ?? steps);
        double[] losses = new double[steps], norms = new double[steps];
        double rateError = 0, gradientError = 0;
        for (int step = 0; step < steps; step++)
        {
            IReadOnlyList<TrainingExample>[] batches = [.. Enumerable.Range(step * accumulation, accumulation).Select(trace.Batch)];
            double scale = 1.0 / batches.Sum(b => b.Sum(engine.TargetsOf));
            foreach (IReadOnlyList<TrainingExample> batch in batches)
                losses[step] += engine.Train([new(trainer.Path.Table, batch, scale)])[0].LossSum * scale;
            if (step == 0)
            {
                trainer.GradientNorm();
                gradientError = CompareGradients(trace, trainer, faults);
            }
            double factor = schedule.Factor(step);
            for (int g = 0; g < trace.Groups.Count; g++)
                rateError = Math.Max(rateError, Relative(trace.Groups[g].LearningRate * factor, trace.Rates[step][Math.Min(g, trace.Rates[step].Length - 1)]));
            norms[step] = trainer.Step(factor);
        }
        (double finalError, string worst) = CompareFinal(trace, trainer, faults);
        double lossError = Enumerable.Range(0, steps).Max(i => Relative(losses[i], trace.Loss[i])), normError = Enumerable.Range(0, steps).Max(i => Relative(norms[i], trace.GradNorm[i]));
        return new(trace.Folder, losses, norms, lossError, normError, rateError, gradientError, finalError, worst, trace.Tolerance, faults);
    }

    private static double CompareGradients(TrainingTrace trace, AdapterTrainer trainer, List<string> faults)
    {
        Dictionary<string, TrainableTensor> tensors = trainer.Tensors.ToDictionary(t => t.Key);
        double error = 0;
        foreach ((string key, Tensor expected) in trace.FirstGradients())
        {
            if (tensors.TryGetValue(key, out TrainableTensor? tensor))
                error = Worse(error, Error(tensor.InFileOrder(tensor.Gradient), expected.ToFloats(), trace.NullGradientOf(key)));
            else
                faults.Add($"grad1.{key}: does not train here");
        }
        return error;
    }

    private static (double Error, string Worst) CompareFinal(TrainingTrace trace, AdapterTrainer trainer, List<string> faults)
    {
        string folder = Path.Combine(trace.Folder, "final");
        string file = new[] { "adapter_model.safetensors", "model.safetensors" }.Select(f => Path.Combine(folder, f)).FirstOrDefault(File.Exists)
            ?? throw new ModelFileException(folder, "adapter_model.safetensors or model.safetensors is missing");
        using TensorFile final = Safetensors.Open(file);
        (double Error, string Worst) worst = (0, "");
        foreach (TrainableTensor tensor in trainer.Tensors)
        {
            if (!final.Tensors.TryGetValue(tensor.Key, out Tensor? expected))
            {
                faults.Add($"{tensor.Key}: is not in {file}");
                continue;
            }
            double error = Error(tensor.InFileOrder(tensor.Value), expected.ToFloats(), trace.NullGradientOf(tensor.Key));
            if (Worse(worst.Error, error) != worst.Error || worst.Worst.Length == 0)
                worst = (error, tensor.Key);
        }
        return worst;
    }

    // max|a-b| / max|b|; a gradient that is exactly zero must be zero here too, within F32's least.
    private static double Error(float[] found, float[] expected, Range ignored)
    {
        if (found.Length != expected.Length)
            return double.PositiveInfinity;
        double difference = 0, largest = 0;
        for (int i = 0; i < found.Length; i++)
        {
            if (i >= ignored.Start.Value && i < ignored.End.Value)
                continue;
            difference = Worse(difference, Math.Abs((double)found[i] - expected[i]));
            largest = Math.Max(largest, Math.Abs(expected[i]));
        }
        return difference == 0 ? 0 : difference / Math.Max(largest, 1e-30);
    }

    private static double Relative(double found, double expected) => found == expected ? 0 : Math.Abs(found - expected) / Math.Max(Math.Abs(expected), 1e-300);

    private static double Worse(double a, double b) => double.IsNaN(a) || double.IsNaN(b) ? double.NaN : Math.Max(a, b);
}
