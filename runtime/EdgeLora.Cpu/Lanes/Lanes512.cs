using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace EdgeLora.Cpu;

/// <summary>512-bit vectors: AVX-512.</summary>
internal readonly unsafe struct Lanes512 : ILanes<Vector512<float>>
{
    /// <inheritdoc/>
    public static int Count => 16;

    /// <inheritdoc/>
    public static int Registers => 32;

    /// <inheritdoc/>
    public static Vector512<float> Zero => Vector512<float>.Zero;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Broadcast(float x) => Vector512.Create(x);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(float* p) => Vector512.Load(p);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector512<float> v, float* p) => v.Store(p);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadBF16(ushort* p) => (Widen(p) << 16).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadI8(sbyte* p) => Vector512.ConvertToSingle(Avx512F.ConvertToVector512Int32(Vector128.Load(p)));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadNibbles(byte* p, int shift)
    {
        Vector512<int> q = (Avx512F.ConvertToVector512Int32(Vector128.Load(p)) >>> shift) & Vector512.Create(15);
        return Vector512.ConvertToSingle(q - Vector512.Create(8));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadF16(ushort* p)
    {
        Vector512<uint> half = Widen(p), magnitude = (half & Vector512.Create(0x7FFFu)) << 13;
        // The exponent's bias differs by 112; multiplying also normalises subnormals. Infinity and NaN keep all exponent bits.
        Vector512<uint> bits = (magnitude.AsSingle() * Vector512.Create(5.192296858534828e33f)).AsUInt32();
        Vector512<uint> special = Vector512.GreaterThanOrEqual(magnitude.AsInt32(), Vector512.Create(0x7C00 << 13)).AsUInt32();
        bits |= special & Vector512.Create(0x7F800000u);
        return (bits | ((half & Vector512.Create(0x8000u)) << 16)).AsSingle();
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadFiniteF16(ushort* p)
    {
        // As in LoadF16; the sign spreads over the bits that the mask clears.
        Vector512<int> half = Avx512F.ConvertToVector512Int32(Vector256.Load((short*)p));
        return ((half << 13) & Vector512.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector512.Create(5.192296858534828e33f);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Units(byte* p, int bytes) => (bytes == 4 ? Vector512.Load((int*)p) : bytes == 2 ? Avx512F.ConvertToVector512Int32(Vector256.Load((ushort*)p)) : Avx512F.ConvertToVector512Int32(Vector128.Load(p))).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Field(Vector512<float> words, int shift, int bits, bool signed)
    {
        Vector512<int> w = words.AsInt32() >>> shift;
        // A permutation reads the low bits of its indices only, and looks the number up.
        if (bits == 4)
            return Avx512F.PermuteVar16x32(signed ? Vector512.Create(0f, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1) : Vector512.Create(0f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), w);
        if (bits == 3)
            return Avx512F.PermuteVar16x32(signed ? Vector512.Create(0f, 1, 2, 3, -4, -3, -2, -1, 0, 1, 2, 3, -4, -3, -2, -1) : Vector512.Create(0f, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7), w);
        if (bits == 2)
            return Avx512F.PermuteVar16x32(signed ? Vector512.Create(0f, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1) : Vector512.Create(0f, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3), w);
        if (bits == 5)
        {
            Vector512<float> low = Vector512.Create(0f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            return Avx512F.PermuteVar16x32x2(low, w, signed ? Vector512.Create(-16f, -15, -14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1) : low + Vector512.Create(16f));
        }
        // 2^23 and the field, the sign's bit turned over; less 2^23 and what that bit added.
        int sign = signed ? 1 << (bits - 1) : 0;
        return ((w & Vector512.Create((1 << bits) - 1)) ^ Vector512.Create(0x4B000000 | sign)).AsSingle() - Vector512.Create(8388608f + sign);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Lookup(Vector512<float> words, int shift, Vector512<float> table) => Avx512F.PermuteVar16x32(table, words.AsInt32() >>> shift);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Table(sbyte* entries) => Vector512.ConvertToSingle(Avx512F.ConvertToVector512Int32(Vector128.Load(entries)));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Gather(Vector512<float> words, Vector512<float> more, int down, int up) => (words.AsInt32() | (more.AsInt32() >>> down) << up).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> HalfBF16(float* words, int half) => (half == 0 ? Vector512.Load((uint*)words) << 16 : Vector512.Load((uint*)words) & Vector512.Create(0xFFFF0000u)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> HalfF16(float* words, int half)
    {
        Vector512<int> high = half == 0 ? Vector512.Load((int*)words) << 16 : Vector512.Load((int*)words);
        // As in LoadF16; the sign spreads over the bits that the mask clears.
        return ((high >> 3) & Vector512.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector512.Create(5.192296858534828e33f);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> a, Vector512<float> b) => a + b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Subtract(Vector512<float> a, Vector512<float> b) => a - b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Multiply(Vector512<float> a, Vector512<float> b) => a * b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Divide(Vector512<float> a, Vector512<float> b) => a / b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Fma(Vector512<float> a, Vector512<float> b, Vector512<float> c) => Avx512F.FusedMultiplyAdd(a, b, c);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Max(Vector512<float> bound, Vector512<float> x) => Vector512.ConditionalSelect(Vector512.GreaterThan(bound, x), bound, x);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Min(Vector512<float> bound, Vector512<float> x) => Vector512.ConditionalSelect(Vector512.LessThan(bound, x), bound, x);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> PowerOfTwo(Vector512<float> shifted) => ((shifted.AsInt32() << 23) + Vector512.Create(0x3F800000)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> WhereNegative(Vector512<float> x, Vector512<float> a, Vector512<float> b) => Vector512.ConditionalSelect((x.AsInt32() >> 31).AsSingle(), a, b);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector512<float> v) => Lanes256.Sum(Fold(v));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Sum4(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d, float* sums) =>
        Lanes256.Sum4(Fold(a), Fold(b), Fold(c), Fold(d), sums);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Sum8(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d, Vector512<float> e, Vector512<float> f, Vector512<float> g, Vector512<float> h, float* sums)
    {
        // Halves of two vectors are added at once, then quarters of four: lane group i of the results belongs to vector i.
        Vector512<float> abcd = Quarters(Halves(a, b), Halves(c, d)), efgh = Quarters(Halves(e, f), Halves(g, h));
        Vector512<float> pairs = Avx512F.Shuffle(abcd, efgh, 0x44) + Avx512F.Shuffle(abcd, efgh, 0xEE);
        Vector512<float> all = pairs + Avx512F.Permute4x32(pairs, 0xB1);
        Avx512F.PermuteVar16x32(all, Vector512.Create(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0)).GetLower().Store(sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Halves(Vector512<float> a, Vector512<float> b) => Avx512F.Shuffle4x128(a, b, 0x44) + Avx512F.Shuffle4x128(a, b, 0xEE);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Quarters(Vector512<float> ab, Vector512<float> cd) => Avx512F.Shuffle4x128(ab, cd, 0x88) + Avx512F.Shuffle4x128(ab, cd, 0xDD);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Pairs(sbyte* p) => Avx512BW.ConvertToVector512Int16(Vector256.Load(p)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Nibbles(Vector512<float> words, int shift, byte flip) => Avx512F.TernaryLogic((words.AsInt32() >>> shift).AsByte(), Vector512.Create(flip), Vector512.Create((byte)15), 0x28).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Fives(Vector512<float> words, Vector512<float> plane, int shift) =>
        (Vector512.ConditionalSelect(Vector512.Create((byte)15), (words.AsInt32() >>> shift).AsByte(), (plane.AsInt32() >>> (shift / 4)).AsByte()) & Vector512.Create((byte)31)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> TurnTwo(Vector512<float> words) => Avx512F.RotateRight(words.AsInt32(), 2).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MultiplyHalves(Vector512<float> a, Vector512<float> b) => Avx512BW.MultiplyAddAdjacent(a.AsInt16(), b.AsInt16()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MultiplyBytes(Vector512<float> a, Vector512<float> b) => Avx512BW.MultiplyAddAdjacent(a.AsByte(), b.AsSByte()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> AddWords(Vector512<float> a, Vector512<float> b) => (a.AsInt32() + b.AsInt32()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> SubtractWords(Vector512<float> a, Vector512<float> b) => (a.AsInt32() - b.AsInt32()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> AddHalves(Vector512<float> a, Vector512<float> b) => (a.AsInt16() + b.AsInt16()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Numbers(Vector512<float> words) => Vector512.ConvertToSingle(words.AsInt32());

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Sqrt(Vector512<float> a) => Vector512.Sqrt(a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Fold(Vector512<float> v) => v.GetLower() + v.GetUpper();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Widen(ushort* p) => Avx512F.ConvertToVector512Int32(Vector256.Load(p)).AsUInt32();
}
