using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// Backward of RmsNorm and LayerNorm. First region, by pieces: statistics, and with x̂ = (x - mean)·r, g = gain∘dy: <c>dx += r·(g - mean(g) - x̂·mean(g∘x̂))</c> (RmsNorm: both means of g and x are 0).
/// Second region, by columns, only where a gain or bias trains: <c>dgain += Σ dy∘x̂</c>, <c>dbias += Σ dy</c> in row order.
/// </summary>
internal static unsafe class NormBackward<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int Block = 64;

    /// <summary>First region of an RmsNorm.</summary>
    public static void Rms(object context, int part, int parts) => Inputs((OpArguments)context, part, parts, subtractMean: false);

    /// <summary>First region of a LayerNorm.</summary>
    public static void Layer(object context, int part, int parts) => Inputs((OpArguments)context, part, parts, subtractMean: true);

    /// <summary>Second region of both.</summary>
    public static void Parameters(object context, int part, int parts)
    {
        OpArguments op = (OpArguments)context;
        NormSite site = op.Norm!;
        int width = op.Width, pieces = op.Columns / width, heads = site.Heads;
        (int start, int end) = ColumnSum<O, V>.Range(width, part, parts);
        foreach (RowGroup group in op.Batch!.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            float* gain = StepsBackward<O, V>.Gradient(op.Gradients!, adapter?.Weight ?? site.Gain), bias = StepsBackward<O, V>.Gradient(op.Gradients!, adapter?.Bias ?? site.Bias);
            long first = (long)group.Start * pieces;
            if (gain is not null)
                for (long p = first; p < first + (long)group.Count * pieces; p++)
                    AddGain(op.X + p * width, op.Dy + p * width, op.Statistics + 3 * p, gain + p % heads * width, start, end);
            if (bias is not null)
                for (int head = 0; head < heads; head++)
                    ColumnSum<O, V>.Scaled(op.Dy + (first + head) * width, (long)heads * width, group.Count * pieces / heads, 1, bias + (long)head * width, start, end);
        }
    }

    private static void Inputs(OpArguments op, int part, int parts, bool subtractMean)
    {
        NormSite site = op.Norm!;
        int width = op.Width, pieces = op.Columns / width;
        (int start, int end) = WorkerPool.Split(op.Rows * pieces, part, parts);
        float* gain = op.Scratch[part].Reserve(0);
        foreach (RowGroup group in op.Batch!.Groups)
        {
            int first = Math.Max(start, group.Start * pieces), last = Math.Min(end, (group.Start + group.Count) * pieces);
            if (first >= last)
                continue;
            Norm<O, V>.LoadGains(site, group.Path[site.Index]?.Weight ?? site.Gain, gain);
            for (int p = first; p < last; p++)
            {
                long at = (long)p * width;
                float* statistics = op.Statistics + 3L * p;
                (statistics[0], statistics[1], double scale) = Norm<O, V>.Statistics(op.X + at, width, site.Epsilon, subtractMean);
                statistics[2] = (float)scale;
                if (op.Dx is not null)
                    Piece(op.X + at, op.Dy + at, op.Dx + at, gain + p % site.Heads * width, width, statistics, subtractMean);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Piece(float* x, float* dy, float* dx, float* gain, int width, float* statistics, bool subtractMean)
    {
        float high = statistics[0], low = statistics[1], scale = statistics[2];
        V h = O.Broadcast(high), l = O.Broadcast(low), s = O.Broadcast(scale);
        double sum = 0, products = 0;
        int d = 0;
        for (; d + Block <= width; d += Block)
        {
            V a = O.Zero, b = O.Zero;
            for (int i = d; i < d + Block; i += O.Count)
            {
                V g = O.Multiply(O.Load(gain + i), O.Load(dy + i));
                a = O.Add(a, g);
                b = O.Fma(g, O.Subtract(O.Subtract(O.Load(x + i), h), l), b);
            }
            sum += O.Sum(a);
            products += O.Sum(b);
        }
        for (; d < width; d++)
        {
            double g = (double)gain[d] * dy[d];
            sum += g;
            products += g * ((double)x[d] - high - low);
        }
        float mean = subtractMean ? (float)(sum / width) : 0, factor = (float)(products / width * scale * scale);
        V m = O.Broadcast(mean), f = O.Broadcast(-factor);
        for (d = 0; d + O.Count <= width; d += O.Count)
        {
            V g = O.Subtract(O.Multiply(O.Load(gain + d), O.Load(dy + d)), m);
            V v = O.Fma(O.Subtract(O.Subtract(O.Load(x + d), h), l), f, g);
            O.Store(O.Fma(v, s, O.Load(dx + d)), dx + d);
        }
        for (; d < width; d++)
            dx[d] = Lanes.MultiplyAdd(Lanes.MultiplyAdd(x[d] - high - low, -factor, gain[d] * dy[d] - mean), scale, dx[d]);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddGain(float* x, float* dy, float* statistics, float* gain, int start, int end)
    {
        float high = statistics[0], low = statistics[1], scale = statistics[2];
        V h = O.Broadcast(high), l = O.Broadcast(low), s = O.Broadcast(scale);
        int d = start;
        for (; d + O.Count <= end; d += O.Count)
            O.Store(O.Fma(O.Load(dy + d), O.Multiply(O.Subtract(O.Subtract(O.Load(x + d), h), l), s), O.Load(gain + d)), gain + d);
        for (; d < end; d++)
            gain[d] = Lanes.MultiplyAdd(dy[d], (x[d] - high - low) * scale, gain[d]);
    }
}
