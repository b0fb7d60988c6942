using System.Runtime.InteropServices;
using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>A logical device with one compute queue. Only what the shaders cannot do without is asked for.</summary>
internal sealed unsafe class VulkanDevice : IDisposable
{
    private readonly Lock _queueLock = new();
    private readonly Queue _queue;
    private volatile bool _lost;

    /// <summary>Opens a device. Throws <see cref="VulkanException"/>.</summary>
    public VulkanDevice(VulkanOptions options)
    {
        Instance = new(options.Validation, options.Loader);
        try
        {
            var all = VulkanDevices.Sorted(Instance);
            if (options.Device < 0 || options.Device >= all.Count)
                throw new VulkanException(VulkanFault.NoDevice, $"vulkan:{options.Device} is not there; found {string.Join(", ", all.Select(d => $"vulkan:{d.Info.Index} {d.Info.Name}"))}");
            (Physical, Info) = all[options.Device];
            Family = ComputeFamily();
            PhysicalDeviceVulkan12Features have12 = new() { SType = StructureType.PhysicalDeviceVulkan12Features };
            PhysicalDeviceFeatures2 have = new() { SType = StructureType.PhysicalDeviceFeatures2, PNext = &have12 };
            Api.GetPhysicalDeviceFeatures2(Physical, &have);
            if (!have12.TimelineSemaphore)
                throw new VulkanException(VulkanFault.MissingFeature, $"{Info.Name}: has no timeline semaphores");
            Addresses = options.BufferDeviceAddress && have12.BufferDeviceAddress;
            PhysicalDeviceProperties properties = Api.GetPhysicalDeviceProperties(Physical);
            Limits = properties.Limits;
            if (options.Profile && !Limits.TimestampComputeAndGraphics)
                throw new VulkanException(VulkanFault.MissingFeature, $"{Info.Name}: has no timestamps to profile with");
            if (!Addresses && Limits.MaxPerStageDescriptorStorageBuffers < Kernels.Arenas)
                throw new VulkanException(VulkanFault.MissingFeature, $"{Info.Name}: has neither buffer device addresses nor {Kernels.Arenas} storage buffers a shader (found {Limits.MaxPerStageDescriptorStorageBuffers})");
            if (!Addresses && !have.Features.ShaderStorageBufferArrayDynamicIndexing)
                throw new VulkanException(VulkanFault.MissingFeature, $"{Info.Name}: has neither buffer device addresses nor indexing of storage buffers");
            Handle = Create();
            Api.GetDeviceQueue(Handle, Family, 0, out _queue);
            Timeline = new(this);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public VulkanInstance Instance { get; }
    public Vk Api => Instance.Api;
    public PhysicalDevice Physical { get; }
    public VulkanDeviceInfo Info { get; }
    public PhysicalDeviceLimits Limits { get; }
    public Device Handle { get; }
    public uint Family { get; }

    /// <summary>Whether shaders use buffer device addresses; else bound storage buffers.</summary>
    public bool Addresses { get; }

    /// <summary>Counts submissions.</summary>
    public Timeline Timeline { get; } = null!;

    /// <summary>Whether the driver has said that the device was lost: from then on nothing is submitted and nothing waited for. Tests set it in the driver's place.</summary>
    internal bool IsLost
    {
        get => _lost;
        set => _lost = value;
    }

    /// <summary>Throws for anything but success, and remembers a lost device.</summary>
    public void Check(Result result, string what)
    {
        if (result == Result.Success)
            return;
        if (result == Result.ErrorDeviceLost)
            _lost = true;
        VulkanException.Check(result, $"{Info.Name}: {what}");
    }

    /// <summary>Submits a command buffer behind all before it. Returns the timeline's value when it is done.</summary>
    public ulong Submit(CommandBuffer commands)
    {
        lock (_queueLock)
        {
            // A submission that fails signals nothing: nobody may wait for its value.
            ulong value = Timeline.Last + 1;
            Silk.NET.Vulkan.Semaphore semaphore = Timeline.Semaphore;
            TimelineSemaphoreSubmitInfo values = new() { SType = StructureType.TimelineSemaphoreSubmitInfo, SignalSemaphoreValueCount = 1, PSignalSemaphoreValues = &value };
            SubmitInfo info = new() { SType = StructureType.SubmitInfo, PNext = &values, CommandBufferCount = 1, PCommandBuffers = &commands, SignalSemaphoreCount = 1, PSignalSemaphores = &semaphore };
            Check(IsLost ? Result.ErrorDeviceLost : Api.QueueSubmit(_queue, 1, &info, default), "vkQueueSubmit");
            return Timeline.Last = value;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Handle.Handle != 0)
        {
            // A lost device has nothing to wait for.
            _ = Api.DeviceWaitIdle(Handle);
            Timeline?.Dispose();
            Api.DestroyDevice(Handle, null);
        }
        Instance.Dispose();
    }

    private uint ComputeFamily()
    {
        uint count = 0;
        Api.GetPhysicalDeviceQueueFamilyProperties(Physical, &count, null);
        QueueFamilyProperties* families = stackalloc QueueFamilyProperties[(int)count];
        Api.GetPhysicalDeviceQueueFamilyProperties(Physical, &count, families);
        for (uint i = 0; i < count; i++)
            if ((families[i].QueueFlags & QueueFlags.ComputeBit) != 0)
                return i;
        throw new VulkanException(VulkanFault.MissingFeature, $"{Info.Name}: has no queue for compute");
    }

    private Device Create()
    {
        using NativeStrings names = new();
        float priority = 1;
        DeviceQueueCreateInfo queue = new() { SType = StructureType.DeviceQueueCreateInfo, QueueFamilyIndex = Family, QueueCount = 1, PQueuePriorities = &priority };
        PhysicalDeviceVulkan12Features features = new() { SType = StructureType.PhysicalDeviceVulkan12Features, TimelineSemaphore = true, BufferDeviceAddress = Addresses };
        PhysicalDeviceFeatures core = new() { ShaderStorageBufferArrayDynamicIndexing = !Addresses };
        // A driver on top of another API (MoltenVK) must be told that one knows.
        bool subset = HasExtension("VK_KHR_portability_subset");
        byte** extensions = stackalloc byte*[1] { names.Of("VK_KHR_portability_subset") };
        DeviceCreateInfo info = new()
        {
            SType = StructureType.DeviceCreateInfo,
            PNext = &features,
            PEnabledFeatures = &core,
            QueueCreateInfoCount = 1,
            PQueueCreateInfos = &queue,
            EnabledExtensionCount = subset ? 1u : 0,
            PpEnabledExtensionNames = extensions,
        };
        VulkanException.Check(Api.CreateDevice(Physical, &info, null, out Device device), $"vkCreateDevice on {Info.Name}");
        return device;
    }

    private bool HasExtension(string name)
    {
        uint count = 0;
        VulkanException.Check(Api.EnumerateDeviceExtensionProperties(Physical, (byte*)null, &count, null), "vkEnumerateDeviceExtensionProperties");
        ExtensionProperties[] all = new ExtensionProperties[count];
        fixed (ExtensionProperties* p = all)
        {
            VulkanException.Check(Api.EnumerateDeviceExtensionProperties(Physical, (byte*)null, &count, p), "vkEnumerateDeviceExtensionProperties");
            for (uint i = 0; i < count; i++)
                if (Marshal.PtrToStringUTF8((nint)p[i].ExtensionName) == name)
                    return true;
        }
        return false;
    }
}
