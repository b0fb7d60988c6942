using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>How gradients become steps.</summary>
/// <param name="Kind">Update rule.</param>
/// <param name="Beta1">AdamW's β₁.</param>
/// <param name="Beta2">AdamW's β₂.</param>
/// <param name="Epsilon">AdamW's eps.</param>
/// <param name="MaxGradNorm">Largest norm of all gradients together; 0: no clipping.</param>
public sealed record OptimizerSettings(OptimizerKind Kind, double Beta1, double Beta2, double Epsilon, double MaxGradNorm)
{
    /// <summary>Those of a recipe.</summary>
    public static OptimizerSettings Of(TrainingRecipe recipe) => new(recipe.Optimizer, recipe.AdamBeta1, recipe.AdamBeta2, recipe.AdamEpsilon, recipe.MaxGradNorm);
}

/// <summary>One adapter that trains in an engine: its tensors, their gradients, the optimizer's state. The engine adds gradients, <see cref="Step"/> uses them up.</summary>
public sealed class AdapterTrainer : IDisposable
{
    private readonly ITrainingBackend _backend;
    private readonly TrainingEngine _engine;
    private readonly ResidentAdapter _adapter;
    private readonly OptimizerSettings _settings;
    private readonly List<(DoraGain Gain, DeviceTensor Gradient, DeviceTensor MagnitudeGradient)> _gains = [];

    /// <summary>Makes an adapter's tensors trainable in an engine.</summary>
    /// <param name="engine">Where it trains.</param>
    /// <param name="adapter">Staged trainable; stays the caller's.</param>
    /// <param name="path">The path that ends with it.</param>
    /// <param name="settings">The optimizer.</param>
    /// <param name="rates">Learning rate before the schedule, and weight decay, of a tensor.</param>
    public AdapterTrainer(TrainingEngine engine, ResidentAdapter adapter, AdapterPath path, OptimizerSettings settings, Func<ResidentTensor, (double LearningRate, double WeightDecay)> rates)
    {
        if (adapter.Trainables().FirstOrDefault(t => t.Part == PeftPart.TokenRows) is { } rows)
            throw new NotSupportedException($"{rows.Key}: single token rows do not train");
        (_engine, _adapter, _settings, _backend) = (engine, adapter, settings, engine.Backend);
        Path = path;
        Tensors = [.. adapter.Trainables().Select(t => Prepare(t, rates(t)))];
        foreach (TrainableTensor tensor in Tensors)
            engine.Gradients.Add(tensor.Value, tensor.Gradient);
        foreach (DoraGain gain in adapter.Gains)
        {
            DeviceTensor gradient = Like(gain.Gain, ".gradient");
            engine.Gradients.Add(gain.Gain, gradient);
            _gains.Add((gain, gradient, Tensors.First(t => ReferenceEquals(t.Value, gain.Magnitude)).Gradient));
        }
    }

    /// <summary>The path that ends with the adapter.</summary>
    public AdapterPath Path { get; }

    /// <summary>What trains, in the file's order.</summary>
    public IReadOnlyList<TrainableTensor> Tensors { get; }

    /// <summary>Numbers that train.</summary>
    public long Parameters => Tensors.Sum(t => t.Elements);

    /// <summary>Bytes of values, gradients and optimizer state.</summary>
    public long ByteLength => Tensors.Sum(t => t.Value.ByteLength + t.Gradient.ByteLength + (t.FirstMoment?.ByteLength ?? 0) + (t.SecondMoment?.ByteLength ?? 0));

    /// <summary>Steps taken.</summary>
    public int StepsDone { get; set; }

    /// <summary>‖g‖₂ over everything that trains, before clipping. Waits.</summary>
    public double GradientNorm()
    {
        FoldMagnitudes();
        double sum = 0;
        foreach (TrainableTensor tensor in Tensors)
            sum += _backend.SumOfSquares(tensor.Gradient);
        return Math.Sqrt(sum);
    }

    /// <summary>One optimizer step with the gradients so far, which it clears. Returns their norm. Throws <see cref="InvalidOperationException"/>, and changes nothing, where it is not finite.</summary>
    /// <param name="factor">λ of the schedule.</param>
    public double Step(double factor)
    {
        double norm = GradientNorm();
        if (!double.IsFinite(norm))
            throw new InvalidOperationException($"step {StepsDone + 1}: the gradient's norm is {norm}: {Tensors.First(t => !double.IsFinite(_backend.SumOfSquares(t.Gradient))).Key} has diverged");
        double scale = _settings.MaxGradNorm > 0 ? Math.Min(1, _settings.MaxGradNorm / (norm + 1e-6)) : 1;
        StepsDone++;
        foreach (TrainableTensor t in Tensors)
        {
            if (_settings.Kind == OptimizerKind.Sgd)
                _backend.Sgd(t.Value, t.Gradient, t.LearningRate * factor, t.WeightDecay, scale);
            else
                _backend.AdamW(t.Value, t.Gradient, t.FirstMoment!, t.SecondMoment!, new(t.LearningRate * factor, _settings.Beta1, _settings.Beta2, _settings.Epsilon, t.WeightDecay, StepsDone, scale));
        }
        ClearGradients();
        Refresh();
        return norm;
    }

    /// <summary>Sets all gradients to zero.</summary>
    public void ClearGradients()
    {
        foreach (TrainableTensor tensor in Tensors)
            Clear(tensor.Gradient);
    }

    /// <summary>What follows from the values: DoRA's gains. After a step, or when values were written.</summary>
    public void Refresh()
    {
        foreach (DoraGain gain in _adapter.Gains)
            gain.Refresh();
    }

    /// <summary>Leaves the engine.</summary>
    public void Dispose()
    {
        foreach (TrainableTensor tensor in Tensors)
        {
            _engine.Gradients.Remove(tensor.Value);
            tensor.Gradient.Dispose();
            tensor.FirstMoment?.Dispose();
            tensor.SecondMoment?.Dispose();
        }
        foreach ((DoraGain gain, DeviceTensor gradient, DeviceTensor _) in _gains)
        {
            _engine.Gradients.Remove(gain.Gain);
            gradient.Dispose();
        }
    }

    private void FoldMagnitudes()
    {
        foreach ((DoraGain gain, DeviceTensor gradient, DeviceTensor magnitudeGradient) in _gains)
        {
            _backend.DoraGainBackward(gain.Norms, gradient, magnitudeGradient);
            Clear(gradient);
        }
    }

    private TrainableTensor Prepare(ResidentTensor tensor, (double LearningRate, double WeightDecay) rates)
    {
        bool moments = _settings.Kind == OptimizerKind.AdamW;
        return new(tensor.Key, tensor.Tensor, Like(tensor.Tensor, ".gradient"), tensor.Layout)
        {
            FirstMoment = moments ? Like(tensor.Tensor, ".m") : null,
            SecondMoment = moments ? Like(tensor.Tensor, ".v") : null,
            LearningRate = rates.LearningRate,
            WeightDecay = rates.WeightDecay,
        };
    }

    private DeviceTensor Like(DeviceTensor tensor, string suffix) => _backend.Allocate(tensor.Name + suffix, DType.F32, tensor.Shape);

    private void Clear(DeviceTensor tensor) => _backend.Clear((int)(tensor.Shape.Elements / tensor.Columns), tensor);
}
