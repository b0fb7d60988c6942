using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace EdgeLora.Cpu;

/// <summary>Turns rows into columns, in squares of four by four.</summary>
internal static unsafe class Transpose
{
    /// <summary>to[c·<paramref name="stride"/> + r] = <paramref name="scale"/>·from[r·columns + c].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scaled(float* from, int rows, int columns, float scale, float* to, int stride)
    {
        int r = 0, whole = columns / 4 * 4;
        if (Sse.IsSupported || AdvSimd.Arm64.IsSupported)
        {
            Vector128<float> factor = Vector128.Create(scale);
            for (; r + 4 <= rows; r += 4)
            {
                float* row = from + (long)r * columns;
                for (int c = 0; c < whole; c += 4)
                    Square(row + c, columns, factor, to + (long)c * stride + r, stride);
                for (int c = whole; c < columns; c++)
                    for (int i = 0; i < 4; i++)
                        to[(long)c * stride + r + i] = scale * row[i * columns + c];
            }
        }
        for (; r < rows; r++)
            for (int c = 0; c < columns; c++)
                to[(long)c * stride + r] = scale * from[(long)r * columns + c];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Square(float* from, int columns, Vector128<float> factor, float* to, int stride)
    {
        Vector128<float> a = Vector128.Load(from), b = Vector128.Load(from + columns), c = Vector128.Load(from + 2 * columns), d = Vector128.Load(from + 3 * columns);
        Vector128<float> w, x, y, z;
        if (Sse.IsSupported)
        {
            Vector128<float> abLow = Sse.UnpackLow(a, b), abHigh = Sse.UnpackHigh(a, b), cdLow = Sse.UnpackLow(c, d), cdHigh = Sse.UnpackHigh(c, d);
            (w, x, y, z) = (Sse.MoveLowToHigh(abLow, cdLow), Sse.MoveHighToLow(cdLow, abLow), Sse.MoveLowToHigh(abHigh, cdHigh), Sse.MoveHighToLow(cdHigh, abHigh));
        }
        else
        {
            Vector128<double> abLow = AdvSimd.Arm64.ZipLow(a, b).AsDouble(), abHigh = AdvSimd.Arm64.ZipHigh(a, b).AsDouble(), cdLow = AdvSimd.Arm64.ZipLow(c, d).AsDouble(), cdHigh = AdvSimd.Arm64.ZipHigh(c, d).AsDouble();
            (w, x) = (AdvSimd.Arm64.ZipLow(abLow, cdLow).AsSingle(), AdvSimd.Arm64.ZipHigh(abLow, cdLow).AsSingle());
            (y, z) = (AdvSimd.Arm64.ZipLow(abHigh, cdHigh).AsSingle(), AdvSimd.Arm64.ZipHigh(abHigh, cdHigh).AsSingle());
        }
        (factor * w).Store(to);
        (factor * x).Store(to + stride);
        (factor * y).Store(to + 2 * stride);
        (factor * z).Store(to + 3 * stride);
    }
}
