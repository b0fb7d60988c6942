using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// <c>y[t,h] = Σ_j softmax_j(scale·q[t,h]·k[j])·v[j]</c> over the cached positions that row t sees. Each (row, head) is computed alone and
/// depends on the positions it sees only: the same bits however a prompt is cut into batches.
/// </summary>
internal static unsafe class Attention<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    // Values are added in blocks, then blocks are added: the error of one long running sum would grow with the context.
    private const int Block = 128;

    /// <summary>One part: some (row, head) of every sequence.</summary>
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        int heads = op.Shape.Heads, headSize = op.Shape.HeadSize, group = heads / op.Shape.KvHeads;
        float* scratch = op.Scratch[part].Reserve(0);
        foreach (SequenceSpan sequence in op.Batch!.Sequences)
        {
            DeviceTensor keys = sequence.Cache.Keys[op.Layer];
            float* k = Pointer.In(keys), v = Pointer.In(sequence.Cache.Values[op.Layer]);
            // Later rows see more, so parts take turns; the rows left over are shared by heads.
            int whole = sequence.Count / parts * parts;
            for (int t = part; t < whole; t += parts)
                for (int head = 0; head < heads; head++)
                    Row(t, head);
            (int start, int end) = WorkerPool.Split((sequence.Count - whole) * heads, part, parts);
            for (int item = start; item < end; item++)
                Row(whole + item / heads, item % heads);

            void Row(int t, int head)
            {
                int last = sequence.Past + (op.Shape.Causal ? t : sequence.Count - 1);
                int first = op.Shape.Window > 0 ? Math.Max(0, last - op.Shape.Window + 1) : 0;
                long at = (long)(sequence.Start + t) * op.Columns + (long)head * headSize;
                long from = (long)first * keys.Columns + head / group * headSize;
                Head(op.X + at, k + from, v + from, keys.Columns, last - first + 1, headSize, op.Shape.Scale, op.Y + at, scratch);
            }
        }
    }

    /// <summary>Floats of scratch for <paramref name="positions"/> visible positions.</summary>
    public static long ScratchFloats(int positions) => positions + 32;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Head(float* q, float* k, float* v, int stride, int positions, int headSize, float scale, float* y, float* p)
    {
        int j = 0;
        for (; j + 4 <= positions; j += 4)
            Dot4(q, k + (long)j * stride, stride, headSize, p + j);
        for (; j < positions; j++)
            p[j] = Dot(q, k + (long)j * stride, headSize);

        float max = float.NegativeInfinity;
        for (j = 0; j < positions; j++)
        {
            p[j] *= scale;
            max = p[j] > max ? p[j] : max;
        }
        // The last vector is filled up with scores whose weight is never read: sums below go over positions only.
        for (j = positions; j % O.Count != 0; j++)
            p[j] = max;
        V shift = O.Broadcast(max);
        for (j = 0; j < positions; j += O.Count)
            O.Store(Exponential<O, V>.Of(O.Subtract(O.Load(p + j), shift)), p + j);

        double sum = 0;
        for (j = 0; j < positions; j++)
            sum += p[j];
        float inverse = (float)(1 / sum);

        int d = 0;
        for (; d + 4 * O.Count <= headSize; d += 4 * O.Count)
            Values4(p, v + d, stride, positions, inverse, y + d);
        for (; d + O.Count <= headSize; d += O.Count)
            Values1(p, v + d, stride, positions, inverse, y + d);
        for (; d < headSize; d++)
        {
            float total = 0;
            for (int b = 0; b < positions; b += Block)
            {
                float s = 0;
                for (j = b; j < Math.Min(positions, b + Block); j++)
                    s = Lanes.MultiplyAdd(p[j], v[(long)j * stride + d], s);
                total += s;
            }
            y[d] = total * inverse;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dot4(float* q, float* k, long stride, int headSize, float* sums)
    {
        V a = O.Zero, b = O.Zero, c = O.Zero, e = O.Zero;
        float* k1 = k + stride, k2 = k1 + stride, k3 = k2 + stride;
        int d = 0;
        for (; d + O.Count <= headSize; d += O.Count)
        {
            V x = O.Load(q + d);
            a = O.Fma(O.Load(k + d), x, a);
            b = O.Fma(O.Load(k1 + d), x, b);
            c = O.Fma(O.Load(k2 + d), x, c);
            e = O.Fma(O.Load(k3 + d), x, e);
        }
        if (headSize - d is > 0 and int rest)
        {
            V x = Partial<O, V>.Load(q + d, rest);
            a = O.Fma(Partial<O, V>.Load(k + d, rest), x, a);
            b = O.Fma(Partial<O, V>.Load(k1 + d, rest), x, b);
            c = O.Fma(Partial<O, V>.Load(k2 + d, rest), x, c);
            e = O.Fma(Partial<O, V>.Load(k3 + d, rest), x, e);
        }
        O.Sum4(a, b, c, e, sums);
    }

    private static float Dot(float* q, float* k, int headSize)
    {
        V a = O.Zero;
        int d = 0;
        for (; d + O.Count <= headSize; d += O.Count)
            a = O.Fma(O.Load(k + d), O.Load(q + d), a);
        if (headSize - d is > 0 and int rest)
            a = O.Fma(Partial<O, V>.Load(k + d, rest), Partial<O, V>.Load(q + d, rest), a);
        return O.Sum(a);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Values4(float* p, float* v, long stride, int positions, float inverse, float* y)
    {
        V t0 = O.Zero, t1 = O.Zero, t2 = O.Zero, t3 = O.Zero;
        for (int b = 0; b < positions; b += Block)
        {
            V s0 = O.Zero, s1 = O.Zero, s2 = O.Zero, s3 = O.Zero;
            int end = Math.Min(positions, b + Block);
            for (int j = b; j < end; j++)
            {
                V w = O.Broadcast(p[j]);
                float* row = v + j * stride;
                s0 = O.Fma(w, O.Load(row), s0);
                s1 = O.Fma(w, O.Load(row + O.Count), s1);
                s2 = O.Fma(w, O.Load(row + 2 * O.Count), s2);
                s3 = O.Fma(w, O.Load(row + 3 * O.Count), s3);
            }
            t0 = O.Add(t0, s0);
            t1 = O.Add(t1, s1);
            t2 = O.Add(t2, s2);
            t3 = O.Add(t3, s3);
        }
        V factor = O.Broadcast(inverse);
        O.Store(O.Multiply(t0, factor), y);
        O.Store(O.Multiply(t1, factor), y + O.Count);
        O.Store(O.Multiply(t2, factor), y + 2 * O.Count);
        O.Store(O.Multiply(t3, factor), y + 3 * O.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Values1(float* p, float* v, long stride, int positions, float inverse, float* y)
    {
        V total = O.Zero;
        for (int b = 0; b < positions; b += Block)
        {
            V s = O.Zero;
            int end = Math.Min(positions, b + Block);
            for (int j = b; j < end; j++)
                s = O.Fma(O.Broadcast(p[j]), O.Load(v + j * stride), s);
            total = O.Add(total, s);
        }
        O.Store(O.Multiply(total, O.Broadcast(inverse)), y);
    }
}
