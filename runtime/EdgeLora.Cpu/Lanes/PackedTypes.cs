using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>
/// How a packed weight's elements become F32 vectors whose lanes are outputs; see <see cref="PackedWeight"/>. Of a quantised one it is q: a group's factor is taken once for its sum. A group is
/// some steps of 5, 6 or 8 inputs, and up to two inputs whose bits are what the steps' words have left. Numbers are literals here, not sums: the compiler has a budget for what it looks into.
/// </summary>
internal unsafe interface IPackedType
{
    /// <summary>Inputs of a group; where there are factors, those that share one.</summary>
    static abstract int Group { get; }

    /// <summary>Bytes of a group of the 16 outputs of a panel.</summary>
    static abstract int GroupBytes { get; }

    /// <summary>Bytes from one lane of a step to the next.</summary>
    static abstract int LaneBytes { get; }

    /// <summary>Steps of a group.</summary>
    static abstract int Steps { get; }

    /// <summary>Inputs of a step: 5, 6 or 8.</summary>
    static abstract int Fields { get; }

    /// <summary>Inputs of a group after its steps: 0, 1 or 2.</summary>
    static virtual int Rest => 0;

    /// <summary>True where every group of an output has a factor.</summary>
    static virtual bool HasFactors => true;

    /// <summary>True where a group's factor is an F16 and nothing else: all of its record.</summary>
    static virtual bool HasHalves => false;

    /// <summary>What the inputs of a step share, from its first lane on.</summary>
    static abstract V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged;

    /// <summary>Input <paramref name="field"/> (a literal) of a step.</summary>
    static abstract V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged;

    /// <summary>What the inputs after the steps share, from the first lane on of the group's first step; from one to the next it is <paramref name="step"/> bytes.</summary>
    static virtual V RestUnit<O, V>(byte* group, long step) where O : struct, ILanes<V> where V : unmanaged => O.Zero;

    /// <summary>Input <paramref name="field"/> (a literal) after the steps.</summary>
    static virtual V LoadRest<O, V>(V unit, int field) where O : struct, ILanes<V> where V : unmanaged => O.Zero;
}

/// <summary>16-bit IEEE floats, all of them finite: 32-bit words of two inputs.</summary>
internal readonly unsafe struct PackedF16 : IPackedType
{
    /// <inheritdoc/>
    public static int Group => 8;

    /// <inheritdoc/>
    public static int GroupBytes => 256;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static int Steps => 1;

    /// <inheritdoc/>
    public static int Fields => 8;

    /// <inheritdoc/>
    public static bool HasFactors => false;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Zero;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.HalfF16((float*)(step + field / 2 * 64), field % 2);
}

/// <summary>bfloat16: 32-bit words of two inputs.</summary>
internal readonly unsafe struct PackedBF16 : IPackedType
{
    /// <inheritdoc/>
    public static int Group => 8;

    /// <inheritdoc/>
    public static int GroupBytes => 256;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static int Steps => 1;

    /// <inheritdoc/>
    public static int Fields => 8;

    /// <inheritdoc/>
    public static bool HasFactors => false;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Zero;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.HalfBF16((float*)(step + field / 2 * 64), field % 2);
}

/// <summary>Q8_0: one byte an input.</summary>
internal readonly unsafe struct PackedBytes : IPackedType
{
    /// <inheritdoc/>
    public static bool HasHalves => true;

    /// <inheritdoc/>
    public static int Group => 32;

    /// <inheritdoc/>
    public static int GroupBytes => 512;

    /// <inheritdoc/>
    public static int LaneBytes => 1;

    /// <inheritdoc/>
    public static int Steps => 4;

    /// <inheritdoc/>
    public static int Fields => 8;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Zero;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.LoadI8((sbyte*)step + field * 16);
}
