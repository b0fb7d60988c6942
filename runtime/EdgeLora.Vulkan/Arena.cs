using Silk.NET.Vulkan;
using Buffer = Silk.NET.Vulkan.Buffer;

namespace EdgeLora.Vulkan;

/// <summary>A range of an arena. Addresses may be offset by bytes.</summary>
/// <param name="arena">Where it lies.</param>
/// <param name="offset">Bytes from the arena's start; a multiple of <see cref="Arena.Alignment"/>.</param>
/// <param name="bytes">Its size, rounded up to the alignment.</param>
internal sealed class Allocation(Arena arena, long offset, long bytes)
{
    public Arena Arena { get; } = arena;
    public long Offset { get; } = offset;
    public long Bytes { get; } = bytes;

    /// <summary>What a shader takes as its address.</summary>
    public ulong Address { get; } = arena.Address + (ulong)offset;

    // Not public: a record prints what is, and NativeAOT cannot compile the printing of a pointer.
    /// <summary>Host address; null where the host does not see the memory.</summary>
    internal unsafe byte* Mapped => Arena.Mapped is null ? null : Arena.Mapped + Offset;

    /// <summary>The bytes of an allocation that the host sees.</summary>
    public unsafe Span<byte> Span(long start, int count) => new(Mapped + start, count);
}

/// <summary>One large buffer with memory of its own, given out in ranges: first fit, neighbours joined when they come back.</summary>
internal sealed unsafe class Arena : IDisposable
{
    /// <summary>Ranges start at multiples of this.</summary>
    public const long Alignment = 256;

    private readonly VulkanDevice _device;
    private readonly DeviceMemory _memory;
    private readonly SortedList<long, long> _free = [];

    /// <summary>Allocates <paramref name="bytes"/>. Throws <see cref="VulkanException"/> of <see cref="VulkanFault.OutOfMemory"/>.</summary>
    /// <param name="device">The device.</param>
    /// <param name="bytes">Size.</param>
    /// <param name="use">What it is for.</param>
    /// <param name="index">Its number among bound storage buffers; addresses of a device without buffer device addresses carry it.</param>
    public Arena(VulkanDevice device, long bytes, MemoryUse use, int index)
    {
        _device = device;
        Bytes = bytes;
        PhysicalDeviceMemoryProperties memory;
        device.Api.GetPhysicalDeviceMemoryProperties(device.Physical, &memory);
        if (MemoryChoice.Types(memory, uint.MaxValue, use, (ulong)bytes).Count == 0)
            throw new VulkanException(VulkanFault.OutOfMemory, $"{device.Info.Name}: has no memory of {bytes} bytes");
        BufferUsageFlags usage = BufferUsageFlags.StorageBufferBit | BufferUsageFlags.TransferDstBit | BufferUsageFlags.TransferSrcBit;
        BufferCreateInfo info = new() { SType = StructureType.BufferCreateInfo, Size = (ulong)bytes, Usage = device.Addresses ? usage | BufferUsageFlags.ShaderDeviceAddressBit : usage };
        VulkanException.Check(device.Api.CreateBuffer(device.Handle, &info, null, out Buffer buffer), $"vkCreateBuffer of {bytes} bytes");
        Buffer = buffer;
        try
        {
            MemoryRequirements needs = device.Api.GetBufferMemoryRequirements(device.Handle, buffer);
            int type = Allocate(MemoryChoice.Types(memory, needs.MemoryTypeBits, use, needs.Size), needs.Size, out _memory);
            VulkanException.Check(device.Api.BindBufferMemory(device.Handle, buffer, _memory, 0), "vkBindBufferMemory");
            if (MemoryChoice.IsMapped(memory, type))
            {
                void* mapped;
                VulkanException.Check(device.Api.MapMemory(device.Handle, _memory, 0, Vk.WholeSize, 0, &mapped), "vkMapMemory");
                Mapped = (byte*)mapped;
            }
            Address = device.Addresses ? DeviceAddress() : (ulong)(index + 1) << 32;
        }
        catch
        {
            Dispose();
            throw;
        }
        _free.Add(0, bytes);
    }

    public long Bytes { get; }
    public Buffer Buffer { get; }
    public ulong Address { get; }
    public byte* Mapped { get; }

    /// <summary>Whether nothing of it is given out.</summary>
    public bool Empty => _free.Count == 1 && _free.Values[0] == Bytes;

    /// <summary>A range; null where no gap is wide enough.</summary>
    public Allocation? TryAllocate(long bytes)
    {
        for (int i = 0; i < _free.Count; i++)
        {
            (long start, long length) = (_free.Keys[i], _free.Values[i]);
            if (length < bytes)
                continue;
            _free.RemoveAt(i);
            if (length > bytes)
                _free.Add(start + bytes, length - bytes);
            return new(this, start, bytes);
        }
        return null;
    }

    /// <summary>Takes a range back.</summary>
    public void Free(Allocation allocation)
    {
        (long start, long length) = (allocation.Offset, allocation.Bytes);
        _free.Add(start, length);
        int i = _free.IndexOfKey(start);
        if (i + 1 < _free.Count && _free.Keys[i + 1] == start + length)
        {
            length += _free.Values[i + 1];
            _free.RemoveAt(i + 1);
            _free.SetValueAtIndex(i, length);
        }
        if (i > 0 && _free.Keys[i - 1] + _free.Values[i - 1] == start)
        {
            _free.SetValueAtIndex(i - 1, _free.Values[i - 1] + length);
            _free.RemoveAt(i);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _device.Api.DestroyBuffer(_device.Handle, Buffer, null);
        if (_memory.Handle != 0)
            _device.Api.FreeMemory(_device.Handle, _memory, null);
    }

    // The first type that has room. Returns it.
    private int Allocate(IReadOnlyList<int> types, ulong bytes, out DeviceMemory memory)
    {
        memory = default;
        Result result = Result.ErrorOutOfDeviceMemory;
        foreach (int type in types)
        {
            MemoryAllocateFlagsInfo flags = new() { SType = StructureType.MemoryAllocateFlagsInfo, Flags = MemoryAllocateFlags.DeviceAddressBit };
            MemoryAllocateInfo allocate = new() { SType = StructureType.MemoryAllocateInfo, PNext = _device.Addresses ? &flags : null, AllocationSize = bytes, MemoryTypeIndex = (uint)type };
            result = _device.Api.AllocateMemory(_device.Handle, &allocate, null, out memory);
            if (result == Result.Success)
                return type;
            if (result is not (Result.ErrorOutOfDeviceMemory or Result.ErrorOutOfHostMemory))
                break;
        }
        VulkanException.Check(result, $"{bytes} bytes on {_device.Info.Name}");
        return -1;
    }

    private ulong DeviceAddress()
    {
        BufferDeviceAddressInfo info = new() { SType = StructureType.BufferDeviceAddressInfo, Buffer = Buffer };
        return _device.Api.GetBufferDeviceAddress(_device.Handle, &info);
    }
}
