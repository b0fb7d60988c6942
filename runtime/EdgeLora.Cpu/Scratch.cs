using System.Runtime.InteropServices;

namespace EdgeLora.Cpu;

/// <summary>Aligned floats that grow when more are asked for and are reused from call to call. Contents do not survive a growth.</summary>
internal sealed unsafe class Scratch : IDisposable
{
    private float* _floats;
    private long _capacity;

    /// <summary>At least <paramref name="count"/> floats, 64-byte aligned.</summary>
    public float* Reserve(long count)
    {
        if (count > _capacity)
        {
            NativeMemory.AlignedFree(_floats);
            _capacity = Math.Max(count, _capacity * 3 / 2);
            _floats = (float*)NativeMemory.AlignedAlloc((nuint)_capacity * sizeof(float), 64);
        }
        return _floats;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(_floats);
        _floats = null;
        _capacity = 0;
    }
}
