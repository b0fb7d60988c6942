using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>Brings bytes to memory that the host does not see, and waits. Any thread, one at a time.</summary>
internal sealed unsafe class Uploader : IDisposable
{
    private const int StagingBytes = 8 << 20;

    private readonly Lock _lock = new();
    private readonly VulkanDevice _device;
    private readonly MemoryPool _memory;
    private readonly CommandPool _pool;
    private readonly CommandBuffer _commands;
    private Allocation? _staging;

    public Uploader(VulkanDevice device, MemoryPool memory)
    {
        (_device, _memory) = (device, memory);
        CommandPoolCreateInfo info = new() { SType = StructureType.CommandPoolCreateInfo, QueueFamilyIndex = device.Family, Flags = CommandPoolCreateFlags.ResetCommandBufferBit };
        VulkanException.Check(device.Api.CreateCommandPool(device.Handle, &info, null, out _pool), "vkCreateCommandPool");
        CommandBufferAllocateInfo allocate = new() { SType = StructureType.CommandBufferAllocateInfo, CommandPool = _pool, Level = CommandBufferLevel.Primary, CommandBufferCount = 1 };
        VulkanException.Check(device.Api.AllocateCommandBuffers(device.Handle, &allocate, out _commands), "vkAllocateCommandBuffers");
    }

    /// <summary>Copies bytes to memory that nothing uses yet.</summary>
    public void Write(ReadOnlySpan<byte> bytes, Allocation destination)
    {
        if (destination.Mapped is not null)
        {
            bytes.CopyTo(destination.Span(0, bytes.Length));
            return;
        }
        lock (_lock)
        {
            _staging ??= _memory.Allocate(MemoryUse.Host, StagingBytes);
            for (int done = 0; done < bytes.Length; done += StagingBytes)
            {
                int count = Math.Min(StagingBytes, bytes.Length - done);
                bytes.Slice(done, count).CopyTo(_staging.Span(0, count));
                Begin();
                BufferCopy copy = new() { SrcOffset = (ulong)_staging.Offset, DstOffset = (ulong)(destination.Offset + done), Size = (ulong)count };
                _device.Api.CmdCopyBuffer(_commands, _staging.Arena.Buffer, destination.Arena.Buffer, 1, &copy);
                End();
            }
        }
    }

    /// <summary>Zeroes memory that nothing uses yet.</summary>
    public void Clear(Allocation destination)
    {
        if (destination.Mapped is not null)
        {
            new Span<byte>(destination.Mapped, checked((int)Math.Min(destination.Bytes, int.MaxValue))).Clear();
            for (long done = int.MaxValue; done < destination.Bytes; done += int.MaxValue)
                destination.Span(done, (int)Math.Min(destination.Bytes - done, int.MaxValue)).Clear();
            return;
        }
        lock (_lock)
        {
            Begin();
            _device.Api.CmdFillBuffer(_commands, destination.Arena.Buffer, (ulong)destination.Offset, (ulong)destination.Bytes, 0);
            End();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _device.Api.DestroyCommandPool(_device.Handle, _pool, null);

    private void Begin()
    {
        CommandBufferBeginInfo begin = new() { SType = StructureType.CommandBufferBeginInfo, Flags = CommandBufferUsageFlags.OneTimeSubmitBit };
        VulkanException.Check(_device.Api.BeginCommandBuffer(_commands, &begin), "vkBeginCommandBuffer");
    }

    private void End()
    {
        MemoryBarrier barrier = new() { SType = StructureType.MemoryBarrier, SrcAccessMask = AccessFlags.TransferWriteBit, DstAccessMask = AccessFlags.ShaderReadBit | AccessFlags.ShaderWriteBit };
        _device.Api.CmdPipelineBarrier(_commands, PipelineStageFlags.TransferBit, PipelineStageFlags.ComputeShaderBit, 0, 1, &barrier, 0, null, 0, null);
        VulkanException.Check(_device.Api.EndCommandBuffer(_commands), "vkEndCommandBuffer");
        _device.Timeline.Wait(_device.Submit(_commands));
    }
}
