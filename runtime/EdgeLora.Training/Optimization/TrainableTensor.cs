using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>A tensor that trains: its value, its gradient, what the optimizer remembers of it.</summary>
/// <param name="Key">Name in the adapter's file.</param>
/// <param name="Value">On the device, F32.</param>
/// <param name="Gradient">Same shape.</param>
/// <param name="RowOrder">Row i on the device is row RowOrder[i] of the file; null: the same.</param>
public sealed record TrainableTensor(string Key, DeviceTensor Value, DeviceTensor Gradient, int[]? RowOrder)
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
    public float[] InFileOrder(DeviceTensor tensor) => RowOrders.ToFile(tensor.ToFloats(), RowOrder);
}
