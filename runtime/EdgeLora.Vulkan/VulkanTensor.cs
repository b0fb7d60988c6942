using EdgeLora.Core;

namespace EdgeLora.Vulkan;

/// <summary>Numbers of the weight types in shaders/common/weights.glsl.</summary>
internal enum WeightType : uint
{
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
}

/// <summary>A tensor in device memory. Quantised types lie as two planes: all quants, then all scales.</summary>
internal sealed class VulkanTensor : DeviceTensor
{
    private readonly VulkanBackend _backend;
    private Allocation? _allocation;

    public VulkanTensor(VulkanBackend backend, string name, DType type, Shape shape, Allocation allocation) : base(name, type, shape)
    {
        _backend = backend;
        _allocation = allocation;
        Address = allocation.Address;
        ScalesWord = type switch
        {
            DType.Q8_0 => checked((uint)(shape.Elements / 32 * 8)),
            DType.Q4_0 => checked((uint)(shape.Elements / 32 * 4)),
            _ => 0,
        };
        Kind = type switch
        {
            DType.F16 => WeightType.F16,
            DType.BF16 => WeightType.BF16,
            DType.Q8_0 => WeightType.Q8_0,
            DType.Q4_0 => WeightType.Q4_0,
            _ => WeightType.F32,
        };
    }

    /// <summary>What shaders take as its address.</summary>
    public ulong Address { get; }

    /// <summary>Word index of the scales of a quantised tensor; else 0.</summary>
    public uint ScalesWord { get; }

    /// <summary>Element type as shaders number it.</summary>
    public WeightType Kind { get; }

    /// <summary>Where it lies. Throws <see cref="ObjectDisposedException"/> after <see cref="Dispose"/>.</summary>
    public Allocation Allocation => _allocation ?? throw new ObjectDisposedException(Name);

    /// <summary>Whether a path's or a cache's table points to it: ops read it without naming it.</summary>
    public bool Indirect { get; set; }

    /// <inheritdoc/>
    public override long AllocatedBytes => _allocation?.Bytes ?? 0;

    /// <inheritdoc/>
    public override float[] ToFloats() => _backend.ToFloats(this);

    /// <inheritdoc/>
    public override void Dispose()
    {
        if (Interlocked.Exchange(ref _allocation, null) is { } allocation)
            _backend.Release(allocation, MemoryUse.Device);
    }
}
