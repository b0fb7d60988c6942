using EdgeLora.Core;
using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>One device for the facts of a class, which run one after the other. With checks compiled into them, shaders cost a second each and more.</summary>
public sealed class ClassDevice : IDisposable
{
    private readonly Lazy<VulkanBackend> _backend = new(() => VulkanDriver.Backend());

    /// <summary>The backend; skips or fails as <see cref="VulkanDriver.Require"/> does.</summary>
    public VulkanBackend Backend => _backend.Value;

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_backend.IsValueCreated)
            _backend.Value.Dispose();
    }
}

/// <summary>The Vulkan backend by buffer device addresses.</summary>
public sealed class VulkanConformance(ClassDevice device) : BackendConformance, IClassFixture<ClassDevice>
{
    /// <inheritdoc/>
    protected override IComputeBackend Backend { get; } = device.Backend;

    /// <summary>The device is the class's.</summary>
    public override void Dispose()
    {
    }
}

/// <summary>Without buffer device addresses: bound storage buffers.</summary>
public sealed class VulkanStorageBufferConformance : BackendConformance
{
    /// <inheritdoc/>
    protected override IComputeBackend Backend { get; } = VulkanDriver.Backend(addresses: false);
}

/// <summary>The Vulkan backend's backward ops by buffer device addresses.</summary>
public sealed class VulkanBackwardConformance(ClassDevice device) : BackwardConformance, IClassFixture<ClassDevice>
{
    /// <inheritdoc/>
    protected override ITrainingBackend Backend { get; } = device.Backend;

    /// <summary>The device is the class's.</summary>
    public override void Dispose()
    {
    }
}

/// <summary>Without buffer device addresses: bound storage buffers.</summary>
public sealed class VulkanStorageBufferBackwardConformance : BackwardConformance
{
    /// <inheritdoc/>
    protected override ITrainingBackend Backend { get; } = VulkanDriver.Backend(addresses: false);
}
