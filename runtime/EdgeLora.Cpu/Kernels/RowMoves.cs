using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>Rows gathered by their numbers and added back: Labels the numbers (null: row i is i), Rows how many.</summary>
internal static unsafe class RowMoves<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>GatherRows, one part: every so-many-th row.</summary>
    public static void Gather(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        for (int i = part; i < op.Rows; i += parts)
            new ReadOnlySpan<float>(op.X + (long)op.Labels[i] * op.Columns, op.Columns).CopyTo(new(op.Y + (long)i * op.Columns, op.Columns));
    }

    /// <summary>GatherRowsBackward, one part.</summary>
    public static void GatherBackward(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        for (int i = part; i < op.Rows; i += parts)
        {
            float* dx = op.Dx + (long)op.Labels[i] * op.Columns;
            Add<O, V>.Of(dx, op.Dy + (long)i * op.Columns, dx, op.Columns);
        }
    }

    /// <summary>AddRows, one part: X rows, Z weights of width Width, Layer their column, Y what is added to.</summary>
    public static void Add(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        for (int i = part; i < op.Rows; i += parts)
        {
            long row = op.Labels is null ? i : op.Labels[i];
            float weight = op.Z[row * op.Width + op.Layer];
            if (weight != 0)
                Accumulate(weight, op.X + (long)i * op.Columns, op.Y + row * op.Columns, op.Columns);
        }
    }

    /// <summary>AddRowsBackward, one part: Dx the rows' gradient, Dx2 the weights'.</summary>
    public static void AddBackward(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        for (int i = part; i < op.Rows; i += parts)
        {
            long row = op.Labels is null ? i : op.Labels[i];
            float weight = op.Z[row * op.Width + op.Layer];
            if (weight == 0)
                continue;
            float* dy = op.Dy + row * op.Columns;
            op.Dx2[row * op.Width + op.Layer] += Dot(dy, op.X + (long)i * op.Columns, op.Columns);
            Accumulate(weight, dy, op.Dx + (long)i * op.Columns, op.Columns);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Accumulate(float weight, float* x, float* y, int count)
    {
        V factor = O.Broadcast(weight);
        int d = 0;
        for (; d + O.Count <= count; d += O.Count)
            O.Store(O.Fma(factor, O.Load(x + d), O.Load(y + d)), y + d);
        for (; d < count; d++)
            y[d] = Lanes.MultiplyAdd(weight, x[d], y[d]);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Dot(float* a, float* b, int count)
    {
        // Blocks are summed in F64: the error must not grow with the width.
        const int Block = 256;
        double total = 0;
        int whole = count / O.Count * O.Count;
        for (int start = 0; start < whole; start += Block)
        {
            V sum = O.Zero;
            for (int d = start; d < Math.Min(whole, start + Block); d += O.Count)
                sum = O.Fma(O.Load(a + d), O.Load(b + d), sum);
            total += O.Sum(sum);
        }
        for (int d = whole; d < count; d++)
            total += (double)a[d] * b[d];
        return (float)total;
    }
}
