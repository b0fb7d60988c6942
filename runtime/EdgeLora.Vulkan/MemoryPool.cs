namespace EdgeLora.Vulkan;

/// <summary>What memory is for.</summary>
internal enum MemoryUse
{
    /// <summary>Weights and activations: the device's own memory.</summary>
    Device,
    /// <summary>Written by the host, read by shaders: control blocks, tables, staging.</summary>
    Host,
    /// <summary>Written by shaders, read by the host.</summary>
    Readback,
}

/// <summary>All memory of a device: a few large arenas, given out in ranges. What is freed comes back when the device has done what was enqueued before. Any thread.</summary>
internal sealed class MemoryPool(VulkanDevice device) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<(Arena Arena, MemoryUse Use)> _arenas = [];
    private readonly Queue<(ulong Value, Allocation Allocation, MemoryUse Use)> _released = [];
    private readonly long[] _inUse = new long[3];

    /// <summary>Raised, under the pool's lock, when the set of arenas changed.</summary>
    public event Action? ArenasChanged;

    /// <summary>Arenas, in the order of their numbers.</summary>
    public IReadOnlyList<Arena> Arenas
    {
        get
        {
            lock (_lock)
                return [.. _arenas.Select(a => a.Arena)];
        }
    }

    /// <summary>Bytes given out and not yet come back.</summary>
    public long InUse(MemoryUse use)
    {
        lock (_lock)
        {
            Collect();
            return _inUse[(int)use];
        }
    }

    /// <summary>A range with unknown content. Throws <see cref="VulkanException"/> of <see cref="VulkanFault.OutOfMemory"/>.</summary>
    public Allocation Allocate(MemoryUse use, long bytes)
    {
        bytes = Math.Max(1, bytes + Arena.Alignment - 1) / Arena.Alignment * Arena.Alignment;
        if (bytes == 0)
            bytes = Arena.Alignment;
        lock (_lock)
        {
            Collect();
            Allocation? found = TryAllocate(use, bytes);
            if (found is null)
            {
                _arenas.Add((Create(use, bytes), use));
                ArenasChanged?.Invoke();
                found = TryAllocate(use, bytes)!;
            }
            _inUse[(int)use] += found.Bytes;
            return found;
        }
    }

    /// <summary>Frees a range once the timeline has reached <paramref name="value"/>.</summary>
    public void Release(Allocation allocation, MemoryUse use, ulong value)
    {
        lock (_lock)
            _released.Enqueue((value, allocation, use));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((Arena arena, _) in _arenas)
            arena.Dispose();
        _arenas.Clear();
    }

    private void Collect()
    {
        if (_released.Count == 0)
            return;
        ulong done = device.Timeline.Done;
        bool changed = false;
        while (_released.TryPeek(out var released) && released.Value <= done)
        {
            _released.Dequeue();
            _inUse[(int)released.Use] -= released.Allocation.Bytes;
            Arena arena = released.Allocation.Arena;
            arena.Free(released.Allocation);
            // A large tensor's arena of its own goes back to the driver. Bound arenas keep their numbers and stay.
            if (arena.Empty && arena.Bytes > DefaultBytes(released.Use) && device.Addresses)
            {
                _arenas.RemoveAll(a => a.Arena == arena);
                arena.Dispose();
                changed = true;
            }
        }
        if (changed)
            ArenasChanged?.Invoke();
    }

    private Allocation? TryAllocate(MemoryUse use, long bytes)
    {
        foreach ((Arena arena, MemoryUse itsUse) in _arenas)
            if (itsUse == use && arena.TryAllocate(bytes) is { } found)
                return found;
        return null;
    }

    private Arena Create(MemoryUse use, long bytes)
    {
        long size = Math.Max(bytes, DefaultBytes(use)), most = device.Addresses ? long.MaxValue : device.Limits.MaxStorageBufferRange;
        if (bytes > most)
            throw new VulkanException(VulkanFault.OutOfMemory, $"{device.Info.Name}: a tensor of {bytes} bytes is larger than a storage buffer may be ({most}); such a device needs buffer device addresses for it");
        if (!device.Addresses && _arenas.Count == Kernels.Arenas)
            throw new VulkanException(VulkanFault.OutOfMemory, $"{device.Info.Name}: without buffer device addresses there are {Kernels.Arenas} storage buffers of {most} bytes at most; another {bytes} bytes do not fit");
        return new(device, Math.Min(size, most), use, _arenas.Count);
    }

    private long DefaultBytes(MemoryUse use) => use switch
    {
        MemoryUse.Device when !device.Addresses => Math.Min(device.Limits.MaxStorageBufferRange, 1L << 30) / Arena.Alignment * Arena.Alignment,
        MemoryUse.Device => device.Info.Kind == VulkanDeviceKind.Discrete ? 256L << 20 : 64L << 20,
        _ => 16L << 20,
    };
}
