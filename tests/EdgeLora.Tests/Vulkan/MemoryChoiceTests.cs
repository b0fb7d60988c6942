using EdgeLora.Vulkan;
using Silk.NET.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Vulkan;

/// <summary>Memory types of devices that are not here.</summary>
public sealed class MemoryChoiceTests
{
    private const ulong MiB = 1 << 20;
    private const MemoryPropertyFlags Own = MemoryPropertyFlags.DeviceLocalBit, Seen = MemoryPropertyFlags.HostVisibleBit | MemoryPropertyFlags.HostCoherentBit, Cached = MemoryPropertyFlags.HostCachedBit;

    [Fact]
    public void A_card_with_a_small_window_keeps_weights_out_of_it_and_tables_in_it()
    {
        PhysicalDeviceMemoryProperties card = Device([8192 * MiB, 16384 * MiB, 256 * MiB], [true, false, true], (Seen, 1), (Own, 0), (Seen | Cached, 1), (Own | Seen, 2));
        Assert.Equal([1], Types(card, MemoryUse.Device, 64 * MiB)[..1]);
        Assert.Equal([1], Types(card, MemoryUse.Device, 1024 * MiB));
        Assert.Equal([3, 0, 2], Types(card, MemoryUse.Host, 16 * MiB));
        Assert.Equal([2, 0, 3], Types(card, MemoryUse.Readback, 16 * MiB));
    }

    [Fact]
    public void A_card_that_shows_all_of_its_memory_and_a_shared_memory_are_written_directly()
    {
        PhysicalDeviceMemoryProperties card = Device([8192 * MiB, 16384 * MiB], [true, false], (Own, 0), (Seen, 1), (Own | Seen, 0)), shared = Device([2048 * MiB], [true], (Own | Seen | Cached, 0));
        Assert.Equal([2, 0], Types(card, MemoryUse.Device, MiB));
        Assert.Equal([0], Types(shared, MemoryUse.Device, MiB));
        Assert.True(MemoryChoice.IsMapped(card, 2));
        Assert.False(MemoryChoice.IsMapped(card, 0));
    }

    [Fact]
    public void Weights_never_go_to_the_host_s_memory_and_nothing_to_a_heap_that_is_too_small()
    {
        PhysicalDeviceMemoryProperties card = Device([512 * MiB, 16384 * MiB], [true, false], (Own, 0), (Seen, 1));
        Assert.Empty(Types(card, MemoryUse.Device, 1024 * MiB));
        Assert.Equal([1], Types(card, MemoryUse.Host, 1024 * MiB));
        Assert.Empty(MemoryChoice.Types(card, 0b01, MemoryUse.Host, MiB));
    }

    private static int[] Types(in PhysicalDeviceMemoryProperties device, MemoryUse use, ulong bytes) => [.. MemoryChoice.Types(device, uint.MaxValue, use, bytes)];

    private static PhysicalDeviceMemoryProperties Device(ulong[] heaps, bool[] own, params (MemoryPropertyFlags Flags, int Heap)[] types)
    {
        PhysicalDeviceMemoryProperties device = new() { MemoryHeapCount = (uint)heaps.Length, MemoryTypeCount = (uint)types.Length };
        for (int i = 0; i < heaps.Length; i++)
            device.MemoryHeaps[i] = new(heaps[i], own[i] ? MemoryHeapFlags.DeviceLocalBit : 0);
        for (int i = 0; i < types.Length; i++)
            device.MemoryTypes[i] = new(types[i].Flags, (uint)types[i].Heap);
        return device;
    }
}
