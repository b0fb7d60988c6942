namespace EdgeLora.Core;

/// <summary>
/// torch's CPU generator (mt19937) and the uniform numbers that <c>Tensor.uniform_(low, high, generator=…)</c> takes from it in F32: <c>(n mod 2²⁴)/2²⁴·(high − low) + low</c>, in one rounding as torch's vector builds do.
/// Sources: pytorch aten/src/ATen/core/MT19937RNGEngine.h, TransformationHelper.h.
/// </summary>
internal sealed class TorchUniform
{
    private const int Length = 624, Shift = 397;

    private readonly uint[] _state = new uint[Length];
    private int _next = Length;

    /// <summary>The generator after <c>manual_seed(seed)</c>: the lower half of the seed counts.</summary>
    public TorchUniform(long seed)
    {
        _state[0] = unchecked((uint)seed);
        for (uint i = 1; i < Length; i++)
            _state[i] = unchecked(1812433253u * (_state[i - 1] ^ (_state[i - 1] >> 30)) + i);
    }

    /// <summary>The next <paramref name="count"/> numbers.</summary>
    public float[] Take(int count, double bound)
    {
        float low = (float)-bound, range = (float)bound - low;
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
            values[i] = MathF.FusedMultiplyAdd((Next() & ((1 << 24) - 1)) * (1f / (1 << 24)), range, low);
        return values;
    }

    private uint Next()
    {
        if (_next == Length)
        {
            for (int i = 0; i < Length; i++)
            {
                uint mixed = (_state[i] & 0x80000000) | (_state[(i + 1) % Length] & 0x7FFFFFFF);
                _state[i] = _state[(i + Shift) % Length] ^ (mixed >> 1) ^ ((mixed & 1) * 0x9908B0DF);
            }
            _next = 0;
        }
        uint y = _state[_next++];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9D2C5680;
        y ^= (y << 15) & 0xEFC60000;
        return y ^ (y >> 18);
    }
}
