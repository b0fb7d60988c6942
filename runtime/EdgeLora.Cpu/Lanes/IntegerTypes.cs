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

    /// <summary>Steps of a group that have parts.</summary>
    static virtual int Steps => 4;

    /// <summary>Steps of a group in memory.</summary>
    static virtual int GroupSteps => 4;

    /// <summary>True where a group's factor is an F16 of its own and there is no minimum.</summary>
    static virtual bool IsPlain => false;

    /// <summary>True where a group has a minimum, which its inputs' sum is multiplied with.</summary>
    static virtual bool HasMinimums => false;

    /// <summary>Bytes of a step of the 16 outputs of a panel.</summary>
    static abstract int StepBytes { get; }

    /// <summary>Bytes from one lane of a step to the next.</summary>
    static abstract int LaneBytes { get; }

    /// <summary>What the parts of a step share, from its first lane on.</summary>
    static abstract V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged;

    /// <summary>What the steps of a group share, from the first lane of its first step on; from one step to the next it is <paramref name="step"/> bytes.</summary>
    static virtual V Plane<O, V>(byte* group, long step) where O : struct, ILanes<V> where V : unmanaged => O.Zero;

    /// <summary>The same for the next step.</summary>
    static virtual V Next<O, V>(V plane) where O : struct, ILanes<V> where V : unmanaged => plane;

    /// <summary>Part <paramref name="part"/> (a literal) of a step.</summary>
    static abstract V Part<O, V>(byte* step, V unit, V plane, int part) where O : struct, ILanes<V> where V : unmanaged;

    /// <summary>A group's sum with a part's products.</summary>
    static abstract V Multiply<O, V>(V sum, V w, V x) where O : struct, ILanes<V> where V : unmanaged;

    /// <summary>A whole group's sum as words, less what is too much of it: the words after the input's unit are 8 and 16 times its numbers' sum.</summary>
    static abstract V Total<O, V>(V sum, int* offsets) where O : struct, ILanes<V> where V : unmanaged;
}

/// <summary>Q8_0, pairs of inputs side by side: 16 bits of the input cost no more than 8, for there is no sum of bytes that always fits.</summary>
internal readonly unsafe struct IntegerBytes : IIntegerType
{
    /// <inheritdoc/>
    public static int Words => 16;

    /// <inheritdoc/>
    public static bool IsPlain => true;

    /// <inheritdoc/>
    public static int StepBytes => 128;

    /// <inheritdoc/>
    public static int LaneBytes => 2;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Zero;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Part<O, V>(byte* step, V unit, V plane, int part) where O : struct, ILanes<V> where V : unmanaged => O.Pairs((sbyte*)step + 32 * part);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Multiply<O, V>(V sum, V w, V x) where O : struct, ILanes<V> where V : unmanaged => O.AddWords(sum, O.MultiplyHalves(w, x));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Total<O, V>(V sum, int* offsets) where O : struct, ILanes<V> where V : unmanaged => sum;
}

/// <summary>Q4_0: a word of 8 inputs, of which the even ones are one part and the odd ones the other, plus 8. Sums of 16 products of at most 15·127 fit 16 bits: those of a whole group.</summary>
internal readonly unsafe struct IntegerNibbles : IIntegerType
{
    /// <inheritdoc/>
    public static int Words => 8;

    /// <inheritdoc/>
    public static bool IsPlain => true;

    /// <inheritdoc/>
    public static int StepBytes => 64;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Load((float*)step);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Part<O, V>(byte* step, V unit, V plane, int part) where O : struct, ILanes<V> where V : unmanaged => O.Nibbles(unit, 4 * part, 0x88);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Multiply<O, V>(V sum, V w, V x) where O : struct, ILanes<V> where V : unmanaged => O.AddHalves(sum, O.MultiplyBytes(w, x));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Total<O, V>(V sum, int* offsets) where O : struct, ILanes<V> where V : unmanaged =>
        O.SubtractWords(O.MultiplyHalves(sum, O.Broadcast(BitConverter.Int32BitsToSingle(0x00010001))), O.Broadcast(*(float*)offsets));
}

