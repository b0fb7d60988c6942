using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace EdgeLora.Cpu;

/// <summary>128-bit vectors: SSE or NEON.</summary>
internal readonly unsafe struct Lanes128 : ILanes<Vector128<float>>
{
    /// <inheritdoc/>
    public static int Count => 4;

    /// <inheritdoc/>
    public static int Registers => AdvSimd.IsSupported ? 32 : 16;

    /// <inheritdoc/>
    public static Vector128<float> Zero => Vector128<float>.Zero;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Broadcast(float x) => Vector128.Create(x);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Load(float* p) => Vector128.Load(p);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector128<float> v, float* p) => v.Store(p);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadBF16(ushort* p) => (Widen(p) << 16).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadI8(sbyte* p)
    {
        // Read as a float: Arm loads an int into a register of its other kind first.
        Vector128<short> shorts = Vector128.WidenLower(Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<float>(p)).AsSByte());
        return Vector128.ConvertToSingle(Vector128.WidenLower(shorts));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadNibbles(byte* p, int shift)
    {
        Vector128<ushort> shorts = Vector128.WidenLower(Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<float>(p)).AsByte());
        Vector128<int> q = ((Vector128.WidenLower(shorts) >> shift) & Vector128.Create(15u)).AsInt32();
        return Vector128.ConvertToSingle(q - Vector128.Create(8));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadF16(ushort* p)
    {
        Vector128<uint> half = Widen(p), magnitude = (half & Vector128.Create(0x7FFFu)) << 13;
        // The exponent's bias differs by 112; multiplying also normalises subnormals. Infinity and NaN keep all exponent bits.
        Vector128<uint> bits = (magnitude.AsSingle() * Vector128.Create(5.192296858534828e33f)).AsUInt32();
        Vector128<uint> special = Vector128.GreaterThanOrEqual(magnitude.AsInt32(), Vector128.Create(0x7C00 << 13)).AsUInt32();
        bits |= special & Vector128.Create(0x7F800000u);
        return (bits | ((half & Vector128.Create(0x8000u)) << 16)).AsSingle();
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadFiniteF16(ushort* p)
    {
        // As in LoadF16; the sign spreads over the bits that the mask clears.
        Vector128<int> half = Vector128.WidenLower(Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<double>(p)).AsInt16());
        return ((half << 13) & Vector128.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector128.Create(5.192296858534828e33f);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Units(byte* p, int bytes) => (bytes == 4 ? Vector128.Load((int*)p) : bytes == 2 ? Widen((ushort*)p).AsInt32() : Vector128.WidenLower(Vector128.WidenLower(Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<float>(p)).AsByte())).AsInt32()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Field(Vector128<float> words, int shift, int bits, bool signed)
    {
        Vector128<int> w = words.AsInt32();
        return Vector128.ConvertToSingle(signed ? (w << (32 - bits - shift)) >> (32 - bits) : shift + bits == 32 ? w >>> shift : (w >>> shift) & Vector128.Create((1 << bits) - 1));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Lookup(Vector128<float> words, int shift, Vector128<float> table)
    {
        // The entry's byte moves to the top, and back with its sign.
        Vector128<int> entry = Vector128.ShuffleNative(table.AsByte(), ((words.AsInt32() >>> shift) & Vector128.Create(15)).AsByte()).AsInt32();
        return Vector128.ConvertToSingle((entry << 24) >> 24);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Table(sbyte* entries) => Vector128.Load(entries).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Gather(Vector128<float> words, Vector128<float> more, int down, int up) => (words.AsInt32() | (more.AsInt32() >>> down) << up).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> HalfBF16(float* words, int half) => (half == 0 ? Vector128.Load((uint*)words) << 16 : Vector128.Load((uint*)words) & Vector128.Create(0xFFFF0000u)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> HalfF16(float* words, int half)
    {
        Vector128<int> high = half == 0 ? Vector128.Load((int*)words) << 16 : Vector128.Load((int*)words);
        // As in LoadF16; the sign spreads over the bits that the mask clears.
        return ((high >> 3) & Vector128.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector128.Create(5.192296858534828e33f);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Add(Vector128<float> a, Vector128<float> b) => a + b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Subtract(Vector128<float> a, Vector128<float> b) => a - b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Multiply(Vector128<float> a, Vector128<float> b) => a * b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Divide(Vector128<float> a, Vector128<float> b) => a / b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Fma(Vector128<float> a, Vector128<float> b, Vector128<float> c) =>
        System.Runtime.Intrinsics.X86.Fma.IsSupported ? System.Runtime.Intrinsics.X86.Fma.MultiplyAdd(a, b, c) : AdvSimd.IsSupported ? AdvSimd.FusedMultiplyAdd(c, a, b) : a * b + c;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Max(Vector128<float> bound, Vector128<float> x) => Vector128.ConditionalSelect(Vector128.GreaterThan(bound, x), bound, x);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Min(Vector128<float> bound, Vector128<float> x) => Vector128.ConditionalSelect(Vector128.LessThan(bound, x), bound, x);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> PowerOfTwo(Vector128<float> shifted) => ((shifted.AsInt32() << 23) + Vector128.Create(0x3F800000)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> WhereNegative(Vector128<float> x, Vector128<float> a, Vector128<float> b) => Vector128.ConditionalSelect((x.AsInt32() >> 31).AsSingle(), a, b);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector128<float> v)
    {
        Vector128<float> pairs = v + Vector128.Shuffle(v, Vector128.Create(2, 3, 0, 1));
        return pairs.GetElement(0) + pairs.GetElement(1);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Sum4(Vector128<float> a, Vector128<float> b, Vector128<float> c, Vector128<float> d, float* sums)
    {
        if (Sse.IsSupported)
        {
            // One transposing addition: (l0+l2, l1+l3) of two vectors at a time, then both halves of all four.
            Vector128<float> ab = Sse.UnpackLow(a, b) + Sse.UnpackHigh(a, b);
            Vector128<float> cd = Sse.UnpackLow(c, d) + Sse.UnpackHigh(c, d);
            (Sse.MoveLowToHigh(ab, cd) + Sse.MoveHighToLow(cd, ab)).Store(sums);
        }
        else if (AdvSimd.Arm64.IsSupported)
        {
            Vector128<double> ab = (AdvSimd.Arm64.ZipLow(a, b) + AdvSimd.Arm64.ZipHigh(a, b)).AsDouble();
            Vector128<double> cd = (AdvSimd.Arm64.ZipLow(c, d) + AdvSimd.Arm64.ZipHigh(c, d)).AsDouble();
            (AdvSimd.Arm64.ZipLow(ab, cd).AsSingle() + AdvSimd.Arm64.ZipHigh(ab, cd).AsSingle()).Store(sums);
        }
        else
        {
            sums[0] = Sum(a);
            sums[1] = Sum(b);
            sums[2] = Sum(c);
            sums[3] = Sum(d);
        }
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Sum8(Vector128<float> a, Vector128<float> b, Vector128<float> c, Vector128<float> d, Vector128<float> e, Vector128<float> f, Vector128<float> g, Vector128<float> h, float* sums)
    {
        Sum4(a, b, c, d, sums);
        Sum4(e, f, g, h, sums + 4);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Pairs(sbyte* p) => Vector128.WidenLower(Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<long>(p)).AsSByte()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Nibbles(Vector128<float> words, int shift, byte flip) => (((words.AsInt32() >>> shift).AsByte() ^ Vector128.Create(flip)) & Vector128.Create((byte)15)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Fives(Vector128<float> words, Vector128<float> plane, int shift) =>
        (Vector128.ConditionalSelect(Vector128.Create((byte)15), (words.AsInt32() >>> shift).AsByte(), (plane.AsInt32() >>> (shift / 4)).AsByte()) & Vector128.Create((byte)31)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> TurnTwo(Vector128<float> words) => ((words.AsInt32() >>> 2) | (words.AsInt32() << 30)).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyHalves(Vector128<float> a, Vector128<float> b) => Sse2.IsSupported ? Sse2.MultiplyAddAdjacent(a.AsInt16(), b.AsInt16()).AsSingle() : MultiplyHalvesAnywhere(a, b);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyBytes(Vector128<float> a, Vector128<float> b) => Ssse3.IsSupported ? Ssse3.MultiplyAddAdjacent(a.AsByte(), b.AsSByte()).AsSingle() : MultiplyBytesAnywhere(a, b);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> AddWords(Vector128<float> a, Vector128<float> b) => (a.AsInt32() + b.AsInt32()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> SubtractWords(Vector128<float> a, Vector128<float> b) => (a.AsInt32() - b.AsInt32()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> AddHalves(Vector128<float> a, Vector128<float> b) => (a.AsInt16() + b.AsInt16()).AsSingle();

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Numbers(Vector128<float> words) => Vector128.ConvertToSingle(words.AsInt32());

    /// <summary><see cref="MultiplyHalves"/> for processors without such an instruction.</summary>
    public static Vector128<float> MultiplyHalvesAnywhere(Vector128<float> a, Vector128<float> b)
    {
        Vector128<int> x = a.AsInt32(), y = b.AsInt32();
        return ((x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16)).AsSingle();
    }

    /// <summary><see cref="MultiplyBytes"/> for processors without such an instruction.</summary>
    public static Vector128<float> MultiplyBytesAnywhere(Vector128<float> a, Vector128<float> b)
    {
        Vector128<ushort> x = a.AsUInt16();
        Vector128<short> y = b.AsInt16();
        return ((x & Vector128.Create((ushort)255)).AsInt16() * (y << 8 >> 8) + (x >>> 8).AsInt16() * (y >> 8)).AsSingle();
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sqrt(Vector128<float> a) => Vector128.Sqrt(a);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Widen(ushort* p) => Vector128.WidenLower(Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<double>(p)).AsUInt16());
}
