using Silk.NET.Vulkan;

namespace EdgeLora.Vulkan;

/// <summary>The arenas as storage buffers, for devices without buffer device addresses.</summary>
internal sealed unsafe class BoundArenas : IDisposable
{
    private readonly VulkanDevice _device;
    private readonly MemoryPool _memory;
    private readonly DescriptorPool _pool;

    public BoundArenas(VulkanDevice device, Kernels kernels, MemoryPool memory)
    {
        (_device, _memory) = (device, memory);
        DescriptorPoolSize size = new() { Type = DescriptorType.StorageBuffer, DescriptorCount = Kernels.Arenas };
        DescriptorPoolCreateInfo info = new() { SType = StructureType.DescriptorPoolCreateInfo, MaxSets = 1, PoolSizeCount = 1, PPoolSizes = &size };
        VulkanException.Check(device.Api.CreateDescriptorPool(device.Handle, &info, null, out _pool), "vkCreateDescriptorPool");
        DescriptorSetLayout layout = kernels.SetLayout;
        DescriptorSetAllocateInfo allocate = new() { SType = StructureType.DescriptorSetAllocateInfo, DescriptorPool = _pool, DescriptorSetCount = 1, PSetLayouts = &layout };
        VulkanException.Check(device.Api.AllocateDescriptorSets(device.Handle, &allocate, out DescriptorSet set), "vkAllocateDescriptorSets");
        Set = set;
        memory.ArenasChanged += () => Changed = true;
    }

    public DescriptorSet Set { get; }

    /// <summary>Whether there are arenas that are not bound yet. An update makes recorded commands invalid.</summary>
    public bool Changed { get; private set; } = true;

    /// <summary>Binds all arenas; unused places show the first. Nothing may be in flight.</summary>
    public void Update()
    {
        IReadOnlyList<Arena> arenas = _memory.Arenas;
        DescriptorBufferInfo* buffers = stackalloc DescriptorBufferInfo[Kernels.Arenas];
        for (int i = 0; i < Kernels.Arenas; i++)
            buffers[i] = new() { Buffer = arenas[i < arenas.Count ? i : 0].Buffer, Range = Vk.WholeSize };
        WriteDescriptorSet write = new() { SType = StructureType.WriteDescriptorSet, DstSet = Set, DescriptorCount = Kernels.Arenas, DescriptorType = DescriptorType.StorageBuffer, PBufferInfo = buffers };
        _device.Api.UpdateDescriptorSets(_device.Handle, 1, &write, 0, null);
        Changed = false;
    }

    /// <inheritdoc/>
    public void Dispose() => _device.Api.DestroyDescriptorPool(_device.Handle, _pool, null);
}
