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
    public ulong Last => Volatile.Read(ref _last);

    /// <summary>The value that the submissions done so far have reached.</summary>
    public ulong Done
    {
        get
        {
            ulong value;
            VulkanException.Check(_device.Api.GetSemaphoreCounterValue(_device.Handle, Semaphore, &value), "vkGetSemaphoreCounterValue");
            return value;
        }
    }

    /// <summary>The next submission's value.</summary>
    public ulong Next() => ++_last;

    /// <summary>Waits for a submission.</summary>
    public void Wait(ulong value)
    {
        Silk.NET.Vulkan.Semaphore semaphore = Semaphore;
        SemaphoreWaitInfo info = new() { SType = StructureType.SemaphoreWaitInfo, SemaphoreCount = 1, PSemaphores = &semaphore, PValues = &value };
        VulkanException.Check(_device.Api.WaitSemaphores(_device.Handle, &info, ulong.MaxValue), "vkWaitSemaphores");
    }

    /// <inheritdoc/>
    public void Dispose() => _device.Api.DestroySemaphore(_device.Handle, Semaphore, null);
}
