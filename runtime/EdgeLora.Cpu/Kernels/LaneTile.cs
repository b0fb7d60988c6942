using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace EdgeLora.Cpu;

/// <summary>
/// <see cref="OuterTile{O, V}"/> and <see cref="ScaledTile{O, V}"/> on Arm, where x lies input by input: its instruction multiplies by one lane of a vector, so four inputs of a row are loaded at once and none is
/// spread over a vector of its own. Four rows times twelve outputs; the bits are the same.
/// </summary>
internal static unsafe class LaneTile
{
    /// <summary>True for Arm's vectors. A constant for the compiler.</summary>
    public static bool Takes<V>() => AdvSimd.Arm64.IsSupported && typeof(V) == typeof(Vector128<float>);

    /// <summary>
    /// Adds the products of <paramref name="rows"/> rows (up to eight) with w [groups·depth][12 outputs], rows of it <paramref name="wDepth"/> floats apart: the groups' sums times their factors [groups][12] where
    /// there are some, else the sum of the one group, or one product after the other where <paramref name="chain"/>.
    /// </summary>
    public static void Run(float* x, long xRow, int rows, float* w, long wDepth, float* factors, int groups, int depth, float* y, long yRow, bool chain)
    {
        Four(x, xRow, Math.Min(rows, 4), w, wDepth, factors, groups, depth, y, yRow, chain);
        if (rows > 4)
            Four(x + 4 * xRow, xRow, rows - 4, w, wDepth, factors, groups, depth, y + 4 * yRow, yRow, chain);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four(float* x, long xRow, int rows, float* w, long wDepth, float* factors, int groups, int depth, float* y, long yRow, bool chain)
    {
        float* x1 = x + (rows > 1 ? xRow : 0), x2 = x + (rows > 2 ? 2 * xRow : 0), x3 = x + (rows > 3 ? 3 * xRow : 0);
        float* y1 = y + (rows > 1 ? yRow : 0), y2 = y + (rows > 2 ? 2 * yRow : 0), y3 = y + (rows > 3 ? 3 * yRow : 0);
        for (int g = 0, k = 0; g < groups; g++)
        {
            Vector128<float> a00 = default, a01 = default, a02 = default;
            Vector128<float> a10 = default, a11 = default, a12 = default;
            Vector128<float> a20 = default, a21 = default, a22 = default;
            Vector128<float> a30 = default, a31 = default, a32 = default;
            if (chain)
            {
                a00 = Vector128.Load(y);
                a01 = Vector128.Load(y + 4);
                a02 = Vector128.Load(y + 8);
                a10 = Vector128.Load(y1);
                a11 = Vector128.Load(y1 + 4);
                a12 = Vector128.Load(y1 + 8);
                a20 = Vector128.Load(y2);
                a21 = Vector128.Load(y2 + 4);
                a22 = Vector128.Load(y2 + 8);
                a30 = Vector128.Load(y3);
                a31 = Vector128.Load(y3 + 4);
                a32 = Vector128.Load(y3 + 8);
            }
            int end = k + depth;
            for (; k + 4 <= end; k += 4, w += 4 * wDepth)
            {
                Vector128<float> v0 = Vector128.Load(x + k), v1 = Vector128.Load(x1 + k), v2 = Vector128.Load(x2 + k), v3 = Vector128.Load(x3 + k);
                Step(w, v0, v1, v2, v3, 0, ref a00, ref a01, ref a02, ref a10, ref a11, ref a12, ref a20, ref a21, ref a22, ref a30, ref a31, ref a32);
                Step(w + wDepth, v0, v1, v2, v3, 1, ref a00, ref a01, ref a02, ref a10, ref a11, ref a12, ref a20, ref a21, ref a22, ref a30, ref a31, ref a32);
                Step(w + 2 * wDepth, v0, v1, v2, v3, 2, ref a00, ref a01, ref a02, ref a10, ref a11, ref a12, ref a20, ref a21, ref a22, ref a30, ref a31, ref a32);
                Step(w + 3 * wDepth, v0, v1, v2, v3, 3, ref a00, ref a01, ref a02, ref a10, ref a11, ref a12, ref a20, ref a21, ref a22, ref a30, ref a31, ref a32);
            }
            for (; k < end; k++, w += wDepth)
                Step(w, Vector128.CreateScalarUnsafe(x[k]), Vector128.CreateScalarUnsafe(x1[k]), Vector128.CreateScalarUnsafe(x2[k]), Vector128.CreateScalarUnsafe(x3[k]), 0,
                    ref a00, ref a01, ref a02, ref a10, ref a11, ref a12, ref a20, ref a21, ref a22, ref a30, ref a31, ref a32);
            if (factors is not null)
            {
                Vector128<float> f0 = Vector128.Load(factors), f1 = Vector128.Load(factors + 4), f2 = Vector128.Load(factors + 8);
                a00 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y), f0, a00);
                a01 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y + 4), f1, a01);
                a02 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y + 8), f2, a02);
                a10 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y1), f0, a10);
                a11 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y1 + 4), f1, a11);
                a12 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y1 + 8), f2, a12);
                a20 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y2), f0, a20);
                a21 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y2 + 4), f1, a21);
                a22 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y2 + 8), f2, a22);
                a30 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y3), f0, a30);
                a31 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y3 + 4), f1, a31);
                a32 = AdvSimd.FusedMultiplyAdd(Vector128.Load(y3 + 8), f2, a32);
                factors += 12;
            }
            else if (!chain)
            {
                // All loads before any store: rows that repeat the first must add once.
                a00 = Vector128.Load(y) + a00;
                a01 = Vector128.Load(y + 4) + a01;
                a02 = Vector128.Load(y + 8) + a02;
                a10 = Vector128.Load(y1) + a10;
                a11 = Vector128.Load(y1 + 4) + a11;
                a12 = Vector128.Load(y1 + 8) + a12;
                a20 = Vector128.Load(y2) + a20;
                a21 = Vector128.Load(y2 + 4) + a21;
                a22 = Vector128.Load(y2 + 8) + a22;
                a30 = Vector128.Load(y3) + a30;
                a31 = Vector128.Load(y3 + 4) + a31;
                a32 = Vector128.Load(y3 + 8) + a32;
            }
            a00.Store(y);
            a01.Store(y + 4);
            a02.Store(y + 8);
            a10.Store(y1);
            a11.Store(y1 + 4);
            a12.Store(y1 + 8);
            a20.Store(y2);
            a21.Store(y2 + 4);
            a22.Store(y2 + 8);
            a30.Store(y3);
            a31.Store(y3 + 4);
            a32.Store(y3 + 8);
        }
    }

    // One input of four rows.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step(float* w, Vector128<float> v0, Vector128<float> v1, Vector128<float> v2, Vector128<float> v3, [ConstantExpected(Max = (byte)3)] byte lane,
        ref Vector128<float> a00, ref Vector128<float> a01, ref Vector128<float> a02, ref Vector128<float> a10, ref Vector128<float> a11, ref Vector128<float> a12,
        ref Vector128<float> a20, ref Vector128<float> a21, ref Vector128<float> a22, ref Vector128<float> a30, ref Vector128<float> a31, ref Vector128<float> a32)
    {
        Vector128<float> w0 = Vector128.Load(w), w1 = Vector128.Load(w + 4), w2 = Vector128.Load(w + 8);
        a00 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a00, w0, v0, lane);
        a01 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a01, w1, v0, lane);
        a02 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a02, w2, v0, lane);
        a10 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a10, w0, v1, lane);
        a11 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a11, w1, v1, lane);
        a12 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a12, w2, v1, lane);
        a20 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a20, w0, v2, lane);
        a21 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a21, w1, v2, lane);
        a22 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a22, w2, v2, lane);
        a30 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a30, w0, v3, lane);
        a31 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a31, w1, v3, lane);
        a32 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a32, w2, v3, lane);
    }
}
