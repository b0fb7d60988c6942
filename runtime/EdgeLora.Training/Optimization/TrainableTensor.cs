using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>A tensor that trains: its value, its gradient, what the optimizer remembers of it.</summary>
/// <param name="Key">Name in the adapter's file.</param>
/// <param name="Value">On the device, F32.</param>
/// <param name="Gradient">Same shape.</param>
/// <param name="Layout">How it lies against the file.</param>
public sealed record TrainableTensor(string Key, DeviceTensor Value, DeviceTensor Gradient, FileLayout Layout)
{
    /// <summary>AdamW's m; null for SGD.</summary>
    public DeviceTensor? FirstMoment { get; init; }

    /// <summary>AdamW's v; null for SGD.</summary>
    public DeviceTensor? SecondMoment { get; init; }

    /// <summary>lr₀ of its group.</summary>
    public double LearningRate { get; init; }

    /// <summary>Weight decay of its group.</summary>
    public double WeightDecay { get; init; }

    /// <summary>Elements.</summary>
    public long Elements => Value.Shape.Elements;

    /// <summary>A tensor of its shape in the file's order of rows: for saving and for comparing. Waits.</summary>
    public float[] InFileOrder(DeviceTensor tensor) => Layout.ToFile(tensor.ToFloats(), Value.Shape);
}
