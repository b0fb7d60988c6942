using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>Sums over rows for every column, in row order, begun at what the sum holds: however rows are cut into calls, the bits are the same.</summary>
internal static unsafe class ColumnSum<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary><c>sum[c] += Σ_t factor·x[t,c]</c> for columns [<paramref name="start"/>, <paramref name="end"/>).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scaled(float* x, long stride, int rows, float factor, float* sum, int start, int end)
    {
        V f = O.Broadcast(factor);
        int c = start;
        for (; c + 4 * O.Count <= end; c += 4 * O.Count)
        {
            V s0 = O.Load(sum + c), s1 = O.Load(sum + c + O.Count), s2 = O.Load(sum + c + 2 * O.Count), s3 = O.Load(sum + c + 3 * O.Count);
            float* row = x + c;
            for (int t = 0; t < rows; t++, row += stride)
            {
                s0 = O.Fma(f, O.Load(row), s0);
                s1 = O.Fma(f, O.Load(row + O.Count), s1);
                s2 = O.Fma(f, O.Load(row + 2 * O.Count), s2);
                s3 = O.Fma(f, O.Load(row + 3 * O.Count), s3);
            }
            O.Store(s0, sum + c);
            O.Store(s1, sum + c + O.Count);
            O.Store(s2, sum + c + 2 * O.Count);
            O.Store(s3, sum + c + 3 * O.Count);
        }
        for (; c < end; c++)
            for (int t = 0; t < rows; t++)
                sum[c] = Lanes.MultiplyAdd(factor, x[t * stride + c], sum[c]);
    }

    /// <summary><c>sum[c] += Σ_t x[t,c]·y[t,c]</c> for columns [<paramref name="start"/>, <paramref name="end"/>).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Products(float* x, long xStride, float* y, long yStride, int rows, float* sum, int start, int end)
    {
        int c = start;
        for (; c + 2 * O.Count <= end; c += 2 * O.Count)
        {
            V s0 = O.Load(sum + c), s1 = O.Load(sum + c + O.Count);
            float* a = x + c, b = y + c;
            for (int t = 0; t < rows; t++, a += xStride, b += yStride)
            {
                s0 = O.Fma(O.Load(a), O.Load(b), s0);
                s1 = O.Fma(O.Load(a + O.Count), O.Load(b + O.Count), s1);
            }
            O.Store(s0, sum + c);
            O.Store(s1, sum + c + O.Count);
        }
        for (; c < end; c++)
            for (int t = 0; t < rows; t++)
                sum[c] = Lanes.MultiplyAdd(x[t * xStride + c], y[t * yStride + c], sum[c]);
    }

    /// <summary>The part of <paramref name="columns"/> columns that falls to <paramref name="part"/>, in whole cache lines but for the last.</summary>
    public static (int Start, int End) Range(int columns, int part, int parts)
    {
        (long start, long end) = Elements.Range(columns, part, parts);
        return ((int)start, (int)end);
    }
}
