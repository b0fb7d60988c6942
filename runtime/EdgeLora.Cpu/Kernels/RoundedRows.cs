using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// Rows of a linear layer's input as whole numbers: of every 32 inputs the largest magnitude is L = 127 or 32767, x ≈ q·d with d = max|x| / L, q = x · (L / max|x|) rounded to the nearest, of two the even one.
/// A group in memory is its words, d, 8·Σ q and 16·Σ q (what sums have too much where weights are stored plus 8 or 16), and d·Σ q for minimums.
/// </summary>
internal static unsafe class RoundedRows
{
    /// <summary>Inputs of a group.</summary>
    public const int Group = 32;

    // Below this 1 / max|x| could be infinite; such inputs are zeros beside any others.
    private const float Smallest = 1e-30f;
    private const float Rounding = 12582912;

    /// <summary>Words of numbers of a group for products with a type; 0 for one that has no such products, see <see cref="IntegerProduct{O, V}"/>.</summary>
    public static int Words(DType type) => type switch
    {
        DType.Q8_0 => 16,
        DType.Q4_0 or DType.Q4_1 or DType.Q4_K or DType.Q5_0 or DType.Q5_1 or DType.Q5_K => 8,
        _ => 0,
    };

    /// <summary>32-bit words of a group with <paramref name="words"/> words of numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Stride(int words) => words + 4;

    /// <summary>Rounds <paramref name="inputs"/> inputs, whole groups, to 16 <paramref name="words"/> a group of two numbers, or to 8 of four: the even ones of 8 inputs, then the odd ones. A group with an input that is no finite number is NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(float* x, int inputs, int words, int* to)
    {
        float limit = words == 16 ? 32767 : 127;
        Vector256<int> mask = Vector256.Create(0x7FFFFFFF), bias = Vector256.Create(Rounding).AsInt32();
        for (int k = 0; k < inputs; k += Group, to += Stride(words))
        {
            Vector256<float> a = Vector256.Load(x + k), b = Vector256.Load(x + k + 8), c = Vector256.Load(x + k + 16), d = Vector256.Load(x + k + 24);
            // Magnitudes are ordered as whole numbers are, no number above all.
            Vector256<int> most = Vector256.Max(Vector256.Max(a.AsInt32() & mask, b.AsInt32() & mask), Vector256.Max(c.AsInt32() & mask, d.AsInt32() & mask));
            Vector128<int> four = Vector128.Max(most.GetLower(), most.GetUpper());
            float max = BitConverter.Int32BitsToSingle(Math.Max(Math.Max(four[0], four[1]), Math.Max(four[2], four[3])));
            bool finite = float.IsFinite(max);
            float inverse = finite && max >= Smallest ? limit / max : 0;
            *(float*)(to + words) = !finite ? float.NaN : inverse == 0 ? 0 : max / limit;
            if (inverse == 0)
            {
                new Span<int>(to, words).Clear();
                to[words + 1] = to[words + 2] = 0;
                *(float*)(to + words + 3) = finite ? 0 : float.NaN;
                continue;
            }
            Vector256<float> factor = Vector256.Create(inverse), rounding = Vector256.Create(Rounding);
            Vector256<int> p = (a * factor + rounding).AsInt32() - bias, q = (b * factor + rounding).AsInt32() - bias, r = (c * factor + rounding).AsInt32() - bias, s = (d * factor + rounding).AsInt32() - bias;
            Vector256<short> pq = Vector256.Narrow(p, q), rs = Vector256.Narrow(r, s);
            int sum = Vector256.Sum(p + q + (r + s));
            to[words + 1] = 8 * sum;
            to[words + 2] = 16 * sum;
            *(float*)(to + words + 3) = *(float*)(to + words) * sum;
            if (words == 16)
            {
                pq.Store((short*)to);
                rs.Store((short*)to + 16);
                continue;
            }
            Vector128<sbyte> order = Vector128.Create((sbyte)0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
            Vector256<sbyte> bytes = Vector256.Narrow(pq, rs);
            Vector128.Shuffle(bytes.GetLower(), order).Store((sbyte*)to);
            Vector128.Shuffle(bytes.GetUpper(), order).Store((sbyte*)to + 16);
        }
    }

    /// <summary>One part of a plan's rows.</summary>
    public static void Run(object context, int part, int parts)
    {
        LinearPlan plan = (LinearPlan)context;
        (int first, int last) = WorkerPool.Split(plan.RowCount, part, parts);
        for (int t = first; t < last; t++)
        {
            if (plan.RoundedTo16)
                Run(plan.X + t * plan.XStride, plan.Inputs, 16, plan.Row(t, 16));
            if (plan.RoundedTo8)
                Run(plan.X + t * plan.XStride, plan.Inputs, 8, plan.Row(t, 8));
        }
    }
}
