using EdgeLora.Core;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace EdgeLora.Onnx;

/// <summary>
/// Keys and values in a provider's own memory, as DirectML's attention needs them: past and present are one buffer there, and never come to the host. Every cache has room for the whole context from the
/// start, so none grows.
/// </summary>
internal sealed class DeviceCaches : HostStorage
{
    private const string From = "from", To = "to";

    private readonly InferenceSession _copy;
    private readonly OrtMemoryInfo _memory;
    private readonly OrtAllocator _allocator;
    private readonly RunOptions _run = new();
    private readonly int _planes;

    /// <summary>Caches of a device.</summary>
    /// <param name="options">What sessions on the device are opened with.</param>
    /// <param name="memory">ONNX Runtime's name of the device's memory: DML, Cpu.</param>
    /// <param name="type">What keys and values are stored as.</param>
    /// <param name="planes">K.</param>
    public DeviceCaches(SessionOptions options, string memory, OnnxType type, int planes)
    {
        // Also the session whose allocator the caches come from: ONNX Runtime gives none without one.
        OnnxGraph graph = new("copy");
        graph.Input(From, type, 1, planes, "C", "Hd");
        graph.Node("Identity", [From], To);
        graph.Output(To, type, 1, planes, "C", "Hd");
        _planes = planes;
        _copy = new(graph.ToModel(), options);
        _memory = new(memory, OrtAllocatorType.DeviceAllocator, 0, OrtMemType.Default);
        _allocator = new(_copy, _memory);
    }

    /// <inheritdoc/>
    public override string Name => "caches";

    /// <inheritdoc/>
    public override string Description => "keys and values in a provider's memory";

    /// <inheritdoc/>
    public override DeviceTensor Allocate(string name, DType type, Shape shape) =>
        new DeviceCache(name, type, shape, OrtValue.CreateAllocatedTensorValue(_allocator, (TensorElementType)GraphTensor.TypeOf(type), [1, _planes, shape[0] / _planes, shape.Columns]));

    /// <summary>Copies a whole cache when its first plane is asked for: all are of one size, and what stands behind the tokens that are wanted is not looked at.</summary>
    public override void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows)
    {
        if (source.Shape != destination.Shape)
            throw new InvalidOperationException($"{source.Name}: a cache of {source.Shape} cannot be copied to one of {destination.Shape}");
        if (sourceRow > 0)
            return;
        using OrtIoBinding binding = _copy.CreateIoBinding();
        binding.BindInput(From, ((DeviceCache)source).Value);
        binding.BindOutput(To, ((DeviceCache)destination).Value);
        _copy.RunWithBinding(_run, binding);
        binding.SynchronizeBoundOutputs();
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _allocator.Dispose();
        _memory.Dispose();
        _copy.Dispose();
        _run.Dispose();
    }
}

/// <summary>One layer's keys or values in a provider's memory.</summary>
internal sealed class DeviceCache(string name, DType type, Shape shape, OrtValue value) : DeviceTensor(name, type, shape)
{
    /// <summary>[1, K, capacity, Hd].</summary>
    public OrtValue Value => value;

    /// <inheritdoc/>
    public override float[] ToFloats() => throw new NotSupportedException($"{Name}: stays in the device's memory");

    /// <inheritdoc/>
    public override void Dispose() => value.Dispose();
}
