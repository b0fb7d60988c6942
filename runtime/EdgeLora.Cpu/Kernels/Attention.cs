using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// <c>y[t,h] = Σ_j softmax_j(scale·q[t,h]·k[j])·v[j]</c> over the cached positions that row t sees. A (row, head) depends on the positions it sees only: the same bits however a prompt
/// is cut into batches. Few rows are computed one by one; many in blocks, by the tiles of the matrix products, with the same sums.
/// </summary>
internal static unsafe class Attention<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    // Values are added in blocks of positions, then blocks are added: the error of one long running sum would grow with the context.
    private const int Block = OuterProduct<O, V>.BlockDepth;
    private const int BlockRows = 24;
    private const int ManyRows = 4;

    /// <summary>One part: some (row, head), or some blocks of rows of a head, of every sequence.</summary>
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        int heads = op.Shape.Heads, turn = 0;
        float* scratch = op.Scratch[part].Reserve(0);
        foreach (SequenceSpan sequence in op.Batch!.Sequences)
        {
            if (sequence.Count < ManyRows)
            {
                (int start, int end) = WorkerPool.Split(sequence.Count * heads, part, parts);
                for (int item = start; item < end; item++)
                    Row(op, sequence, item / heads, item % heads, scratch);
                continue;
            }
            // Later rows see more, so parts take turns.
            for (int t = 0; t < sequence.Count; t += BlockRows)
                for (int head = 0; head < heads; head++)
                    if (turn++ % parts == part)
                        Rows(op, sequence, t, Math.Min(BlockRows, sequence.Count - t), head, scratch);
        }
    }

    /// <summary>Floats of scratch for <paramref name="positions"/> visible positions and heads of <paramref name="headSize"/>.</summary>
    public static long ScratchFloats(int positions, int headSize) =>
        OuterProduct<O, V>.ScratchFloats + BlockRows * (Stride(positions) + 1L) + (headSize % O.Count == 0 ? 0 : (BlockRows + positions) * (long)Padded(headSize));

    /// <summary>The positions that row <paramref name="t"/> of a sequence sees.</summary>
    public static (int First, int End) Visible(in AttentionShape shape, in SequenceSpan sequence, int t)
    {
        int last = sequence.Past + (shape.Causal ? t : sequence.Count - 1);
        return (shape.Window > 0 ? Math.Max(0, last - shape.Window + 1) : 0, last + 1);
    }

    private static int Padded(int headSize) => (headSize + O.Count - 1) / O.Count * O.Count;

    // Room for whole vectors and tiles past the end, from a start at a block.
    private static int Stride(int positions) => (positions + Block + 47) / 16 * 16;

    private static void Rows(OpArguments op, in SequenceSpan sequence, int t, int rows, int head, float* scratch)
    {
        int size = op.Shape.HeadSize, padded = Padded(size), outputs = DotTile<O, V>.Outputs;
        DeviceTensor keys = sequence.Cache.Keys[op.Layer];
        long at = (long)(sequence.Start + t) * op.Columns + (long)head * size, kv = (long)head / (op.Shape.Heads / op.Shape.KvHeads) * size;
        float* q = op.X + at, y = op.Y + at, k = Pointer.In(keys) + kv, v = Pointer.In(sequence.Cache.Values[op.Layer]) + kv;
        int first = Visible(op.Shape, sequence, t).First / Block * Block, end = Visible(op.Shape, sequence, t + rows - 1).End, stride = Stride(end - first);
        float* scores = scratch + OuterProduct<O, V>.ScratchFloats, factors = scores + BlockRows * (long)stride, copies = factors + BlockRows;
        long qStride = op.Columns, kStride = keys.Columns;
        k += first * kStride;
        if (padded != size)
        {
            q = Copy(q, ref qStride, rows, size, padded, copies);
            k = Copy(k, ref kStride, end - first, size, padded, copies + BlockRows * (long)padded);
        }
        for (int j = 0; j < end - first; j += outputs)
            for (int r = 0; r < rows; r += DotTile<O, V>.Rows)
            {
                int count = Math.Min(DotTile<O, V>.Rows, rows - r);
                if (j < Visible(op.Shape, sequence, t + r + count - 1).End - first)
                    DotTile<O, V>.Run(q + r * qStride, qStride, count, k + j * kStride, kStride, Math.Min(outputs, end - first - j), padded, null, true, scores + r * stride + j, stride);
            }
        for (int r = 0; r < rows; r++)
        {
            (int begin, int seen) = Visible(op.Shape, sequence, t + r);
            float* p = scores + r * stride;
            float scale = ScoreRule<O, V>.Apply(op.Shape, head, begin, p + begin - first, seen - begin);
            factors[r] = Softmax<O, V>.Exponentials(p + begin - first, seen - begin, scale);
            new Span<float>(p, begin - first).Clear();
            new Span<float>(p + seen - first, end - seen).Clear();
            new Span<float>(y + (long)r * op.Columns, size).Clear();
        }
        for (int r = 0; r < rows; r += OuterTile<O, V>.Rows)
        {
            int count = Math.Min(OuterTile<O, V>.Rows, rows - r);
            OuterArguments product = new() { A = scores + r * stride, ARow = stride, ADepth = 1, B = (byte*)(v + first * (long)keys.Columns), BType = DType.F32, BStride = keys.Columns };
            product.Depth = Visible(op.Shape, sequence, t + r + count - 1).End - first;
            product.C = y + (long)r * op.Columns;
            product.CStride = op.Columns;
            OuterProduct<O, V>.Run(product, 0, count, 0, size, scratch);
        }
        for (int r = 0; r < rows; r++)
            // A weight of 0 does not hide a value that is no number: such a row is computed alone, over what it sees.
            if (!Scale(y + (long)r * op.Columns, size, factors[r]))
                Row(op, sequence, t + r, head, scores);
    }

    private static void Row(OpArguments op, in SequenceSpan sequence, int t, int head, float* scratch)
    {
        int size = op.Shape.HeadSize;
        DeviceTensor keys = sequence.Cache.Keys[op.Layer];
        (int first, int end) = Visible(op.Shape, sequence, t);
        long at = (long)(sequence.Start + t) * op.Columns + (long)head * size, kv = first * (long)keys.Columns + (long)head / (op.Shape.Heads / op.Shape.KvHeads) * size;
        float* k = Pointer.In(keys) + kv, v = Pointer.In(sequence.Cache.Values[op.Layer]) + kv, y = op.Y + at;
        int positions = end - first, d = 0, edge = Block - first % Block;
        Scores(op.X + at, k, keys.Columns, positions, size, scratch);
        float inverse = Softmax<O, V>.Exponentials(scratch, positions, ScoreRule<O, V>.Apply(op.Shape, head, first, scratch, positions));
        for (; d + 4 * O.Count <= size; d += 4 * O.Count)
            Values4(scratch, v + d, keys.Columns, positions, edge, y + d);
        for (; d + O.Count <= size; d += O.Count)
            Values1(scratch, v + d, keys.Columns, positions, edge, y + d);
        for (; d < size; d++)
            y[d] = Value(scratch, v + d, keys.Columns, positions, edge);
        Scale(y, size, inverse);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scores(float* q, float* k, long stride, int positions, int size, float* p)
    {
        int j = 0;
        for (; j + 4 <= positions; j += 4)
            Dot4(q, k + j * stride, stride, size, p + j);
        for (; j < positions; j++)
            p[j] = Dot(q, k + j * stride, size);
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

    // Σ p[j]·v[j] over blocks that end at whole multiples of Block: the first one after `edge` positions.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Values4(float* p, float* v, long stride, int positions, int edge, float* y)
    {
        V t0 = O.Zero, t1 = O.Zero, t2 = O.Zero, t3 = O.Zero;
        for (int b = 0, end = Math.Min(positions, edge); b < positions; b = end, end = Math.Min(positions, end + Block))
        {
            V s0 = O.Zero, s1 = O.Zero, s2 = O.Zero, s3 = O.Zero;
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
        O.Store(t0, y);
        O.Store(t1, y + O.Count);
        O.Store(t2, y + 2 * O.Count);
        O.Store(t3, y + 3 * O.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Values1(float* p, float* v, long stride, int positions, int edge, float* y)
    {
        V total = O.Zero;
        for (int b = 0, end = Math.Min(positions, edge); b < positions; b = end, end = Math.Min(positions, end + Block))
        {
            V s = O.Zero;
            for (int j = b; j < end; j++)
                s = O.Fma(O.Broadcast(p[j]), O.Load(v + j * stride), s);
            total = O.Add(total, s);
        }
        O.Store(total, y);
    }

    private static float Value(float* p, float* v, long stride, int positions, int edge)
    {
        float total = 0;
        for (int b = 0, end = Math.Min(positions, edge); b < positions; b = end, end = Math.Min(positions, end + Block))
        {
            float s = 0;
            for (int j = b; j < end; j++)
                s = Lanes.MultiplyAdd(p[j], v[j * stride], s);
            total += s;
        }
        return total;
    }

    // y ← factor·y. False: something in it is no number.
    private static bool Scale(float* y, int size, float factor)
    {
        bool finite = true;
        for (int d = 0; d < size; d++)
        {
            y[d] *= factor;
            finite &= float.IsFinite(y[d]);
        }
        return finite;
    }

    private static float* Copy(float* from, ref long stride, int rows, int size, int padded, float* to)
    {
        for (int t = 0; t < rows; t++)
        {
            Buffer.MemoryCopy(from + t * stride, to + t * (long)padded, padded * sizeof(float), size * sizeof(float));
            new Span<float>(to + t * (long)padded + size, padded - size).Clear();
        }
        stride = padded;
        return to;
    }
}
