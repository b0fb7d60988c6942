using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace EdgeLora.Core;

/// <summary>The writing half of <see cref="KBlocks"/>: ggml's quantisers (ggml-quants.c, quantize_row_*_K_impl) with an importance of 1. Inputs are finite; throws <see cref="OverflowException"/> for a scale past F16.</summary>
internal static class KBlockWriter
{
    private const int BlockSize = KBlocks.BlockSize;

    /// <summary>256 floats to one Q2_K block (84 bytes).</summary>
    public static void WriteQ2(ReadOnlySpan<float> x, Span<byte> block)
    {
        Span<int> scales = stackalloc int[16], minimums = stackalloc int[16], q = stackalloc int[BlockSize];
        (float d, float min) = Ranges(x, 16, 3, 15, ScaleSearch.SquareSum(x) / BlockSize, scales, minimums);
        (d, min) = (QuantBlocks.WriteScale(block[80..], d), QuantBlocks.WriteScale(block[82..], min));
        Levels(x, 16, d, min, 0, 3, scales, minimums, q);
        for (int g = 0; g < 16; g++)
            block[g] = (byte)(scales[g] | minimums[g] << 4);
        Pairs(q, block.Slice(16, 64));
    }

    /// <summary>256 floats to one Q3_K block (110 bytes).</summary>
    public static void WriteQ3(ReadOnlySpan<float> x, Span<byte> block)
    {
        Span<float> scales = stackalloc float[16], sums = stackalloc float[16], weight = stackalloc float[16];
        Span<int> levels = stackalloc int[16], none = stackalloc int[16], q = stackalloc int[BlockSize];
        float mean = 2 * ScaleSearch.SquareSum(x) / BlockSize;
        for (int g = 0; g < 16; g++)
        {
            sums[g] = Weigh(x.Slice(g * 16, 16), mean, weight);
            scales[g] = ScaleSearch.Signed(x.Slice(g * 16, 16), weight, 4, out _);
        }
        float d = ScaleSearch.Signed(scales, sums, 32, out float inverse);
        for (int g = 0; g < 16; g++)
            levels[g] = (int)Math.Clamp(MathF.Round(scales[g] * inverse), -32, 31);
        d = QuantBlocks.WriteScale(block[108..], d);
        Levels(x, 16, d, 0, -4, 3, levels, none, q);
        Span<byte> packed = block.Slice(96, 12);
        packed.Clear();
        for (int g = 0; g < 16; g++)
        {
            int s = levels[g] + 32;
            packed[g % 8] |= (byte)((s & 15) << g / 8 * 4);
            packed[8 + g % 4] |= (byte)(s >> 4 << g / 4 * 2);
        }
        Span<byte> high = block[..32];
        high.Clear();
        for (int i = 0; i < BlockSize; i++)
        {
            int level = q[i] + 4;
            high[i % 32] |= (byte)(level >> 2 << i / 32);
            q[i] = level & 3;
        }
        Pairs(q, block.Slice(32, 64));
    }

    /// <summary>256 floats to one Q4_K block (144 bytes).</summary>
    public static void WriteQ4(ReadOnlySpan<float> x, Span<byte> block)
    {
        Span<int> q = stackalloc int[BlockSize];
        WriteQ4OrQ5(x, 15, block, q);
        for (int g = 0; g < 8; g += 2)
            for (int i = 0; i < 32; i++)
                block[16 + g * 16 + i] = (byte)(q[g * 32 + i] | q[g * 32 + 32 + i] << 4);
    }

    /// <summary>256 floats to one Q5_K block (176 bytes).</summary>
    public static void WriteQ5(ReadOnlySpan<float> x, Span<byte> block)
    {
        Span<int> q = stackalloc int[BlockSize];
        WriteQ4OrQ5(x, 31, block, q);
        Span<byte> high = block.Slice(16, 32);
        high.Clear();
        for (int g = 0; g < 8; g += 2)
            for (int i = 0; i < 32; i++)
            {
                int first = q[g * 32 + i], second = q[g * 32 + 32 + i];
                high[i] |= (byte)(first >> 4 << g | second >> 4 << g + 1);
                block[48 + g * 16 + i] = (byte)(first & 15 | (second & 15) << 4);
            }
    }

