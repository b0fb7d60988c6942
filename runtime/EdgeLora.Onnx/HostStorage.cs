using EdgeLora.Core;

namespace EdgeLora.Onnx;

/// <summary>A backend that holds tensors in host memory and runs no ops of a forward pass.</summary>
public abstract class HostStorage : IComputeBackend
{
    /// <inheritdoc/>
    public abstract string Name { get; }

    /// <inheritdoc/>
    public abstract string Description { get; }

    /// <inheritdoc/>
    public DeviceTensor Upload(Tensor tensor) => tensor.Type.IsWeight()
        ? new HostTensor(tensor)
        : throw new NotSupportedException($"{tensor.Name}: {tensor.Type} cannot be a weight; expected {DTypes.Weights}");

    /// <inheritdoc/>
    public virtual DeviceTensor Allocate(string name, DType type, Shape shape) => new HostTensor(name, type, shape);

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row) => values.CopyTo(((HostTensor)destination).Floats[(row * destination.Columns)..]);

    /// <inheritdoc/>
    public void Read(DeviceTensor source, int row, Span<float> destination) => ((HostTensor)source).ReadFloats.Slice(row * source.Columns, destination.Length).CopyTo(destination);

    /// <inheritdoc/>
    public virtual void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows) =>
        ((HostTensor)source).Bytes.Slice((int)source.Type.Bytes((long)sourceRow * source.Columns), (int)source.Type.Bytes((long)rows * source.Columns))
            .CopyTo(((HostTensor)destination).WritableBytes[(int)source.Type.Bytes((long)destinationRow * source.Columns)..]);

    /// <inheritdoc/>
    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns, int pieces = 1) => throw SingleOp();

    /// <inheritdoc/>
    public void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x) => throw SingleOp();

    /// <inheritdoc/>
    public void StoreKeyValues(BatchLayout batch, int layer, DeviceTensor keys, DeviceTensor values) => throw SingleOp();

    /// <inheritdoc/>
    public void Attention(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public void GatedActivation(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public void Scale(int rows, float factor, DeviceTensor x, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z) => throw SingleOp();

    /// <inheritdoc/>
    public void Route(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor weights) => throw SingleOp();

    /// <inheritdoc/>
    public void GatherRows(ReadOnlySpan<int> rows, DeviceTensor x, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public void AddRows(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor y) => throw SingleOp();

    // Paths are resolved on any device, also where only whole models run.
    /// <inheritdoc/>
    public void DoraGain(DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain) => HostDora.Gain(site, magnitude, norms, gain);

    /// <inheritdoc/>
    public void TopK(int rows, int k, DeviceTensor x, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public virtual void Dispose() { }

    private NotSupportedException SingleOp() => new($"{Name} runs whole models, not single operations: this needs another device");
}
