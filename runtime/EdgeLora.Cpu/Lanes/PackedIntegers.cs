using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>Q4_0: eight in a word.</summary>
internal readonly unsafe struct PackedSigned4 : IPackedType
{
    /// <inheritdoc/>
    public static bool HasHalves => true;

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
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.Field(unit, 4 * field, 4, true);
}

/// <summary>Q4_1 and Q4_K: eight in a word.</summary>
internal readonly unsafe struct PackedUnsigned4 : IPackedType
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
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.Field(unit, 4 * field, 4, false);
}

/// <summary>Q5_0: six in a word, two in what is left.</summary>
internal readonly unsafe struct PackedSigned5 : IPackedType
{
    /// <inheritdoc/>
    public static bool HasHalves => true;

    /// <inheritdoc/>
    public static int Group => 32;

    /// <inheritdoc/>
    public static int GroupBytes => 320;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static int Steps => 5;

    /// <inheritdoc/>
    public static int Fields => 6;

    /// <inheritdoc/>
    public static int Rest => 2;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Units(step, 4);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.Field(unit, 5 * field, 5, true);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V RestUnit<O, V>(byte* group, long step) where O : struct, ILanes<V> where V : unmanaged => RestBits<O, V>.Of(group, step, 5, 4, 30, 2);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V LoadRest<O, V>(V unit, int field) where O : struct, ILanes<V> where V : unmanaged => O.Field(unit, 5 * field, 5, true);
}

/// <summary>Q5_1 and Q5_K: six in a word, two in what is left.</summary>
internal readonly unsafe struct PackedUnsigned5 : IPackedType
{
    /// <inheritdoc/>
    public static int Group => 32;

    /// <inheritdoc/>
    public static int GroupBytes => 320;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static int Steps => 5;

    /// <inheritdoc/>
    public static int Fields => 6;

    /// <inheritdoc/>
    public static int Rest => 2;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Units(step, 4);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.Field(unit, 5 * field, 5, false);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V RestUnit<O, V>(byte* group, long step) where O : struct, ILanes<V> where V : unmanaged => RestBits<O, V>.Of(group, step, 5, 4, 30, 2);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V LoadRest<O, V>(V unit, int field) where O : struct, ILanes<V> where V : unmanaged => O.Field(unit, 5 * field, 5, false);
}

/// <summary>Q6_K: five in a word, one in what is left.</summary>
internal readonly unsafe struct PackedSigned6 : IPackedType
{
    /// <inheritdoc/>
    public static int Group => 16;

    /// <inheritdoc/>
    public static int GroupBytes => 192;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static int Steps => 3;

    /// <inheritdoc/>
    public static int Fields => 5;

    /// <inheritdoc/>
    public static int Rest => 1;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Units(step, 4);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.Field(unit, 6 * field, 6, true);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V RestUnit<O, V>(byte* group, long step) where O : struct, ILanes<V> where V : unmanaged => RestBits<O, V>.Of(group, step, 3, 4, 30, 2);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V LoadRest<O, V>(V unit, int field) where O : struct, ILanes<V> where V : unmanaged => O.Field(unit, 0, 6, true);
}

/// <summary>Q3_K: five in a word of 16 bits, one in what is left.</summary>
internal readonly unsafe struct PackedSigned3 : IPackedType
{
    /// <inheritdoc/>
    public static int Group => 16;

    /// <inheritdoc/>
    public static int GroupBytes => 96;

    /// <inheritdoc/>
    public static int LaneBytes => 2;

    /// <inheritdoc/>
    public static int Steps => 3;

    /// <inheritdoc/>
    public static int Fields => 5;

    /// <inheritdoc/>
    public static int Rest => 1;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Units(step, 2);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.Field(unit, 3 * field, 3, true);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V RestUnit<O, V>(byte* group, long step) where O : struct, ILanes<V> where V : unmanaged => RestBits<O, V>.Of(group, step, 3, 2, 15, 1);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V LoadRest<O, V>(V unit, int field) where O : struct, ILanes<V> where V : unmanaged => O.Field(unit, 0, 3, true);
}

/// <summary>Q2_K: eight in a word of 16 bits.</summary>
internal readonly unsafe struct PackedUnsigned2 : IPackedType
{
    /// <inheritdoc/>
    public static int Group => 16;

    /// <inheritdoc/>
    public static int GroupBytes => 64;

    /// <inheritdoc/>
    public static int LaneBytes => 2;

    /// <inheritdoc/>
    public static int Steps => 2;

    /// <inheritdoc/>
    public static int Fields => 8;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Units(step, 2);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<O, V>(byte* step, V unit, int field, V table) where O : struct, ILanes<V> where V : unmanaged => O.Field(unit, 2 * field, 2, false);
}

/// <summary>The bits that a group's words have left above their fields, together.</summary>
internal static unsafe class RestBits<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Of 3 or 5 <paramref name="words"/> of <paramref name="bytes"/> bytes, <paramref name="count"/> bits from bit <paramref name="top"/> on, the first word's lowest. All are literals.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Of(byte* group, long step, int words, int bytes, int top, int count)
    {
        V bits = O.Gather(O.Zero, O.Units(group, bytes), top, 0);
        bits = O.Gather(bits, O.Units(group + step, bytes), top, count);
        bits = O.Gather(bits, O.Units(group + 2 * step, bytes), top, 2 * count);
        if (words == 3)
            return bits;
        bits = O.Gather(bits, O.Units(group + 3 * step, bytes), top, 3 * count);
        return O.Gather(bits, O.Units(group + 4 * step, bytes), top, 4 * count);
    }
}
