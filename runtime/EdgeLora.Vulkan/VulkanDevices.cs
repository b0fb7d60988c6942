using System.Runtime.InteropServices;
using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>The Vulkan devices of this machine.</summary>
public static unsafe class VulkanDevices
{
    /// <summary>All of them, best first; none where there is no loader or no driver, with the reason in <paramref name="why"/>.</summary>
    public static IReadOnlyList<VulkanDeviceInfo> All(out string? why)
    {
        try
        {
            using VulkanInstance instance = new(VulkanValidation.Off, VulkanOptions.LoaderFromEnvironment());
            why = null;
            return [.. Sorted(instance).Select(d => d.Info)];
        }
        catch (VulkanException e) when (e.Fault is VulkanFault.NoLoader or VulkanFault.NoDriver)
        {
            why = e.Message;
            return [];
        }
    }

    /// <summary>Discrete before integrated before virtual before CPU drivers, else in the driver's order.</summary>
    internal static IReadOnlyList<(PhysicalDevice Device, VulkanDeviceInfo Info)> Sorted(VulkanInstance instance)
    {
        (PhysicalDevice Device, VulkanDeviceInfo Info)[] all = [.. instance.PhysicalDevices().Select(d => (d, Describe(instance.Api, d))).OrderBy(d => d.Item2.Kind)];
        return [.. all.Select((d, i) => (d.Device, d.Info with { Index = i }))];
    }

    private static VulkanDeviceInfo Describe(Vk api, PhysicalDevice device)
    {
        PhysicalDeviceDriverProperties driver = new() { SType = StructureType.PhysicalDeviceDriverProperties };
        PhysicalDeviceIDProperties id = new() { SType = StructureType.PhysicalDeviceIDProperties, PNext = &driver };
        PhysicalDeviceProperties2 properties = new() { SType = StructureType.PhysicalDeviceProperties2, PNext = &id };
        api.GetPhysicalDeviceProperties2(device, &properties);
        PhysicalDeviceMemoryProperties memory;
        api.GetPhysicalDeviceMemoryProperties(device, &memory);
        long bytes = 0;
        for (int i = 0; i < memory.MemoryHeapCount; i++)
            if (memory.MemoryHeaps[i].Flags.HasFlag(MemoryHeapFlags.DeviceLocalBit))
                bytes += (long)memory.MemoryHeaps[i].Size;
        VulkanDeviceKind kind = properties.Properties.DeviceType switch
        {
            PhysicalDeviceType.DiscreteGpu => VulkanDeviceKind.Discrete,
            PhysicalDeviceType.IntegratedGpu => VulkanDeviceKind.Integrated,
            PhysicalDeviceType.VirtualGpu => VulkanDeviceKind.Virtual,
            PhysicalDeviceType.Cpu => VulkanDeviceKind.Cpu,
            _ => VulkanDeviceKind.Other,
        };
        uint version = properties.Properties.ApiVersion;
        string driverName = $"{Marshal.PtrToStringUTF8((nint)driver.DriverName)} {Marshal.PtrToStringUTF8((nint)driver.DriverInfo)}".Trim();
        return new(0, Marshal.PtrToStringUTF8((nint)properties.Properties.DeviceName) ?? "?", kind, new Guid(new ReadOnlySpan<byte>(id.DeviceUuid, 16), bigEndian: true), driverName, bytes,
            $"{version >> 22 & 127}.{version >> 12 & 1023}.{version & 4095}");
    }
}
