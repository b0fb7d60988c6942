namespace EdgeLora.Vulkan;

/// <summary>That an op reads or writes a tensor: what barriers are derived from. Whole tensors; an op that writes may read too.</summary>
/// <param name="Bits">The tensor's address, a multiple of 256, with <see cref="WriteBit"/> and <see cref="IndirectBit"/>.</param>
internal readonly record struct Access(ulong Bits)
{
    /// <summary>Writes.</summary>
    public const ulong WriteBit = 1;

    /// <summary>What is read or written is also what tables of paths and caches point to.</summary>
    public const ulong IndirectBit = 2;

    /// <summary>Reads whatever the rows' paths and caches point to: adapters' tensors, keys and values.</summary>
    public static Access Indirect => new(IndirectBit);

    /// <summary>Writes (and may read) what the rows' caches point to.</summary>
    public static Access IndirectWrite => new(IndirectBit | WriteBit);

    /// <summary>Reads a tensor.</summary>
    public static Access Read(VulkanTensor tensor) => new(tensor.Address | (tensor.Indirect ? IndirectBit : 0));

    /// <summary>Writes (and may read) a tensor.</summary>
    public static Access Write(VulkanTensor tensor) => new(tensor.Address | WriteBit | (tensor.Indirect ? IndirectBit : 0));

    /// <summary>Writes memory that is no tensor.</summary>
    public static Access Write(Allocation allocation) => new(allocation.Address | WriteBit);
}