/// <summary>Q4_1 and Q4_K: as <see cref="IntegerNibbles"/>, but not plus 8.</summary>
internal readonly unsafe struct IntegerUnsigned4 : IIntegerType
{
    /// <inheritdoc/>
    public static int Words => 8;

    /// <inheritdoc/>
    public static int StepBytes => 64;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static bool HasMinimums => true;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Load((float*)step);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Part<O, V>(byte* step, V unit, V plane, int part) where O : struct, ILanes<V> where V : unmanaged => O.Nibbles(unit, 4 * part, 0);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Multiply<O, V>(V sum, V w, V x) where O : struct, ILanes<V> where V : unmanaged => O.AddHalves(sum, O.MultiplyBytes(w, x));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Total<O, V>(V sum, int* offsets) where O : struct, ILanes<V> where V : unmanaged => O.MultiplyHalves(sum, O.Broadcast(BitConverter.Int32BitsToSingle(0x00010001)));
}

/// <summary>Q5_0: low bits as <see cref="IntegerNibbles"/>, then a word of the high ones (<see cref="PackBlocks"/>), plus 16. Sums of a whole group do not fit 16 bits.</summary>
internal readonly unsafe struct IntegerSigned5 : IIntegerType
{
    /// <inheritdoc/>
    public static int Words => 8;

    /// <inheritdoc/>
    public static int StepBytes => 64;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static int GroupSteps => 5;

    /// <inheritdoc/>
    public static bool IsPlain => true;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Load((float*)step);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Plane<O, V>(byte* group, long step) where O : struct, ILanes<V> where V : unmanaged => O.Load((float*)(group + 4 * step));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Next<O, V>(V plane) where O : struct, ILanes<V> where V : unmanaged => O.TurnTwo(plane);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Part<O, V>(byte* step, V unit, V plane, int part) where O : struct, ILanes<V> where V : unmanaged => O.Fives(unit, plane, 4 * part);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Multiply<O, V>(V sum, V w, V x) where O : struct, ILanes<V> where V : unmanaged => O.AddWords(sum, O.MultiplyHalves(O.MultiplyBytes(w, x), O.Broadcast(BitConverter.Int32BitsToSingle(0x00010001))));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Total<O, V>(V sum, int* offsets) where O : struct, ILanes<V> where V : unmanaged => O.SubtractWords(sum, O.Broadcast(((float*)offsets)[1]));
}

/// <summary>Q5_1 and Q5_K: as <see cref="IntegerSigned5"/>, but not plus 16.</summary>
internal readonly unsafe struct IntegerUnsigned5 : IIntegerType
{
    /// <inheritdoc/>
    public static int Words => 8;

    /// <inheritdoc/>
    public static int StepBytes => 64;

    /// <inheritdoc/>
    public static int LaneBytes => 4;

    /// <inheritdoc/>
    public static int GroupSteps => 5;

    /// <inheritdoc/>
    public static bool HasMinimums => true;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Unit<O, V>(byte* step) where O : struct, ILanes<V> where V : unmanaged => O.Load((float*)step);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Plane<O, V>(byte* group, long step) where O : struct, ILanes<V> where V : unmanaged => O.Load((float*)(group + 4 * step));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Next<O, V>(V plane) where O : struct, ILanes<V> where V : unmanaged => O.TurnTwo(plane);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Part<O, V>(byte* step, V unit, V plane, int part) where O : struct, ILanes<V> where V : unmanaged => O.Fives(unit, plane, 4 * part);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Multiply<O, V>(V sum, V w, V x) where O : struct, ILanes<V> where V : unmanaged => O.AddWords(sum, O.MultiplyHalves(O.MultiplyBytes(w, x), O.Broadcast(BitConverter.Int32BitsToSingle(0x00010001))));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Total<O, V>(V sum, int* offsets) where O : struct, ILanes<V> where V : unmanaged => sum;
}
