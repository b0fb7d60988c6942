using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>One adapter's tensors on a device, uploaded once whatever the number of paths through it.</summary>
public sealed class ResidentAdapter : IDisposable
{
    private readonly Dictionary<Tensor, DeviceTensor> _tensors = [];
    private readonly IComputeBackend _backend;

    private ResidentAdapter(LoraAdapter adapter, IComputeBackend backend)
    {
        Adapter = adapter;
        _backend = backend;
    }

    /// <summary>The adapter.</summary>
    public LoraAdapter Adapter { get; }

    /// <summary>Bytes of its tensors.</summary>
    public long ByteLength => Adapter.ByteLength;

    /// <summary>Reads, checks and uploads an adapter. Throws <see cref="ModelFileException"/> with every fault.</summary>
    public static ResidentAdapter Load(string path, string name, SiteCatalog sites, IComputeBackend backend) => new(LoraAdapter.Load(path, name, sites), backend);

    /// <summary>The device's tensor; uploaded on first use.</summary>
    internal DeviceTensor Device(Tensor tensor) => _tensors.TryGetValue(tensor, out DeviceTensor? known) ? known : _tensors[tensor] = _backend.Upload(tensor);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (DeviceTensor tensor in _tensors.Values)
            tensor.Dispose();
        Adapter.Dispose();
    }
}
