using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>The middle of attention, for one row of scores. Lanes count from the row's first score, wherever it lies.</summary>
internal static unsafe class Softmax<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    // Summed in F32 within a block and in F64 over blocks: the error must not grow with the context.
    private const int Block = 256;

    /// <summary>
    /// p ← e^(scale·p - max) for <paramref name="count"/> scores; returns one over their sum. Writes up to 15 floats past the end (zeros).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Exponentials(float* p, int count, float scale)
    {
        V factor = O.Broadcast(scale), top = O.Broadcast(float.NegativeInfinity);
        int j = 0;
        for (; j + O.Count <= count; j += O.Count)
        {
            V v = O.Multiply(O.Load(p + j), factor);
            O.Store(v, p + j);
            top = O.Max(top, v);
        }
        float max = float.NegativeInfinity;
        for (int lane = 0; lane < O.Count; lane++)
            max = MathF.Max(max, ((float*)&top)[lane]);
        for (; j < count; j++)
        {
            p[j] *= scale;
            max = MathF.Max(max, p[j]);
        }
        V shift = O.Broadcast(max);
        double total = 0;
        for (int b = 0; b < count; b += Block)
        {
            V sum = O.Zero;
            int end = Math.Min(count, b + Block);
            for (j = b; j + O.Count <= end; j += O.Count)
            {
                V e = Exponential<O, V>.Of(O.Subtract(O.Load(p + j), shift));
                O.Store(e, p + j);
                sum = O.Add(sum, e);
            }
            if (j < end)
            {
                O.Store(Exponential<O, V>.Of(O.Subtract(O.Load(p + j), shift)), p + j);
                for (int i = end; i < j + O.Count; i++)
                    p[i] = 0;
                sum = O.Add(sum, O.Load(p + j));
            }
            total += O.Sum(sum);
        }
        return (float)(1 / total);
    }

    /// <summary>
    /// With exponentials in p, one over their sum and dp in ds: p ← softmax, ds ← scale·p∘(dp - Σ p∘dp). Both are read up to a whole vector, and may hold anything past <paramref name="count"/>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Backward(float* p, float* ds, int count, float inverse, float scale)
    {
        int whole = count / O.Count * O.Count;
        double total = 0;
        V f = O.Broadcast(inverse);
        for (int b = 0; b < whole; b += Block)
        {
            V sum = O.Zero;
            for (int j = b; j < Math.Min(whole, b + Block); j += O.Count)
            {
                V e = O.Multiply(O.Load(p + j), f);
                O.Store(e, p + j);
                sum = O.Fma(e, O.Load(ds + j), sum);
            }
            total += O.Sum(sum);
        }
        for (int j = whole; j < count; j++)
        {
            p[j] *= inverse;
            total += (double)p[j] * ds[j];
        }
        float mean = (float)total;
        V m = O.Broadcast(mean), s = O.Broadcast(scale);
        for (int j = 0; j < whole; j += O.Count)
            O.Store(O.Multiply(O.Multiply(O.Load(p + j), s), O.Subtract(O.Load(ds + j), m)), ds + j);
        for (int j = whole; j < count; j++)
            ds[j] = p[j] * scale * (ds[j] - mean);
    }
}
