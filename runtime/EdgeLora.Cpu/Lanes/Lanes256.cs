using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace EdgeLora.Cpu;

/// <summary>256-bit vectors: AVX2.</summary>
internal readonly unsafe struct Lanes256 : ILanes<Vector256<float>>
{
    /// <inheritdoc/>
    public static int Count => 8;

    /// <inheritdoc/>
    public static int Registers => 16;

    /// <inheritdoc/>
    public static Vector256<float> Zero => Vector256<float>.Zero;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Broadcast(float x) => Vector256.Create(x);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(float* p) => Vector256.Load(p);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<float> v, float* p) => v.Store(p);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadBF16(ushort* p) => (Widen(p) << 16).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadI8(sbyte* p) => Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32(p));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadNibbles(byte* p, int shift)
    {
        Vector256<int> q = (Avx2.ConvertToVector256Int32(p) >>> shift) & Vector256.Create(15);
        return Vector256.ConvertToSingle(q - Vector256.Create(8));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadF16(ushort* p)
    {
        Vector256<uint> half = Widen(p), magnitude = (half & Vector256.Create(0x7FFFu)) << 13;
        // The exponent's bias differs by 112; multiplying also normalises subnormals. Infinity and NaN keep all exponent bits.
        Vector256<uint> bits = (magnitude.AsSingle() * Vector256.Create(5.192296858534828e33f)).AsUInt32();
        Vector256<uint> special = Vector256.GreaterThanOrEqual(magnitude.AsInt32(), Vector256.Create(0x7C00 << 13)).AsUInt32();
        bits |= special & Vector256.Create(0x7F800000u);
        return (bits | ((half & Vector256.Create(0x8000u)) << 16)).AsSingle();
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadFiniteF16(ushort* p)
    {
        // As in LoadF16; the sign spreads over the bits that the mask clears.
        Vector256<int> half = Avx2.ConvertToVector256Int32((short*)p);
        return ((half << 13) & Vector256.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector256.Create(5.192296858534828e33f);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Units(byte* p, int bytes) => (bytes == 4 ? Vector256.Load((int*)p) : bytes == 2 ? Avx2.ConvertToVector256Int32((ushort*)p) : Avx2.ConvertToVector256Int32(p)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Field(Vector256<float> words, int shift, int bits, bool signed)
    {
        Vector256<int> w = words.AsInt32();
        return Vector256.ConvertToSingle(signed ? (w << (32 - bits - shift)) >> (32 - bits) : shift + bits == 32 ? w >>> shift : (w >>> shift) & Vector256.Create((1 << bits) - 1));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Lookup(Vector256<float> words, int shift, Vector256<float> table)
    {
        // The entry's byte moves to the top, and back with its sign.
        Vector256<int> entry = Avx2.Shuffle(table.AsByte(), ((words.AsInt32() >>> shift) & Vector256.Create(15)).AsByte()).AsInt32();
        return Vector256.ConvertToSingle((entry << 24) >> 24);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Table(sbyte* entries) => Vector256.Create(Vector128.Load(entries), Vector128.Load(entries)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Gather(Vector256<float> words, Vector256<float> more, int down, int up) => (words.AsInt32() | (more.AsInt32() >>> down) << up).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> HalfBF16(float* words, int half) => (half == 0 ? Vector256.Load((uint*)words) << 16 : Vector256.Load((uint*)words) & Vector256.Create(0xFFFF0000u)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> HalfF16(float* words, int half)
    {
        Vector256<int> high = half == 0 ? Vector256.Load((int*)words) << 16 : Vector256.Load((int*)words);
        // As in LoadF16; the sign spreads over the bits that the mask clears.
        return ((high >> 3) & Vector256.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector256.Create(5.192296858534828e33f);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Add(Vector256<float> a, Vector256<float> b) => a + b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Subtract(Vector256<float> a, Vector256<float> b) => a - b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Multiply(Vector256<float> a, Vector256<float> b) => a * b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Divide(Vector256<float> a, Vector256<float> b) => a / b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Fma(Vector256<float> a, Vector256<float> b, Vector256<float> c) => System.Runtime.Intrinsics.X86.Fma.IsSupported ? System.Runtime.Intrinsics.X86.Fma.MultiplyAdd(a, b, c) : a * b + c;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Max(Vector256<float> bound, Vector256<float> x) => Vector256.ConditionalSelect(Vector256.GreaterThan(bound, x), bound, x);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Min(Vector256<float> bound, Vector256<float> x) => Vector256.ConditionalSelect(Vector256.LessThan(bound, x), bound, x);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> PowerOfTwo(Vector256<float> shifted) => ((shifted.AsInt32() << 23) + Vector256.Create(0x3F800000)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> WhereNegative(Vector256<float> x, Vector256<float> a, Vector256<float> b) => Vector256.ConditionalSelect((x.AsInt32() >> 31).AsSingle(), a, b);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector256<float> v) => Lanes128.Sum(Fold(v));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Sum4(Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d, float* sums) =>
        Lanes128.Sum4(Fold(a), Fold(b), Fold(c), Fold(d), sums);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Sum8(Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d, Vector256<float> e, Vector256<float> f, Vector256<float> g, Vector256<float> h, float* sums)
    {
        Sum4(a, b, c, d, sums);
        Sum4(e, f, g, h, sums + 4);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Pairs(sbyte* p) => Avx2.ConvertToVector256Int16(Vector128.Load(p)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Nibbles(Vector256<float> words, int shift, byte flip) => (((words.AsInt32() >>> shift).AsByte() ^ Vector256.Create(flip)) & Vector256.Create((byte)15)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Fives(Vector256<float> words, Vector256<float> plane, int shift) =>
        (Vector256.ConditionalSelect(Vector256.Create((byte)15), (words.AsInt32() >>> shift).AsByte(), (plane.AsInt32() >>> (shift / 4)).AsByte()) & Vector256.Create((byte)31)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> TurnTwo(Vector256<float> words) => ((words.AsInt32() >>> 2) | (words.AsInt32() << 30)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyHalves(Vector256<float> a, Vector256<float> b) => Avx2.MultiplyAddAdjacent(a.AsInt16(), b.AsInt16()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyBytes(Vector256<float> a, Vector256<float> b) => Avx2.MultiplyAddAdjacent(a.AsByte(), b.AsSByte()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> AddWords(Vector256<float> a, Vector256<float> b) => (a.AsInt32() + b.AsInt32()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> SubtractWords(Vector256<float> a, Vector256<float> b) => (a.AsInt32() - b.AsInt32()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> AddHalves(Vector256<float> a, Vector256<float> b) => (a.AsInt16() + b.AsInt16()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Numbers(Vector256<float> words) => Vector256.ConvertToSingle(words.AsInt32());

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Sqrt(Vector256<float> a) => Vector256.Sqrt(a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Fold(Vector256<float> v) => v.GetLower() + v.GetUpper();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Widen(ushort* p) => Avx2.ConvertToVector256Int32(p).AsUInt32();
}
