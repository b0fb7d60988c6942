using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// Backward of <see cref="Attention{O, V}"/> in blocks of rows: scores and their gradients of one block and head at a time are matrix products over what the block sees.
/// A key/value head of a sequence belongs to one thread, so that dk and dv add their rows in order.
/// </summary>
internal static unsafe class AttentionBackward<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int BlockRows = 32;

    /// <summary>Floats of scratch that one part needs.</summary>
    public static long ScratchFloats(int positions, int headSize) => OuterProduct<O, V>.ScratchFloats + (2L * (headSize + BlockRows) + 1) * Padded(positions);

    /// <summary>One part: some key/value heads of every sequence.</summary>
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        int kvHeads = op.Shape.KvHeads, items = op.Batch!.Sequences.Length * kvHeads;
        // Sequences differ in length, so parts take turns.
        for (int item = part; item < items; item += parts)
            KeyValueHead(op, op.Batch.Sequences[item / kvHeads], item % kvHeads, op.Scratch[part].Reserve(0));
    }

    // A row of scores, with room for a whole vector past its end.
    private static int Padded(int positions) => (positions + 31) / 16 * 16;

    private static void KeyValueHead(OpArguments op, SequenceSpan sequence, int kvHead, float* scratch)
    {
        int size = op.Shape.HeadSize, group = op.Shape.Heads / op.Shape.KvHeads, count = sequence.Count, padded = Padded(count);
        DeviceTensor keys = sequence.Cache.Keys[op.Layer], values = sequence.Cache.Values[op.Layer];
        float* keyColumns = scratch + OuterProduct<O, V>.ScratchFloats, valueColumns = keyColumns + (long)size * padded;
        float* p = valueColumns + (long)size * padded, ds = p + (long)BlockRows * padded, caps = ds + (long)BlockRows * padded;
        float* k = Pointer.In(keys) + (long)kvHead * size, v = Pointer.In(values) + (long)kvHead * size;
        Transpose(k, keys.Columns, count, size, keyColumns, padded);
        Transpose(v, values.Columns, count, size, valueColumns, padded);
        int kvWidth = op.Shape.KvHeads * size;
        float* dk = op.Dx2 + (long)sequence.Start * kvWidth + (long)kvHead * size, dv = op.Dx3 + (long)sequence.Start * kvWidth + (long)kvHead * size;
        for (int t = 0; t < count; t += BlockRows)
        {
            int rows = Math.Min(BlockRows, count - t);
            // Positions that some row of the block sees.
            int first = Attention<O, V>.Visible(op.Shape, sequence, t).First, seen = Attention<O, V>.Visible(op.Shape, sequence, t + rows - 1).End - first;
            for (int head = kvHead * group; head < (kvHead + 1) * group; head++)
            {
                long at = (long)(sequence.Start + t) * op.Columns + (long)head * size;
                float* q = op.X + at, dy = op.Dy + at;
                new Span<float>(p, rows * padded).Clear();
                new Span<float>(ds, rows * padded).Clear();
                Product(q, op.Columns, 1, rows, keyColumns + first, padded, size, seen, p, padded, scratch);
                Product(dy, op.Columns, 1, rows, valueColumns + first, padded, size, seen, ds, padded, scratch);
                for (int r = 0; r < rows; r++)
                {
                    (int begin, int end) = Attention<O, V>.Visible(op.Shape, sequence, t + r);
                    float* row = p + (long)r * padded, slope = ds + (long)r * padded;
                    float inverse = Softmax<O, V>.Exponentials(row + begin - first, end - begin, ScoreRule<O, V>.Apply(op.Shape, head, begin, row + begin - first, end - begin, caps));
                    Softmax<O, V>.Backward(row + begin - first, slope + begin - first, end - begin, inverse, op.Shape.Scale);
                    if (op.Shape.Cap > 0)
                        ScoreRule<O, V>.Multiply(slope + begin - first, caps, end - begin);
                    Hide(row, begin - first, end - first, seen);
                    Hide(slope, begin - first, end - first, seen);
                }
                Product(ds, padded, 1, rows, k + (long)first * keys.Columns, keys.Columns, seen, size, op.Dx + at, op.Columns, scratch);
                Product(ds, 1, padded, seen, q, op.Columns, rows, size, dk + (long)first * kvWidth, kvWidth, scratch);
                Product(p, 1, padded, seen, dy, op.Columns, rows, size, dv + (long)first * kvWidth, kvWidth, scratch);
            }
        }
    }

    // c += a·b, [rows, depth]·[depth, columns].
    private static void Product(
        float* a, long aRow, long aDepth, int rows, float* b, long bStride, int depth, int columns, float* c, long cStride, float* scratch)
    {
        OuterArguments outer = new() { A = a, ARow = aRow, ADepth = aDepth, B = (byte*)b, BType = DType.F32, BStride = bStride, Depth = depth, C = c, CStride = cStride };
        OuterProduct<O, V>.Run(outer, 0, rows, 0, columns, scratch);
    }

    private static void Hide(float* row, int begin, int end, int seen)
    {
        new Span<float>(row, begin).Clear();
        new Span<float>(row + end, seen - end).Clear();
    }

    private static void Transpose(float* x, long stride, int rows, int columns, float* y, int padded)
    {
        for (int t = 0; t < rows; t++)
            for (int d = 0; d < columns; d++)
                y[(long)d * padded + t] = x[t * stride + d];
    }
}
