using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>How a packed weight's elements become F32 vectors whose lanes are outputs; see <see cref="PackedWeight"/>. Of a quantised one it is q: a block's factor is taken once for its sum.</summary>
internal unsafe interface IPackedType
{
    /// <summary>Bytes of a group: 8 inputs of the 16 outputs of a panel.</summary>
    static abstract int GroupBytes { get; }

    /// <summary>Bytes from one lane of a group to the next.</summary>
    static abstract int LaneBytes { get; }

    /// <summary>True where every 32 inputs of an output have a factor.</summary>
    static abstract bool HasScales { get; }

    /// <summary>Input <paramref name="k"/> (a literal, 0..7) of a group for the lanes from <paramref name="group"/> on.</summary>
    static abstract V Load<O, V>(byte* group, int k) where O : struct, ILanes<V> where V : unmanaged;
}

/// <summary>16-bit IEEE floats, all of them finite: 32-bit words of two inputs.</summary>
internal readonly unsafe struct PackedF16 : IPackedType
{
    /// <inheritdoc/>
    public static int GroupBytes => 256;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static bool HasScales => false;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* group, int k) where O : struct, ILanes<V> where V : unmanaged => O.HalfF16((float*)(group + k / 2 * 64), k % 2);
}

/// <summary>bfloat16: 32-bit words of two inputs.</summary>
internal readonly unsafe struct PackedBF16 : IPackedType
{
    /// <inheritdoc/>
    public static int GroupBytes => 256;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static bool HasScales => false;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* group, int k) where O : struct, ILanes<V> where V : unmanaged => O.HalfBF16((float*)(group + k / 2 * 64), k % 2);
}

/// <summary>GGUF Q8_0: one byte an input.</summary>
internal readonly unsafe struct PackedQ8_0 : IPackedType
{
    /// <inheritdoc/>
    public static int GroupBytes => 128;

    /// <inheritdoc/>
    public static int LaneBytes => 1;

    /// <inheritdoc/>
    public static bool HasScales => true;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* group, int k) where O : struct, ILanes<V> where V : unmanaged => O.LoadI8((sbyte*)group + k * 16);
}

/// <summary>GGUF Q4_0: a 32-bit word of eight signed fields.</summary>
internal readonly unsafe struct PackedQ4_0 : IPackedType
{
    /// <inheritdoc/>
    public static int GroupBytes => 64;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static bool HasScales => true;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* group, int k) where O : struct, ILanes<V> where V : unmanaged => O.Nibble((float*)group, k);
}
