using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace EdgeLora.Cpu;

/// <summary>Sixteen stored rows to one panel of a <see cref="PackedWeight"/>, of which so many take turns. A row that is null is zeros. All return whether an F16 was infinite or no number.</summary>
internal static unsafe class PackPanel
{
    /// <summary>GGUF Q8_0: blocks of a factor and 32 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool Q8_0(byte** rows, int blocks, ushort* scales, byte* data, int turns)
    {
        Vector128<byte>* lines = stackalloc Vector128<byte>[16];
        bool special = false;
        for (int b = 0; b < blocks; b++, scales += 16 * turns)
        {
            for (int r = 0; r < 16; r++)
            {
                scales[r] = rows[r] is null ? (ushort)0 : *(ushort*)(rows[r] + b * 34);
                special |= Special(scales[r]);
            }
            for (int half = 0; half < 32; half += 16, data += 256 * turns)
            {
                for (int r = 0; r < 16; r++)
                    lines[r] = rows[r] is null ? Vector128<byte>.Zero : Vector128.Load(rows[r] + b * 34 + 2 + half);
                Transpose(lines, data, data + 128 * turns);
            }
        }
        return special;
    }

    /// <summary>The same with pairs of inputs side by side.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool Q8_0Pairs(byte** rows, int blocks, ushort* scales, byte* data, int turns)
    {
        bool special = false;
        for (int b = 0; b < blocks; b++, scales += 16 * turns, data += 512 * turns)
            for (int r = 0; r < 16; r++)
            {
                ushort* block = rows[r] is null ? null : (ushort*)(rows[r] + b * 34);
                scales[r] = block is null ? (ushort)0 : *block;
                special |= Special(scales[r]);
                for (int pair = 0; pair < 16; pair++)
                    *(ushort*)(data + pair / 4 * 128 * turns + pair % 4 * 32 + 2 * r) = block is null ? (ushort)0 : block[1 + pair];
            }
        return special;
    }

    /// <summary>GGUF Q4_0: blocks of a factor and 16 bytes, byte j the elements j and j + 16 plus 8.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool Q4_0(byte** rows, int blocks, ushort* scales, uint* data, int turns)
    {
        bool special = false;
        for (int b = 0; b < blocks; b++, scales += 16 * turns, data += 64 * turns)
            for (int r = 0; r < 16; r++)
            {
                byte* block = rows[r] is null ? null : rows[r] + b * 18;
                scales[r] = block is null ? (ushort)0 : *(ushort*)block;
                special |= Special(scales[r]);
                // A field of 8 is the number 0.
                ulong first = block is null ? 0x8888888888888888 : *(ulong*)(block + 2), second = block is null ? 0x8888888888888888 : *(ulong*)(block + 10);
                data[r] = Fields(first) ^ 0x88888888;
                data[16 * turns + r] = Fields(second) ^ 0x88888888;
                data[32 * turns + r] = Fields(first >> 4) ^ 0x88888888;
                data[48 * turns + r] = Fields(second >> 4) ^ 0x88888888;
            }
        return special;
    }

    /// <summary>F16 or BF16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool Halves(byte** rows, int inputs, int groups, uint* data, int turns)
    {
        uint special = 0;
        for (int r = 0; r < 16; r++)
        {
            ushort* row = (ushort*)rows[r];
            uint* to = data + r;
            int pair = 0;
            for (; row is not null && 2 * pair + 1 < inputs; pair++)
            {
                uint word = *(uint*)(row + 2 * pair);
                to[At(pair, turns)] = word;
                // An exponent of ones carries into the sign.
                special |= ((word & 0x7FFF7FFF) + 0x04000400) & 0x80008000;
            }
            if (row is not null && inputs % 2 != 0)
            {
                uint last = row[inputs - 1];
                to[At(pair++, turns)] = last;
                special |= ((last & 0x7FFF) + 0x0400) & 0x8000;
            }
            for (; pair < 4 * groups; pair++)
                to[At(pair, turns)] = 0;
        }
        return special != 0;
    }

    // Four pairs of inputs are a group.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int At(int pair, int turns) => (pair / 4 * turns * 4 + pair % 4) * 16;

    /// <summary>True for an F16 that is infinite or no number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Special(ushort half) => (half & 0x7C00) == 0x7C00;

    /// <summary>The low four bits of eight bytes side by side.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Fields(ulong bytes)
    {
        bytes &= 0x0F0F0F0F0F0F0F0F;
        bytes = (bytes | bytes >> 4) & 0x00FF00FF00FF00FF;
        bytes = (bytes | bytes >> 8) & 0x0000FFFF0000FFFF;
        return (uint)(bytes | bytes >> 16);
    }

    // Four rounds of interleaving line i with line i + 8 turn lines into columns.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transpose(Vector128<byte>* lines, byte* first, byte* second)
    {
        Vector128<byte>* other = stackalloc Vector128<byte>[16];
        for (int round = 0; round < 4; round++)
        {
            for (int i = 0; i < 8; i++)
                (other[2 * i], other[2 * i + 1]) = Interleave(lines[i], lines[i + 8]);
            Vector128<byte>* swap = lines;
            lines = other;
            other = swap;
        }
        for (int i = 0; i < 8; i++)
        {
            lines[i].Store(first + 16 * i);
            lines[8 + i].Store(second + 16 * i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector128<byte> Low, Vector128<byte> High) Interleave(Vector128<byte> a, Vector128<byte> b)
    {
        if (Sse2.IsSupported)
            return (Sse2.UnpackLow(a, b), Sse2.UnpackHigh(a, b));
        if (AdvSimd.Arm64.IsSupported)
            return (AdvSimd.Arm64.ZipLow(a, b), AdvSimd.Arm64.ZipHigh(a, b));
        Vector128<byte> low = default, high = default;
        for (int i = 0; i < 8; i++)
        {
            low = low.WithElement(2 * i, a[i]).WithElement(2 * i + 1, b[i]);
            high = high.WithElement(2 * i, a[i + 8]).WithElement(2 * i + 1, b[i + 8]);
        }
        return (low, high);
    }
}
