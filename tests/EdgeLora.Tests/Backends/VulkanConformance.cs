using EdgeLora.Core;
using EdgeLora.Vulkan;

namespace EdgeLora.Tests.Backends;

/// <summary>The Vulkan backend by buffer device addresses.</summary>
public sealed class VulkanConformance : BackendConformance
{
    /// <inheritdoc/>
    protected override IComputeBackend Backend { get; } = VulkanDriver.Backend();
}

/// <summary>Without buffer device addresses: bound storage buffers.</summary>
public sealed class VulkanStorageBufferConformance : BackendConformance
{
    /// <inheritdoc/>
    protected override IComputeBackend Backend { get; } = VulkanDriver.Backend(addresses: false);
}

/// <summary>The Vulkan backend's backward ops by buffer device addresses.</summary>
public sealed class VulkanBackwardConformance : BackwardConformance
{
    /// <inheritdoc/>
    protected override ITrainingBackend Backend { get; } = VulkanDriver.Backend();
}

/// <summary>Without buffer device addresses: bound storage buffers.</summary>
public sealed class VulkanStorageBufferBackwardConformance : BackwardConformance
{
    /// <inheritdoc/>
    protected override ITrainingBackend Backend { get; } = VulkanDriver.Backend(addresses: false);
}
