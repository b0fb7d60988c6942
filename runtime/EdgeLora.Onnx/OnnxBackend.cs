using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Onnx;

/// <summary>
/// ONNX Runtime as a device. Tensors lie in host memory, a mapped checkpoint where it is; a model loaded onto it runs as graphs recorded from its own forward pass. It cannot run single ops, so
/// nothing trains on it.
/// </summary>
public sealed class OnnxBackend : IWholeModelBackend
{
    private readonly string _description;

    /// <summary>Opens a device. Throws <see cref="DeviceException"/> where it is not here, <see cref="ArgumentException"/> for an id that is none of <see cref="OnnxDevices"/>.</summary>
    /// <param name="id">Such as <c>onnx:cpu</c>, <c>onnx:dml:1</c>.</param>
    /// <param name="threads">Threads inside an operator on the CPU; 0: one a core.</param>
    /// <param name="options">How graphs compute; null: F32.</param>
    public OnnxBackend(string id, int threads = 0, OnnxOptions? options = null)
    {
        (Name, Threads, Options) = (id, threads, options ?? new());
        using (OnnxDevices.Options(id, threads))
            _description = $"ONNX Runtime {OnnxRuntimeLibrary.Version}, {(IsDirectMl ? "DirectML" : "CPU")}, {(Options.Half ? "F16" : "F32")}";
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public string Description => _description;

    /// <summary>How graphs compute.</summary>
    public OnnxOptions Options { get; }

    /// <summary>Whether it is a GPU through DirectML.</summary>
    internal bool IsDirectMl => Name.StartsWith("onnx:dml", StringComparison.Ordinal);

    internal int Threads { get; }

    /// <inheritdoc/>
    public ICausalLM Compile(DecoderModel model) => new OnnxCausalLM(model, this);

    /// <inheritdoc/>
    public DeviceTensor Upload(Tensor tensor) => tensor.Type.IsWeight()
        ? new HostTensor(tensor)
        : throw new NotSupportedException($"{tensor.Name}: {tensor.Type} cannot be a weight; expected F32, F16, BF16, Q8_0 or Q4_0");

    /// <inheritdoc/>
    public DeviceTensor Allocate(string name, DType type, Shape shape) => new HostTensor(name, type, shape);

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row) => values.CopyTo(((HostTensor)destination).Floats[(row * destination.Columns)..]);

    /// <inheritdoc/>
    public void Read(DeviceTensor source, int row, Span<float> destination) => ((HostTensor)source).ReadFloats.Slice(row * source.Columns, destination.Length).CopyTo(destination);

    /// <inheritdoc/>
    public void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows) =>
        ((HostTensor)source).ReadFloats.Slice(sourceRow * source.Columns, rows * source.Columns).CopyTo(((HostTensor)destination).Floats[(destinationRow * source.Columns)..]);

    /// <inheritdoc/>
    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns) => throw SingleOp();

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
    public void SwiGlu(int rows, DeviceTensor gate, DeviceTensor up, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y) => throw SingleOp();

    /// <inheritdoc/>
    public void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z) => throw SingleOp();

    /// <inheritdoc/>
    public void Dispose() { }

    private NotSupportedException SingleOp() => new($"{Name} runs whole models, not single operations: this needs another device");
}
