using EdgeLora.Core;

namespace EdgeLora.Onnx;

/// <summary>A buffer of a forward pass while it is recorded: the name of the value that it holds at this point of the pass.</summary>
internal sealed class RecordedTensor(string name, Shape shape) : DeviceTensor(name, DType.F32, shape)
{
    private string? _value;

    /// <summary>Name of its value in the graph, [rows of the batch, Columns]. Throws <see cref="InvalidOperationException"/> before an op has given it one.</summary>
    public string Value
    {
        get => _value ?? throw new InvalidOperationException($"{Name}: is read before it is written");
        set => _value = value;
    }

    /// <inheritdoc/>
    public override float[] ToFloats() => throw new InvalidOperationException($"{Name}: has no numbers while a graph is recorded");

    /// <inheritdoc/>
    public override void Dispose() { }
}
