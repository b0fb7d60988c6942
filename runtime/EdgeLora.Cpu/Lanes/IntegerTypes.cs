using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>
/// How a group of 32 inputs of a packed weight is multiplied with inputs that were rounded to whole numbers (<see cref="RoundedRows"/>): exactly, so that in which order does not matter. A group of weights is some steps,
/// a step some parts, a part a word of 2 or 4 numbers of every output, beside the same of the input.
/// </summary>
internal unsafe interface IIntegerType
{
    /// <summary>Words of a group of an input: 16 of two numbers of 16 bits, or 8 of four of 8 bits.</summary>
    static abstract int Words { get; }

    /// <summary>Steps of a group.</summary>
    static abstract int Steps { get; }

    /// <summary>Bytes of a step of the 16 outputs of a panel.</summary>
    static abstract int StepBytes { get; }

    /// <summary>Bytes from one lane of a step to the next.</summary>
    static abstract int LaneBytes { get; }

    /// <summary>What the parts of a step share, from its first lane on.</summary>
    static abstract V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged;

    /// <summary>Part <paramref name="part"/> (a literal) of a step.</summary>
    static abstract V Part<O, V>(byte* step, V unit, int part) where O : struct, ILanes<V> where V : unmanaged;

    /// <summary>A group's sum with a part's products.</summary>
    static abstract V Multiply<O, V>(V sum, V w, V x) where O : struct, ILanes<V> where V : unmanaged;

    /// <summary>A whole group's sum as words, less the input's offset.</summary>
    static abstract V Total<O, V>(V sum, int* offset) where O : struct, ILanes<V> where V : unmanaged;
}

/// <summary>Q8_0, pairs of inputs side by side: 16 bits of the input cost no more than 8, for there is no sum of bytes that always fits.</summary>
internal readonly unsafe struct IntegerBytes : IIntegerType
{
    /// <inheritdoc/>
    public static int Words => 16;

    /// <inheritdoc/>
    public static int Steps => 4;

    /// <inheritdoc/>
    public static int StepBytes => 128;

    /// <inheritdoc/>
    public static int LaneBytes => 2;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Zero;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Part<O, V>(byte* step, V unit, int part) where O : struct, ILanes<V> where V : unmanaged => O.Pairs((sbyte*)step + 32 * part);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Multiply<O, V>(V sum, V w, V x) where O : struct, ILanes<V> where V : unmanaged => O.AddWords(sum, O.MultiplyHalves(w, x));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Total<O, V>(V sum, int* offset) where O : struct, ILanes<V> where V : unmanaged => sum;
}

/// <summary>Q4_0: a word of 8 inputs, of which the even ones are one part and the odd ones the other, plus 8. Sums of 16 products of at most 15·127 fit 16 bits: those of a whole group.</summary>
internal readonly unsafe struct IntegerNibbles : IIntegerType
{
    /// <inheritdoc/>
    public static int Words => 8;

    /// <inheritdoc/>
    public static int Steps => 4;

    /// <inheritdoc/>
    public static int StepBytes => 64;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Load((float*)step);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Part<O, V>(byte* step, V unit, int part) where O : struct, ILanes<V> where V : unmanaged => O.Nibbles(unit, 4 * part, 0x88);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Multiply<O, V>(V sum, V w, V x) where O : struct, ILanes<V> where V : unmanaged => O.AddHalves(sum, O.MultiplyBytes(w, x));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Total<O, V>(V sum, int* offset) where O : struct, ILanes<V> where V : unmanaged =>
        O.SubtractWords(O.MultiplyHalves(sum, O.Broadcast(BitConverter.Int32BitsToSingle(0x00010001))), O.Broadcast(*(float*)offset));
}
