using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>How 32 consecutive stored elements of a weight become F32 vectors. A quantised weight always means d·q rounded to F32.</summary>
internal unsafe interface IWeightType
{
    /// <summary>Bytes of 32 elements.</summary>
    static abstract int BlockBytes { get; }

    /// <summary>Bytes of one element; 0 for types that exist in whole blocks only.</summary>
    static abstract int ElementBytes { get; }

    /// <summary>The block's factor, broadcast; unused by unquantised types.</summary>
    static abstract V Factor<O, V>(byte* block) where O : struct, ILanes<V> where V : unmanaged;

    /// <summary>Elements [half + i, half + i + lanes) of a block; half is the literal 0 or 16 (nibbles then shift by a constant), i &lt; 16 a multiple of the lanes.</summary>
    static abstract V Load<O, V>(byte* block, int half, int i, V factor) where O : struct, ILanes<V> where V : unmanaged;
}

/// <summary>32-bit floats.</summary>
internal readonly unsafe struct WeightF32 : IWeightType
{
    /// <inheritdoc/>
    public static int BlockBytes => 128;

    /// <inheritdoc/>
    public static int ElementBytes => 4;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Factor<O, V>(byte* block) where O : struct, ILanes<V> where V : unmanaged => default;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* block, int half, int i, V factor) where O : struct, ILanes<V> where V : unmanaged => O.Load((float*)block + half + i);
}

/// <summary>16-bit IEEE floats.</summary>
internal readonly unsafe struct WeightF16 : IWeightType
{
    /// <inheritdoc/>
    public static int BlockBytes => 64;

    /// <inheritdoc/>
    public static int ElementBytes => 2;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Factor<O, V>(byte* block) where O : struct, ILanes<V> where V : unmanaged => default;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* block, int half, int i, V factor) where O : struct, ILanes<V> where V : unmanaged => O.LoadF16((ushort*)block + half + i);
}

/// <summary>bfloat16.</summary>
internal readonly unsafe struct WeightBF16 : IWeightType
{
    /// <inheritdoc/>
    public static int BlockBytes => 64;

    /// <inheritdoc/>
    public static int ElementBytes => 2;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Factor<O, V>(byte* block) where O : struct, ILanes<V> where V : unmanaged => default;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* block, int half, int i, V factor) where O : struct, ILanes<V> where V : unmanaged => O.LoadBF16((ushort*)block + half + i);
}

/// <summary>GGUF Q8_0.</summary>
internal readonly unsafe struct WeightQ8_0 : IWeightType
{
    /// <inheritdoc/>
    public static int BlockBytes => 34;

    /// <inheritdoc/>
    public static int ElementBytes => 0;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Factor<O, V>(byte* block) where O : struct, ILanes<V> where V : unmanaged => O.Broadcast(HalfFloat.Widen(*(ushort*)block));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* block, int half, int i, V factor) where O : struct, ILanes<V> where V : unmanaged =>
        O.Multiply(factor, O.LoadI8((sbyte*)block + 2 + half + i));
}

/// <summary>GGUF Q4_0.</summary>
internal readonly unsafe struct WeightQ4_0 : IWeightType
{
    /// <inheritdoc/>
    public static int BlockBytes => 18;

    /// <inheritdoc/>
    public static int ElementBytes => 0;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Factor<O, V>(byte* block) where O : struct, ILanes<V> where V : unmanaged => O.Broadcast(HalfFloat.Widen(*(ushort*)block));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* block, int half, int i, V factor) where O : struct, ILanes<V> where V : unmanaged =>
        O.Multiply(factor, O.LoadNibbles(block + 2 + i, half >> 2));
}

/// <summary>One binary16 to F32 in a few integer instructions: the runtime's conversion costs as much as a whole block.</summary>
internal static class HalfFloat
{
    /// <summary>Exact for every value.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Widen(ushort half)
    {
        uint magnitude = (uint)(half & 0x7FFF) << 13;
        uint bits = BitConverter.SingleToUInt32Bits(BitConverter.UInt32BitsToSingle(magnitude) * 5.192296858534828e33f);
        if (magnitude >= 0x7C00u << 13)
            bits |= 0x7F800000;
        return BitConverter.UInt32BitsToSingle(bits | ((uint)(half & 0x8000) << 16));
    }
}