    /// <summary>256 floats to one Q6_K block (210 bytes).</summary>
    public static void WriteQ6(ReadOnlySpan<float> x, Span<byte> block)
    {
        Span<float> scales = stackalloc float[16], weight = stackalloc float[16];
        Span<int> levels = stackalloc int[16], none = stackalloc int[16], q = stackalloc int[BlockSize];
        weight.Fill(1);
        for (int g = 0; g < 16; g++)
            scales[g] = ScaleSearch.Signed(x.Slice(g * 16, 16), weight, 32, out _);
        float extreme = ScaleSearch.Extreme(scales);
        if (extreme == 0)
        {
            block.Clear();
            return;
        }
        float d = QuantBlocks.WriteScale(block[208..], extreme / -128);
        for (int g = 0; g < 16; g++)
            levels[g] = (int)Math.Clamp(MathF.Round(-128 / extreme * scales[g]), -128, 127);
        Levels(x, 16, d, 0, -32, 31, levels, none, q);
        for (int g = 0; g < 16; g++)
            block[192 + g] = (byte)(sbyte)levels[g];
        for (int half = 0; half < 2; half++)
            for (int i = 0; i < 32; i++)
            {
                ReadOnlySpan<int> four = q[(half * 128)..];
                (int a, int b, int c, int e) = (four[i] + 32, four[32 + i] + 32, four[64 + i] + 32, four[96 + i] + 32);
                block[half * 64 + i] = (byte)(a & 15 | (c & 15) << 4);
                block[half * 64 + 32 + i] = (byte)(b & 15 | (e & 15) << 4);
                block[128 + half * 32 + i] = (byte)(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | e >> 4 << 6);
            }
    }

    private static void WriteQ4OrQ5(ReadOnlySpan<float> x, int largest, Span<byte> block, Span<int> q)
    {
        Span<int> scales = stackalloc int[8], minimums = stackalloc int[8];
        (float d, float min) = Ranges(x, 32, largest, 63, 2 * ScaleSearch.SquareSum(x) / BlockSize, scales, minimums);
        (d, min) = (QuantBlocks.WriteScale(block, d), QuantBlocks.WriteScale(block[2..], min));
        Levels(x, 32, d, min, 0, largest, scales, minimums, q);
        for (int g = 0; g < 4; g++)
        {
            block[4 + g] = (byte)(scales[g] | scales[g + 4] >> 4 << 6);
            block[8 + g] = (byte)(minimums[g] | minimums[g + 4] >> 4 << 6);
            block[12 + g] = (byte)(scales[g + 4] & 15 | (minimums[g + 4] & 15) << 4);
        }
    }

    // The groups' scales and minimums as levels from 0 to `coarse`, and the factors of these levels.
    private static (float Scale, float Minimum) Ranges(ReadOnlySpan<float> x, int size, int largest, int coarse, float mean, Span<int> scales, Span<int> minimums)
    {
        int groups = BlockSize / size;
        Span<float> scale = stackalloc float[groups], minimum = stackalloc float[groups], sums = stackalloc float[groups], weight = stackalloc float[size];
        for (int g = 0; g < groups; g++)
        {
            sums[g] = Weigh(x.Slice(g * size, size), mean, weight);
            scale[g] = ScaleSearch.WithMinimum(x.Slice(g * size, size), weight, largest, out minimum[g]);
        }
        return (ScaleSearch.OfPositive(scale, sums, coarse, scales), ScaleSearch.OfPositive(minimum, sums, coarse, minimums));
    }

    // sqrt(mean + x²), and their sum.
    private static float Weigh(ReadOnlySpan<float> x, float mean, Span<float> weight)
    {
        float sum = 0;
        for (int i = 0; i < x.Length; i++)
            sum += weight[i] = MathF.Sqrt(mean + x[i] * x[i]);
        return sum;
    }

    // Once more with the scales as they are stored. A scale of 0 leaves level 0.
    private static void Levels(ReadOnlySpan<float> x, int size, float d, float min, int low, int high, ReadOnlySpan<int> scales, ReadOnlySpan<int> minimums, Span<int> q)
    {
        ReadOnlySpan<Vector256<float>> xs = MemoryMarshal.Cast<float, Vector256<float>>(x);
        Span<Vector256<int>> levels = MemoryMarshal.Cast<int, Vector256<int>>(q);
        for (int i = 0; i < xs.Length; i++)
        {
            int g = i * 8 / size;
            float scale = d * scales[g];
            levels[i] = scale == 0 ? default : Vector256.ConvertToInt32(ScaleSearch.Level((xs[i] + Vector256.Create(min * minimums[g])) / Vector256.Create(scale), low, high));
        }
    }

    // Two bits of four elements a byte: of 128 elements i, 32 + i, 64 + i, 96 + i.
    private static void Pairs(ReadOnlySpan<int> q, Span<byte> bytes)
    {
        for (int half = 0; half < 2; half++)
            for (int i = 0; i < 32; i++)
            {
                ReadOnlySpan<int> four = q[(half * 128)..];
                bytes[half * 32 + i] = (byte)(four[i] | four[32 + i] << 2 | four[64 + i] << 4 | four[96 + i] << 6);
            }
    }
}
