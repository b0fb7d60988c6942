using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>IQ4_NL, IQ4_XS and MXFP4: eight indices into a table in a word.</summary>
internal readonly unsafe struct PackedIndices4 : IPackedType
{
    /// <inheritdoc/>
    public static int Group => 32;

    /// <inheritdoc/>
    public static int GroupBytes => 256;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static int Steps => 4;

    /// <inheritdoc/>
    public static int Fields => 8;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Units(step, 4);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.Lookup(unit, 4 * field, table);
}

/// <summary>NVFP4: the same in groups of 16.</summary>
internal readonly unsafe struct PackedIndices4Of16 : IPackedType
{
    /// <inheritdoc/>
    public static int Group => 16;

    /// <inheritdoc/>
    public static int GroupBytes => 128;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static int Steps => 2;

    /// <inheritdoc/>
    public static int Fields => 8;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Units(step, 4);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.Lookup(unit, 4 * field, table);
}

/// <summary>TQ1_0 and TQ2_0: eight indices in a word of 16 bits, into a table that is there four times.</summary>
internal readonly unsafe struct PackedIndices2 : IPackedType
{
    /// <inheritdoc/>
    public static int Group => 32;

    /// <inheritdoc/>
    public static int GroupBytes => 128;

    /// <inheritdoc/>
    public static int LaneBytes => 2;

    /// <inheritdoc/>
    public static int Steps => 4;

    /// <inheritdoc/>
    public static int Fields => 8;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Units(step, 2);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.Lookup(unit, 2 * field, table);
}

/// <summary>Q1_0: eight indices in a byte, into a table that is there eight times.</summary>
internal readonly unsafe struct PackedIndices1 : IPackedType
{
    /// <inheritdoc/>
    public static int Group => 32;

    /// <inheritdoc/>
    public static int GroupBytes => 64;

    /// <inheritdoc/>
    public static int LaneBytes => 1;

    /// <inheritdoc/>
    public static int Steps => 4;

    /// <inheritdoc/>
    public static int Fields => 8;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Units(step, 1);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.Lookup(unit, 1 * field, table);
}
