using EdgeLora.Core;
using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>What went wrong with a Vulkan device.</summary>
public enum VulkanFault
{
    /// <summary>There is no Vulkan loader (libvulkan.so.1, vulkan-1.dll) on this machine.</summary>
    NoLoader,
    /// <summary>There is a loader, but no driver, or none that starts.</summary>
    NoDriver,
    /// <summary>No device of this number.</summary>
    NoDevice,
    /// <summary>The device lacks something that the backend cannot do without.</summary>
    MissingFeature,
    /// <summary>Out of device or host memory.</summary>
    OutOfMemory,
    /// <summary>The device stopped answering (reset, unplugged, a driver's crash). The backend is of no more use.</summary>
    DeviceLost,
    /// <summary>The validation layers found an error.</summary>
    Validation,
    /// <summary>A call failed otherwise.</summary>
    Failed,
}

/// <summary>A Vulkan device could not be used, or stopped working.</summary>
/// <param name="fault">What kind of fault.</param>
/// <param name="message">What was asked, what was found.</param>
public sealed class VulkanException(VulkanFault fault, string message) : DeviceException(message)
{
    /// <summary>What kind of fault.</summary>
    public VulkanFault Fault { get; } = fault;

    /// <summary>Throws for anything but success.</summary>
    internal static void Check(Result result, string what)
    {
        if (result == Result.Success)
            return;
        throw result switch
        {
            Result.ErrorOutOfDeviceMemory => new VulkanException(VulkanFault.OutOfMemory, $"{what}: the device is out of memory"),
            Result.ErrorOutOfHostMemory => new VulkanException(VulkanFault.OutOfMemory, $"{what}: the driver is out of host memory"),
            Result.ErrorDeviceLost => new VulkanException(VulkanFault.DeviceLost, $"{what}: the device was lost"),
            Result.ErrorIncompatibleDriver => new VulkanException(VulkanFault.NoDriver, $"there is a Vulkan loader, but no driver for Vulkan 1.2 ({what})"),
            Result.ErrorInitializationFailed => new VulkanException(VulkanFault.NoDriver, $"{what}: the driver did not start"),
            Result.ErrorFeatureNotPresent or Result.ErrorExtensionNotPresent or Result.ErrorLayerNotPresent => new VulkanException(VulkanFault.MissingFeature, $"{what}: {result}"),
            _ => new VulkanException(VulkanFault.Failed, $"{what}: {result}"),
        };
    }
}
