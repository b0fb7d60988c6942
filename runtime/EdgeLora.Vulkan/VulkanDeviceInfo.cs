namespace EdgeLora.Vulkan;

/// <summary>What kind of processor a device is, best first.</summary>
public enum VulkanDeviceKind
{
    /// <summary>A card with memory of its own.</summary>
    Discrete,
    /// <summary>A GPU in the processor: shares its memory.</summary>
    Integrated,
    /// <summary>A GPU that a virtual machine sees.</summary>
    Virtual,
    /// <summary>A driver that computes on the CPU (lavapipe, SwiftShader).</summary>
    Cpu,
    /// <summary>Anything else.</summary>
    Other,
}

/// <summary>A Vulkan device of this machine.</summary>
/// <param name="Index">Its number in <c>vulkan:N</c>: discrete before integrated before virtual before CPU drivers, then in the driver's order.</param>
/// <param name="Name">The driver's name for it.</param>
/// <param name="Kind">What kind of processor it is.</param>
/// <param name="Uuid">Its UUID: the same whenever the same device and driver are there.</param>
/// <param name="Driver">Driver and version.</param>
/// <param name="MemoryBytes">Bytes of its device-local memory.</param>
/// <param name="ApiVersion">Vulkan version, such as 1.3.230.</param>
public sealed record VulkanDeviceInfo(int Index, string Name, VulkanDeviceKind Kind, Guid Uuid, string Driver, long MemoryBytes, string ApiVersion);
