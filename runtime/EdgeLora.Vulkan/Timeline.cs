using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>A timeline semaphore that counts finished submissions.</summary>
internal sealed unsafe class Timeline : IDisposable
{
    private readonly VulkanDevice _device;
    private ulong _last;

    /// <summary>From 0.</summary>
    public Timeline(VulkanDevice device)
    {
        _device = device;
        SemaphoreTypeCreateInfo type = new() { SType = StructureType.SemaphoreTypeCreateInfo, SemaphoreType = SemaphoreType.Timeline };
        SemaphoreCreateInfo info = new() { SType = StructureType.SemaphoreCreateInfo, PNext = &type };
        VulkanException.Check(device.Api.CreateSemaphore(device.Handle, &info, null, out Silk.NET.Vulkan.Semaphore semaphore), "vkCreateSemaphore");
        Semaphore = semaphore;
    }

    public Silk.NET.Vulkan.Semaphore Semaphore { get; }

    /// <summary>The value of the last submission.</summary>
    public ulong Last
    {
        get => Volatile.Read(ref _last);
        set => Volatile.Write(ref _last, value);
    }

    /// <summary>The value that the submissions done so far have reached. A lost device does no more: all.</summary>
    public ulong Done
    {
        get
        {
            if (_device.IsLost)
                return Last;
            ulong value;
            _device.Check(_device.Api.GetSemaphoreCounterValue(_device.Handle, Semaphore, &value), "vkGetSemaphoreCounterValue");
            return value;
        }
    }

    /// <summary>Waits for a submission. Throws <see cref="VulkanException"/>, at once, where the device was lost.</summary>
    public void Wait(ulong value)
    {
        Silk.NET.Vulkan.Semaphore semaphore = Semaphore;
        SemaphoreWaitInfo info = new() { SType = StructureType.SemaphoreWaitInfo, SemaphoreCount = 1, PSemaphores = &semaphore, PValues = &value };
        _device.Check(_device.IsLost ? Result.ErrorDeviceLost : _device.Api.WaitSemaphores(_device.Handle, &info, ulong.MaxValue), "vkWaitSemaphores");
    }

    /// <inheritdoc/>
    public void Dispose() => _device.Api.DestroySemaphore(_device.Handle, Semaphore, null);
}
