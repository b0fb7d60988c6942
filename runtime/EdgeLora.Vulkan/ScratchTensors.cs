using System.Numerics;

namespace EdgeLora.Vulkan;

/// <summary>Scratch memory by size, handed out in the same order in every list; a size is used again after eight others of it, behind a barrier like any tensor.</summary>
internal sealed class ScratchTensors(VulkanBackend backend)
{
    private const int OfEach = 8;

    private readonly List<VulkanTensor>[] _bySize = new List<VulkanTensor>[32];
    private readonly int[] _next = new int[32];

    /// <summary>Room for <paramref name="floats"/>.</summary>
    public VulkanTensor Take(int floats)
    {
        int size = BitOperations.Log2(BitOperations.RoundUpToPowerOf2((uint)Math.Max(floats, 64)));
        List<VulkanTensor> all = _bySize[size] ??= [];
        int at = _next[size];
        _next[size] = (at + 1) % OfEach;
        if (at == all.Count)
            all.Add(backend.NewScratch(1 << size));
        return all[at];
    }

    /// <summary>Starts again: the next list takes the same.</summary>
    public void Rewind() => Array.Clear(_next);
}
