using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace EdgeLora.Cpu;

/// <summary>The inner loop of <see cref="PackedProduct{O, V}"/> for one row of x and Q8_0 on Arm: the sixteen bytes of a panel are loaded at once and widened by halves. The bits are the same.</summary>
internal static unsafe class LaneBytes
{
    private const int Group = 32;

    /// <summary>Adds some inputs more, from whole groups, to the sums of the panel that begins at <paramref name="w"/>; factors are [groups][16].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(sbyte* w, long step, float* x, int inputs, float* factors, float* sums)
    {
        Vector128<float> t0 = Vector128.Load(sums), t1 = Vector128.Load(sums + 4), t2 = Vector128.Load(sums + 8), t3 = Vector128.Load(sums + 12);
        for (float* end = x + inputs; x < end; factors += PackedWeight.Panel)
        {
            Vector128<float> a0 = default, a1 = default, a2 = default, a3 = default;
            for (float* last = x + Group; x < last; x += 8, w += step)
            {
                Vector128<float> v = Vector128.Load(x), u = Vector128.Load(x + 4);
                Add(w, v, 0, ref a0, ref a1, ref a2, ref a3);
                Add(w + 16, v, 1, ref a0, ref a1, ref a2, ref a3);
                Add(w + 32, v, 2, ref a0, ref a1, ref a2, ref a3);
                Add(w + 48, v, 3, ref a0, ref a1, ref a2, ref a3);
                Add(w + 64, u, 0, ref a0, ref a1, ref a2, ref a3);
                Add(w + 80, u, 1, ref a0, ref a1, ref a2, ref a3);
                Add(w + 96, u, 2, ref a0, ref a1, ref a2, ref a3);
                Add(w + 112, u, 3, ref a0, ref a1, ref a2, ref a3);
            }
            t0 = AdvSimd.FusedMultiplyAdd(t0, Vector128.Load(factors), a0);
            t1 = AdvSimd.FusedMultiplyAdd(t1, Vector128.Load(factors + 4), a1);
            t2 = AdvSimd.FusedMultiplyAdd(t2, Vector128.Load(factors + 8), a2);
            t3 = AdvSimd.FusedMultiplyAdd(t3, Vector128.Load(factors + 12), a3);
        }
        t0.Store(sums);
        t1.Store(sums + 4);
        t2.Store(sums + 8);
        t3.Store(sums + 12);
    }

    // One input.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(sbyte* w, Vector128<float> x, [ConstantExpected(Max = (byte)3)] byte lane, ref Vector128<float> a0, ref Vector128<float> a1, ref Vector128<float> a2, ref Vector128<float> a3)
    {
        (Vector128<short> low, Vector128<short> high) = Vector128.Widen(Vector128.Load(w));
        a0 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a0, Vector128.ConvertToSingle(Vector128.WidenLower(low)), x, lane);
        a1 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a1, Vector128.ConvertToSingle(Vector128.WidenUpper(low)), x, lane);
        a2 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a2, Vector128.ConvertToSingle(Vector128.WidenLower(high)), x, lane);
        a3 = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(a3, Vector128.ConvertToSingle(Vector128.WidenUpper(high)), x, lane);
    }
}
