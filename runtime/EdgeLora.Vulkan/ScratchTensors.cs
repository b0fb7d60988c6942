using System.Numerics;

namespace EdgeLora.Vulkan;

/// <summary>Scratch memory by size, handed out in the same order in every list; a size is used again after eight others of it, behind a barrier like any tensor.</summary>
internal sealed class ScratchTensors(VulkanBackend backend)
{
    private const int OfEach = 8;

    private readonly List<VulkanTensor>[] _bySize = new List<VulkanTensor>[32];
    private readonly int[] _next = new int[32];
    private readonly int[] _held = new int[32];
    private bool _holding;

    /// <summary>Room for <paramref name="floats"/>.</summary>
    public VulkanTensor Take(int floats)
    {
        int size = BitOperations.Log2(BitOperations.RoundUpToPowerOf2((uint)Math.Max(floats, 64)));
        List<VulkanTensor> all = _bySize[size] ??= [];
        int at = _next[size];
        // Where all are held, the ring grows: behind the one taken last.
        if (at == all.Count || _holding && _held[size] == all.Count)
            all.Insert(at, backend.NewScratch(1 << size));
        _next[size] = (at + 1) % Math.Max(OfEach, all.Count);
        _held[size] += _holding ? 1 : 0;
        return all[at];
    }

    /// <summary>What is taken from now on is not used again before <see cref="Release"/>: for ops that take much.</summary>
    public void Hold() => _holding = true;

    /// <summary>What was held may be used again.</summary>
    public void Release()
    {
        Array.Clear(_held);
        _holding = false;
    }

    /// <summary>Starts again: the next list takes the same.</summary>
    public void Rewind()
    {
        Release();
        Array.Clear(_next);
    }
}
