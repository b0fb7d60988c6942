namespace EdgeLora.Vulkan;

/// <summary>Memory that the host fills for one frame, from its start on each time: the same work finds its numbers at the same addresses.</summary>
internal sealed class ControlBlock(MemoryPool memory)
{
    private const int ChunkBytes = 1 << 20;

    private readonly List<Allocation> _chunks = [];
    private int _chunk;
    private long _used;

    /// <summary>Bytes taken since <see cref="Reset"/>.</summary>
    public long Taken { get; private set; }

    /// <summary>Starts from the beginning.</summary>
    public void Reset()
    {
        _chunk = 0;
        _used = Taken = 0;
    }

    /// <summary>Room for <paramref name="bytes"/>, 16-aligned.</summary>
    public Span<byte> Take(int bytes, out ulong address)
    {
        int rounded = bytes + 15 & ~15;
        while (_chunk < _chunks.Count && _used + rounded > _chunks[_chunk].Bytes)
        {
            _chunk++;
            _used = 0;
        }
        if (_chunk == _chunks.Count)
            _chunks.Add(memory.Allocate(MemoryUse.Host, Math.Max(ChunkBytes, rounded)));
        Allocation chunk = _chunks[_chunk];
        address = chunk.Address + (ulong)_used;
        Span<byte> span = chunk.Span(_used, bytes);
        _used += rounded;
        Taken += rounded;
        return span;
    }
}
