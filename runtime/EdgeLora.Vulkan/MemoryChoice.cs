using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>Which of a device's memory types suits which use.</summary>
internal static class MemoryChoice
{
    private const MemoryPropertyFlags OwnMemory = MemoryPropertyFlags.DeviceLocalBit, FromHost = MemoryPropertyFlags.HostVisibleBit | MemoryPropertyFlags.HostCoherentBit;

    /// <summary>Types with a heap of at least <paramref name="bytes"/>, the best first; none where no heap is that large.</summary>
    /// <param name="memory">The device's types and heaps.</param>
    /// <param name="bits">The types that a buffer can lie in.</param>
    /// <param name="use">What for. Weights never go to the host's own memory: there a device would be many times slower without a word.</param>
    /// <param name="bytes">Size of the allocation.</param>
    public static IReadOnlyList<int> Types(in PhysicalDeviceMemoryProperties memory, uint bits, MemoryUse use, ulong bytes)
    {
        // A card without a resizable BAR shows the host a window of 256 MB only: too small for weights, but right for tables.
        ulong own = 0;
        for (int i = 0; i < memory.MemoryHeapCount; i++)
            if ((memory.MemoryHeaps[i].Flags & MemoryHeapFlags.DeviceLocalBit) != 0)
                own = Math.Max(own, memory.MemoryHeaps[i].Size);
        List<int> types = [];
        foreach ((MemoryPropertyFlags wanted, ulong least) in use switch
        {
            MemoryUse.Device => (ReadOnlySpan<(MemoryPropertyFlags, ulong)>)[(OwnMemory | FromHost, own), (OwnMemory, 0)],
            MemoryUse.Host => [(OwnMemory | FromHost, 0), (FromHost, 0)],
            _ => [(FromHost | MemoryPropertyFlags.HostCachedBit, 0), (FromHost, 0)],
        })
            for (int i = 0; i < memory.MemoryTypeCount; i++)
                if ((bits & 1u << i) != 0 && (memory.MemoryTypes[i].PropertyFlags & wanted) == wanted && memory.MemoryHeaps[(int)memory.MemoryTypes[i].HeapIndex].Size >= Math.Max(least, bytes) && !types.Contains(i))
                    types.Add(i);
        return types;
    }

    /// <summary>Whether the host sees memory of a type without flushing it.</summary>
    public static bool IsMapped(in PhysicalDeviceMemoryProperties memory, int type) => (memory.MemoryTypes[type].PropertyFlags & FromHost) == FromHost;
}
