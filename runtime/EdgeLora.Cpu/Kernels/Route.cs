using System.Runtime.CompilerServices;

namespace EdgeLora.Cpu;

/// <summary>Softmax over a row of router logits of which the best k are kept: X logits, Y weights, Count k, Width 1 where they are renormalised.</summary>
internal static unsafe class Route<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    /// <summary>Floats of scratch for a row of so many logits.</summary>
    public static long ScratchFloats(int columns) => columns + 16L;

    /// <summary>One part: every so-many-th row.</summary>
    public static void Run(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        float* p = op.Scratch[part].Reserve(0);
        for (int t = part; t < op.Rows; t += parts)
        {
            ReadOnlySpan<float> z = new(op.X + (long)t * op.Columns, op.Columns);
            Span<float> weights = new(op.Y + (long)t * op.Columns, op.Columns);
            double scale = Softmax(z, p, (int)op.Count, op.Width == 1, out float lastValue, out int lastColumn);
            for (int e = 0; e < z.Length; e++)
                weights[e] = IsBehind(z[e], e, lastValue, lastColumn) ? 0 : (float)(p[e] * scale);
        }
    }

    /// <summary>Backward, one part: Dy the weights' gradient, Dx the logits', added to.</summary>
    public static void Backward(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        float* p = op.Scratch[part].Reserve(0);
        bool renormalised = op.Width == 1;
        for (int t = part; t < op.Rows; t += parts)
        {
            ReadOnlySpan<float> z = new(op.X + (long)t * op.Columns, op.Columns), dy = new(op.Dy + (long)t * op.Columns, op.Columns);
            Span<float> dz = new(op.Dx + (long)t * op.Columns, op.Columns);
            double scale = Softmax(z, p, (int)op.Count, renormalised, out float lastValue, out int lastColumn), mean = 0;
            for (int e = 0; e < z.Length; e++)
                if (!IsBehind(z[e], e, lastValue, lastColumn))
                    mean += dy[e] * (p[e] * scale);
            for (int e = 0; e < z.Length; e++)
            {
                bool chosen = !IsBehind(z[e], e, lastValue, lastColumn);
                if (chosen || !renormalised)
                    dz[e] = (float)(dz[e] + p[e] * scale * ((chosen ? dy[e] : 0) - mean));
            }
        }
    }

    // p ← e^(z - max); returns one over their sum, or over the chosen ones' sum. The last of the chosen says which they are.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double Softmax(ReadOnlySpan<float> z, float* p, int k, bool renormalise, out float lastValue, out int lastColumn)
    {
        z.CopyTo(new Span<float>(p, z.Length));
        Softmax<O, V>.Exponentials(p, z.Length, 1);
        (lastValue, lastColumn) = (0, -1);
        double best = 0;
        for (int j = 0; j < k; j++)
        {
            int next = -1;
            for (int e = 0; e < z.Length; e++)
                if ((j == 0 || IsBehind(z[e], e, lastValue, lastColumn)) && (next < 0 || IsBehind(z[next], next, z[e], e)))
                    next = e;
            (lastValue, lastColumn) = (z[next], next);
            best += p[next];
        }
        double all = 0;
        if (!renormalise)
            for (int e = 0; e < z.Length; e++)
                all += p[e];
        return 1 / (renormalise ? best : all);
    }

    // By falling value; a NaN stands before every number, equals by ascending column.
    private static bool IsBehind(float value, int column, float last, int lastColumn) =>
        value < last || (float.IsNaN(last) && !float.IsNaN(value)) || ((value == last || (float.IsNaN(value) && float.IsNaN(last))) && column > lastColumn);
}
