using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>Four plain floats: the vector of machines without vectors. Four sums run side by side, as in the other tiers.</summary>
internal readonly struct Quad(float a, float b, float c, float d)
{
    /// <summary>Lane 0.</summary>
    public readonly float A = a;

    /// <summary>Lane 1.</summary>
    public readonly float B = b;

    /// <summary>Lane 2.</summary>
    public readonly float C = c;

    /// <summary>Lane 3.</summary>
    public readonly float D = d;
}

/// <summary>The tier without vector instructions.</summary>
internal readonly unsafe struct LanesScalar : ILanes<Quad>
{
    /// <inheritdoc/>
    public static int Count => 4;

    /// <inheritdoc/>
    public static int Registers => 16;

    /// <inheritdoc/>
    public static Quad Zero => default;

    /// <inheritdoc/>
    public static Quad Broadcast(float x) => new(x, x, x, x);

    /// <inheritdoc/>
    public static Quad Load(float* p) => new(p[0], p[1], p[2], p[3]);

    /// <inheritdoc/>
    public static void Store(Quad v, float* p) => (p[0], p[1], p[2], p[3]) = (v.A, v.B, v.C, v.D);

    /// <inheritdoc/>
    public static Quad LoadBF16(ushort* p) => new(BF16(p[0]), BF16(p[1]), BF16(p[2]), BF16(p[3]));

    /// <inheritdoc/>
    public static Quad LoadF16(ushort* p) => new(F16(p[0]), F16(p[1]), F16(p[2]), F16(p[3]));

    /// <inheritdoc/>
    public static Quad LoadI8(sbyte* p) => new(p[0], p[1], p[2], p[3]);

    /// <inheritdoc/>
    public static Quad LoadNibbles(byte* p, int shift) =>
        new(((p[0] >> shift) & 15) - 8, ((p[1] >> shift) & 15) - 8, ((p[2] >> shift) & 15) - 8, ((p[3] >> shift) & 15) - 8);

    /// <inheritdoc/>
    public static Quad LoadFiniteF16(ushort* p) => LoadF16(p);

    /// <inheritdoc/>
    public static Quad Units(byte* p, int bytes)
    {
        if (bytes == 4)
            return Load((float*)p);
        ushort* halves = (ushort*)p;
        return bytes == 2 ? Words(halves[0], halves[1], halves[2], halves[3]) : Words(p[0], p[1], p[2], p[3]);
    }

    /// <inheritdoc/>
    public static Quad Field(Quad words, int shift, int bits, bool signed)
    {
        int up = 32 - bits - shift, down = 32 - bits;
        (int a, int b, int c, int d) = (Word(words.A) << up, Word(words.B) << up, Word(words.C) << up, Word(words.D) << up);
        return signed ? new(a >> down, b >> down, c >> down, d >> down) : new(a >>> down, b >>> down, c >>> down, d >>> down);
    }

    /// <inheritdoc/>
    public static Quad Lookup(Quad words, int shift, Quad table)
    {
        sbyte* t = (sbyte*)&table;
        return new(t[(Word(words.A) >>> shift) & 15], t[(Word(words.B) >>> shift) & 15], t[(Word(words.C) >>> shift) & 15], t[(Word(words.D) >>> shift) & 15]);
    }

    /// <inheritdoc/>
    public static Quad Table(sbyte* entries) => Load((float*)entries);

    /// <inheritdoc/>
    public static Quad Gather(Quad words, Quad more, int down, int up) => Words(
        Word(words.A) | (Word(more.A) >>> down) << up, Word(words.B) | (Word(more.B) >>> down) << up, Word(words.C) | (Word(more.C) >>> down) << up, Word(words.D) | (Word(more.D) >>> down) << up);

    /// <inheritdoc/>
    public static Quad HalfBF16(float* words, int half)
    {
        ushort* w = (ushort*)words + half;
        return new(BF16(w[0]), BF16(w[2]), BF16(w[4]), BF16(w[6]));
    }

    /// <inheritdoc/>
    public static Quad HalfF16(float* words, int half)
    {
        ushort* w = (ushort*)words + half;
        return new(F16(w[0]), F16(w[2]), F16(w[4]), F16(w[6]));
    }

    /// <inheritdoc/>
    public static Quad Add(Quad a, Quad b) => new(a.A + b.A, a.B + b.B, a.C + b.C, a.D + b.D);

    /// <inheritdoc/>
    public static Quad Subtract(Quad a, Quad b) => new(a.A - b.A, a.B - b.B, a.C - b.C, a.D - b.D);

    /// <inheritdoc/>
    public static Quad Multiply(Quad a, Quad b) => new(a.A * b.A, a.B * b.B, a.C * b.C, a.D * b.D);

    /// <inheritdoc/>
    public static Quad Divide(Quad a, Quad b) => new(a.A / b.A, a.B / b.B, a.C / b.C, a.D / b.D);

    /// <inheritdoc/>
    public static Quad Fma(Quad a, Quad b, Quad c) => new(
        Lanes.MultiplyAdd(a.A, b.A, c.A), Lanes.MultiplyAdd(a.B, b.B, c.B), Lanes.MultiplyAdd(a.C, b.C, c.C), Lanes.MultiplyAdd(a.D, b.D, c.D));

    /// <inheritdoc/>
    public static Quad Max(Quad bound, Quad x) => new(
        bound.A > x.A ? bound.A : x.A, bound.B > x.B ? bound.B : x.B, bound.C > x.C ? bound.C : x.C, bound.D > x.D ? bound.D : x.D);

    /// <inheritdoc/>
    public static Quad Min(Quad bound, Quad x) => new(
        bound.A < x.A ? bound.A : x.A, bound.B < x.B ? bound.B : x.B, bound.C < x.C ? bound.C : x.C, bound.D < x.D ? bound.D : x.D);

    /// <inheritdoc/>
    public static Quad PowerOfTwo(Quad shifted) => new(Power(shifted.A), Power(shifted.B), Power(shifted.C), Power(shifted.D));

    /// <inheritdoc/>
    public static Quad WhereNegative(Quad x, Quad a, Quad b) => new(
        float.IsNegative(x.A) ? a.A : b.A, float.IsNegative(x.B) ? a.B : b.B, float.IsNegative(x.C) ? a.C : b.C, float.IsNegative(x.D) ? a.D : b.D);

    /// <inheritdoc/>
    public static float Sum(Quad v) => (v.A + v.C) + (v.B + v.D);

    /// <inheritdoc/>
    public static void Sum4(Quad a, Quad b, Quad c, Quad d, float* sums) => (sums[0], sums[1], sums[2], sums[3]) = (Sum(a), Sum(b), Sum(c), Sum(d));

    /// <inheritdoc/>
    public static void Sum8(Quad a, Quad b, Quad c, Quad d, Quad e, Quad f, Quad g, Quad h, float* sums)
    {
        Sum4(a, b, c, d, sums);
        Sum4(e, f, g, h, sums + 4);
    }

    /// <inheritdoc/>
    public static Quad Pairs(sbyte* p) => Words(Halves(p[0], p[1]), Halves(p[2], p[3]), Halves(p[4], p[5]), Halves(p[6], p[7]));

    /// <inheritdoc/>
    public static Quad Nibbles(Quad words, int shift, byte flip)
    {
        int turned = flip * 0x01010101, mask = 0x0F0F0F0F;
        return Words(((Word(words.A) >>> shift) ^ turned) & mask, ((Word(words.B) >>> shift) ^ turned) & mask, ((Word(words.C) >>> shift) ^ turned) & mask, ((Word(words.D) >>> shift) ^ turned) & mask);
    }

    /// <inheritdoc/>
    public static Quad Fives(Quad words, Quad plane, int shift) => Words(Fives(words.A, plane.A, shift), Fives(words.B, plane.B, shift), Fives(words.C, plane.C, shift), Fives(words.D, plane.D, shift));

    /// <inheritdoc/>
    public static Quad TurnTwo(Quad words) => Words(int.RotateRight(Word(words.A), 2), int.RotateRight(Word(words.B), 2), int.RotateRight(Word(words.C), 2), int.RotateRight(Word(words.D), 2));

    /// <inheritdoc/>
    public static Quad MultiplyHalves(Quad a, Quad b) => Words(MultiplyHalves(a.A, b.A), MultiplyHalves(a.B, b.B), MultiplyHalves(a.C, b.C), MultiplyHalves(a.D, b.D));

    /// <inheritdoc/>
    public static Quad MultiplyBytes(Quad a, Quad b) => Words(MultiplyBytes(a.A, b.A), MultiplyBytes(a.B, b.B), MultiplyBytes(a.C, b.C), MultiplyBytes(a.D, b.D));

    /// <inheritdoc/>
    public static Quad AddWords(Quad a, Quad b) => Words(Word(a.A) + Word(b.A), Word(a.B) + Word(b.B), Word(a.C) + Word(b.C), Word(a.D) + Word(b.D));

    /// <inheritdoc/>
    public static Quad SubtractWords(Quad a, Quad b) => Words(Word(a.A) - Word(b.A), Word(a.B) - Word(b.B), Word(a.C) - Word(b.C), Word(a.D) - Word(b.D));

    /// <inheritdoc/>
    public static Quad AddHalves(Quad a, Quad b) => Words(AddHalves(a.A, b.A), AddHalves(a.B, b.B), AddHalves(a.C, b.C), AddHalves(a.D, b.D));

    /// <inheritdoc/>
    public static Quad Numbers(Quad words) => new(Word(words.A), Word(words.B), Word(words.C), Word(words.D));

    /// <inheritdoc/>
    public static Quad Sqrt(Quad a) => new(MathF.Sqrt(a.A), MathF.Sqrt(a.B), MathF.Sqrt(a.C), MathF.Sqrt(a.D));

    private static Quad Words(int a, int b, int c, int d) => new(BitConverter.Int32BitsToSingle(a), BitConverter.Int32BitsToSingle(b), BitConverter.Int32BitsToSingle(c), BitConverter.Int32BitsToSingle(d));

    private static int Word(float bits) => BitConverter.SingleToInt32Bits(bits);

    private static int Halves(int low, int high) => (ushort)low | high << 16;

    private static int Fives(float words, float plane, int shift) => ((Word(words) >>> shift) & 0x0F0F0F0F) | ((Word(plane) >>> (shift / 4)) & 0x10101010);

    private static int MultiplyHalves(float a, float b) => (short)Word(a) * (short)Word(b) + (Word(a) >> 16) * (Word(b) >> 16);

    private static int MultiplyBytes(float a, float b)
    {
        uint x = (uint)Word(a);
        int y = Word(b);
        return Halves((byte)x * (sbyte)y + (byte)(x >> 8) * (sbyte)(y >> 8), (byte)(x >> 16) * (sbyte)(y >> 16) + (byte)(x >> 24) * (sbyte)(y >> 24));
    }

    private static int AddHalves(float a, float b) => Halves((short)Word(a) + (short)Word(b), (Word(a) >> 16) + (Word(b) >> 16));

    private static float BF16(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float F16(ushort bits) => (float)BitConverter.UInt16BitsToHalf(bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Power(float shifted) => BitConverter.Int32BitsToSingle((BitConverter.SingleToInt32Bits(shifted) << 23) + 0x3F800000);
}
