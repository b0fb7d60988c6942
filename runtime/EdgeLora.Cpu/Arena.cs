using System.Runtime.InteropServices;

namespace EdgeLora.Cpu;

/// <summary>Floats handed out piece by piece for one op and taken back all at once. Pieces stay where they are; allocates only until the largest op has been seen.</summary>
internal sealed unsafe class Arena : IDisposable
{
    private const long SmallestBlock = 1 << 14;

    private readonly List<(nint Address, long Floats)> _blocks = [];
    private long _used;
    private long _total;

    /// <summary><paramref name="count"/> floats, 64-byte aligned, with any contents.</summary>
    public float* Take(long count)
    {
        count = (count + 15) / 16 * 16;
        _total += count;
        if (_blocks.Count == 0 || _used + count > _blocks[^1].Floats)
            Grow(count);
        float* piece = (float*)_blocks[^1].Address + _used;
        _used += count;
        return piece;
    }

    /// <summary>Takes all pieces back. Several blocks become one that would have held them.</summary>
    public void Reset()
    {
        if (_blocks.Count > 1)
        {
            Dispose();
            Grow(_total);
        }
        _used = _total = 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((nint address, _) in _blocks)
            NativeMemory.AlignedFree((void*)address);
        _blocks.Clear();
    }

    private void Grow(long count)
    {
        count = Math.Max(count, SmallestBlock);
        _blocks.Add(((nint)NativeMemory.AlignedAlloc((nuint)count * sizeof(float), 64), count));
        _used = 0;
    }
}
