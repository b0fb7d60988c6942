using System.IO.Hashing;
using System.Runtime.InteropServices;
using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>
/// One of the frames in flight: a control block that the host fills while the device works on the other frame, and the command buffers that read it. A list that was recorded
/// before in this frame is submitted again as it is.
/// </summary>
internal sealed unsafe class Frame : IDisposable
{
    private const int MostRecordings = 64;

    private readonly VulkanDevice _device;
    private readonly Kernels _kernels;
    private readonly CommandPool _pool;
    private readonly Dictionary<ulong, Recording> _recordings = [];
    private readonly Stack<CommandBuffer> _spare = [];
    private readonly Dictionary<string, (long Dispatches, double Milliseconds)>? _times;
    private Recording? _last;
    private long _uses;
    private ulong _pending;

    /// <param name="device">The device.</param>
    /// <param name="kernels">Its pipelines.</param>
    /// <param name="memory">Its memory.</param>
    /// <param name="times">Where the dispatches' times are added; null: nothing is timed.</param>
    public Frame(VulkanDevice device, Kernels kernels, MemoryPool memory, Dictionary<string, (long Dispatches, double Milliseconds)>? times)
    {
        (_device, _kernels, _times) = (device, kernels, times);
        Control = new(memory);
        CommandPoolCreateInfo info = new() { SType = StructureType.CommandPoolCreateInfo, QueueFamilyIndex = device.Family, Flags = CommandPoolCreateFlags.ResetCommandBufferBit };
        VulkanException.Check(device.Api.CreateCommandPool(device.Handle, &info, null, out _pool), "vkCreateCommandPool");
    }

    /// <summary>What the host writes for the commands of this frame.</summary>
    public ControlBlock Control { get; }

    /// <summary>Command buffers recorded so far.</summary>
    public long Recorded { get; private set; }

    /// <summary>Waits until the frame's last submission is done and empties its control block.</summary>
    public void Begin()
    {
        CollectTimes();
        if (_pending != 0)
            _device.Timeline.Wait(_pending);
        Control.Reset();
    }

    /// <summary>Waits for the frame's last submission and adds its times, once, where it is profiled.</summary>
    public void CollectTimes()
    {
        if (_last?.Timer is not { } timer)
            return;
        _device.Timeline.Wait(_pending);
        timer.Collect(_times!);
        _last = null;
    }

    /// <summary>Submits a list, recorded anew only where it is new to this frame. Returns the timeline's value when it is done.</summary>
    public ulong Submit(CommandList list, DescriptorSet arenas)
    {
        ulong hash = XxHash3.HashToUInt64(list.Bytes);
        if (!_recordings.TryGetValue(hash, out Recording? recording) || !list.Bytes.SequenceEqual(recording.List))
        {
            if (recording is not null)
                Drop(hash);
            else if (_recordings.Count == MostRecordings)
                Drop(_recordings.MinBy(r => r.Value.LastUse).Key);
            recording = new(list.Bytes.ToArray(), _spare.TryPop(out CommandBuffer commands) ? commands : New());
            Record(recording, arenas);
            _recordings[hash] = recording;
        }
        recording.LastUse = ++_uses;
        _last = recording;
        return _pending = _device.Submit(recording.Commands);
    }

    /// <summary>Forgets every recording: what they refer to has changed. Nothing may be in flight.</summary>
    public void Forget()
    {
        foreach (ulong hash in _recordings.Keys.ToArray())
            Drop(hash);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Forget();
        _device.Api.DestroyCommandPool(_device.Handle, _pool, null);
    }

    private void Drop(ulong hash)
    {
        _recordings.Remove(hash, out Recording? old);
        _spare.Push(old!.Commands);
        old.Timer?.Dispose();
        if (_last == old)
            _last = null;
    }

    private CommandBuffer New()
    {
        CommandBufferAllocateInfo info = new() { SType = StructureType.CommandBufferAllocateInfo, CommandPool = _pool, Level = CommandBufferLevel.Primary, CommandBufferCount = 1 };
        VulkanException.Check(_device.Api.AllocateCommandBuffers(_device.Handle, &info, out CommandBuffer commands), "vkAllocateCommandBuffers");
        return commands;
    }

    private void Record(Recording recording, DescriptorSet arenas)
    {
        Vk api = _device.Api;
        CommandBuffer commands = recording.Commands;
        CommandBufferBeginInfo begin = new() { SType = StructureType.CommandBufferBeginInfo };
        VulkanException.Check(api.BeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
        if (arenas.Handle != 0)
            api.CmdBindDescriptorSets(commands, PipelineBindPoint.Compute, _kernels.Layout, 0, 1, &arenas, 0, null);
        int level = -1;
        ulong bound = 0;
        Scheduled[] all = Schedule.Of(recording.List);
        if (_times is not null && all.Length > 0)
        {
            recording.Timer = new(_device, all.Length);
            recording.Timer.Reset(commands, all.Length);
        }
        foreach (Scheduled scheduled in all)
        {
            CommandHeader header = MemoryMarshal.Read<CommandHeader>(recording.List.AsSpan(scheduled.At));
            // The first level waits for the submissions before this one.
            if (scheduled.Level != level || recording.Timer is not null)
                Barrier(commands, PipelineStageFlags.ComputeShaderBit, AccessFlags.ShaderReadBit | AccessFlags.ShaderWriteBit);
            level = scheduled.Level;
            Kernel kernel = _kernels[header.Kernel];
            if (kernel.Pipeline.Handle != bound)
                api.CmdBindPipeline(commands, PipelineBindPoint.Compute, kernel.Pipeline);
            bound = kernel.Pipeline.Handle;
            fixed (byte* push = Schedule.Push(recording.List, scheduled.At, header))
                api.CmdPushConstants(commands, _kernels.Layout, ShaderStageFlags.ComputeBit, 0, (uint)header.PushBytes, push);
            recording.Timer?.Before(commands, kernel.Name);
            api.CmdDispatch(commands, header.X, header.Y, header.Z);
            recording.Timer?.After(commands);
        }
        Barrier(commands, PipelineStageFlags.HostBit, AccessFlags.HostReadBit);
        VulkanException.Check(api.EndCommandBuffer(commands), "vkEndCommandBuffer");
        Recorded++;
    }

    private void Barrier(CommandBuffer commands, PipelineStageFlags stage, AccessFlags access)
    {
        MemoryBarrier barrier = new() { SType = StructureType.MemoryBarrier, SrcAccessMask = AccessFlags.ShaderReadBit | AccessFlags.ShaderWriteBit, DstAccessMask = access };
        _device.Api.CmdPipelineBarrier(commands, PipelineStageFlags.ComputeShaderBit, stage, 0, 1, &barrier, 0, null, 0, null);
    }
}
