using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace EdgeLora.Cpu;

/// <summary>
/// One tier's vector operations on its vector type <typeparamref name="V"/>. Kernels are written once over it; the compiler makes one
/// specialised copy for each tier. Every operation is deterministic; <see cref="Sum"/>, <see cref="Sum4"/> and <see cref="Sum8"/> add in the same order.
/// </summary>
internal unsafe interface ILanes<V> where V : unmanaged
{
    /// <summary>Floats in a vector: 4, 8 or 16.</summary>
    static abstract int Count { get; }

    /// <summary>Registers for such vectors: 16 or 32. A constant for the compiler.</summary>
    static abstract int Registers { get; }

    /// <summary>All lanes 0.</summary>
    static abstract V Zero { get; }

    /// <summary>All lanes <paramref name="x"/>.</summary>
    static abstract V Broadcast(float x);

    /// <summary>Unaligned load.</summary>
    static abstract V Load(float* p);

    /// <summary>Unaligned store.</summary>
    static abstract void Store(V v, float* p);

    /// <summary>Widens bfloat16, exactly.</summary>
    static abstract V LoadBF16(ushort* p);

    /// <summary>Widens binary16, exactly (subnormals, infinities and NaN too).</summary>
    static abstract V LoadF16(ushort* p);

    /// <summary>Converts signed bytes.</summary>
    static abstract V LoadI8(sbyte* p);

    /// <summary>Takes 4 bits of each byte from bit <paramref name="shift"/> on, minus 8.</summary>
    static abstract V LoadNibbles(byte* p, int shift);

    /// <summary>Widens binary16 that is finite, exactly.</summary>
    static abstract V LoadFiniteF16(ushort* p);

    /// <summary>Units of <paramref name="bytes"/> bytes (a literal: 1, 2 or 4) as 32-bit words: not numbers, but what <see cref="Field"/>, <see cref="Lookup"/> and <see cref="Gather"/> take.</summary>
    static abstract V Units(byte* p, int bytes);

    /// <summary>The field of <paramref name="bits"/> bits from bit <paramref name="shift"/> on of each word, as a number, in two's complement where <paramref name="signed"/>. All are literals; bits at most 6.</summary>
    static abstract V Field(V words, int shift, int bits, bool signed);

    /// <summary>The entry of a <see cref="Table"/> that four bits from bit <paramref name="shift"/> (a literal) on of each word index.</summary>
    static abstract V Lookup(V words, int shift, V table);

    /// <summary>A table of 16 small numbers for <see cref="Lookup"/>.</summary>
    static abstract V Table(sbyte* entries);

    /// <summary>words | (more &gt;&gt;&gt; <paramref name="down"/>) &lt;&lt; <paramref name="up"/>: bits of several words in one.</summary>
    static abstract V Gather(V words, V more, int down, int up);

    /// <summary>The bfloat16 in the low (<paramref name="half"/> 0, a literal) or high half (1) of each 32-bit word.</summary>
    static abstract V HalfBF16(float* words, int half);

    /// <summary>The finite binary16 in the low (<paramref name="half"/> 0, a literal) or high half (1) of each 32-bit word.</summary>
    static abstract V HalfF16(float* words, int half);

    /// <summary>a + b.</summary>
    static abstract V Add(V a, V b);

    /// <summary>a - b.</summary>
    static abstract V Subtract(V a, V b);

    /// <summary>a · b.</summary>
    static abstract V Multiply(V a, V b);

    /// <summary>a / b.</summary>
    static abstract V Divide(V a, V b);

    /// <summary>a · b + c: rounded once where the hardware fuses, twice where it cannot.</summary>
    static abstract V Fma(V a, V b, V c);

    /// <summary>The larger; x where x is NaN.</summary>
    static abstract V Max(V bound, V x);

    /// <summary>The smaller; x where x is NaN.</summary>
    static abstract V Min(V bound, V x);

    /// <summary>2^n for lanes that hold n + 1.5·2^23, n in [-127, 127].</summary>
    static abstract V PowerOfTwo(V shifted);

    /// <summary>Lanes of a where mask lanes of x are negative (sign bit), else of b.</summary>
    static abstract V WhereNegative(V x, V a, V b);

    /// <summary>Sum of the lanes: halves are added until 4 are left, then (l0+l2)+(l1+l3).</summary>
    static abstract float Sum(V v);

    /// <summary><see cref="Sum"/> of four vectors.</summary>
    static abstract void Sum4(V a, V b, V c, V d, float* sums);

    /// <summary><see cref="Sum"/> of eight vectors.</summary>
    static abstract void Sum8(V a, V b, V c, V d, V e, V f, V g, V h, float* sums);

    /// <summary>Two signed bytes a word, as the word's two halves: whole numbers, which the ops below take.</summary>
    static abstract V Pairs(sbyte* p);

    /// <summary>The four bits from bit <paramref name="shift"/> (a literal: 0 or 4) on of each byte, those of <paramref name="flip"/> turned over.</summary>
    static abstract V Nibbles(V words, int shift, byte flip);

    /// <summary>The same four bits, and above them a bit of <paramref name="plane"/>'s byte: bit 4 where <paramref name="shift"/> is 0, bit 5 where it is 4.</summary>
    static abstract V Fives(V words, V plane, int shift);

    /// <summary>Words turned right by two bits.</summary>
    static abstract V TurnTwo(V words);

    /// <summary>a0·b0 + a1·b1 of the signed halves of each word.</summary>
    static abstract V MultiplyHalves(V a, V b);

    /// <summary>Of each half: a0·b0 + a1·b1 of the unsigned bytes of <paramref name="a"/> and the signed ones of <paramref name="b"/>, which must fit the half.</summary>
    static abstract V MultiplyBytes(V a, V b);

    /// <summary>Sums of words.</summary>
    static abstract V AddWords(V a, V b);

    /// <summary>Differences of words.</summary>
    static abstract V SubtractWords(V a, V b);

    /// <summary>Sums of halves of words.</summary>
    static abstract V AddHalves(V a, V b);

    /// <summary>Words as numbers, rounded to the nearest.</summary>
    static abstract V Numbers(V words);

    /// <summary>√a, rounded correctly.</summary>
    static abstract V Sqrt(V a);
}

/// <summary>What all tiers share.</summary>
internal static class Lanes
{
    /// <summary>True where a multiply-add is one instruction. A constant for the compiler.</summary>
    public static bool Fused => System.Runtime.Intrinsics.X86.Fma.IsSupported || Avx512F.IsSupported || AdvSimd.IsSupported;

    /// <summary>Scalar multiply-add with the same rounding as the vectors'.</summary>
    public static float MultiplyAdd(float a, float b, float c) => Fused ? MathF.FusedMultiplyAdd(a, b, c) : a * b + c;

    /// <summary>Bytes that a core's second cache surely has: what is larger comes from farther away and is worth asking for early.</summary>
    public const long SecondCache = 1 << 20;

    /// <summary>Asks for a cache line ahead of its use. Any address is fine.</summary>
    public static unsafe void Prefetch(byte* address)
    {
        if (Sse.IsSupported)
            Sse.Prefetch1(address);
    }
}
