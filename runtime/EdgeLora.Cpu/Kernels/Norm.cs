using System.Runtime.CompilerServices;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// RmsNorm and LayerNorm over pieces of Width floats of X into Y. Sums are taken in F32 over short blocks and in F64 over the blocks;
/// the mean has two floats, so that a mean far from 0 costs no digits of the variance.
/// </summary>
internal static unsafe class Norm<O, V> where O : struct, ILanes<V> where V : unmanaged
{
    private const int Block = 64;

    /// <summary>One part of an RmsNorm: a run of pieces.</summary>
    public static void Rms(object context, int part, int parts) => Run((OpArguments)context, part, parts, subtractMean: false);

    /// <summary>One part of a LayerNorm: a run of pieces.</summary>
    public static void Layer(object context, int part, int parts) => Run((OpArguments)context, part, parts, subtractMean: true);

    private static void Run(OpArguments op, int part, int parts, bool subtractMean)
    {
        NormSite site = op.Norm!;
        int width = op.Width, pieces = op.Columns / width;
        (int start, int end) = WorkerPool.Split(op.Rows * pieces, part, parts);
        int gains = site.Gains;
        float* gain = op.Scratch[part].Reserve(2L * gains), bias = gain + gains;
        foreach (RowGroup group in op.Batch!.Groups)
        {
            int first = Math.Max(start, group.Start * pieces), last = Math.Min(end, (group.Start + group.Count) * pieces);
            if (first >= last)
                continue;
            SiteAdapter? adapter = group.Path[site.Index];
            DeviceTensor? biases = adapter?.Bias ?? site.Bias;
            LoadGains(site, adapter?.Weight ?? site.Gain, gain);
            if (biases is not null)
                Widen<O, V>.Run(biases.Type, Pointer.Bytes(biases), bias, gains);
            for (int p = first; p < last; p++)
            {
                int head = p % site.Heads * width;
                Piece(op.X + (long)p * width, op.Y + (long)p * width, gain + head, biases is null ? null : bias + head, width, site.Epsilon, subtractMean);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Piece(float* x, float* y, float* gain, float* bias, int width, float epsilon, bool subtractMean)
    {
        (float high, float low, double root) = Statistics(x, width, epsilon, subtractMean);
        // In two floats: the rounding of one would be the same way in all of a piece.
        float scale = (float)root, rest = (float)(root - scale);
        V h = O.Broadcast(high), l = O.Broadcast(low), s = O.Broadcast(scale), r = O.Broadcast(rest);
        int d = 0;
        for (; d + O.Count <= width; d += O.Count)
        {
            V c = O.Subtract(O.Subtract(O.Load(x + d), h), l), v = O.Multiply(O.Fma(c, s, O.Multiply(c, r)), O.Load(gain + d));
            O.Store(bias is null ? v : O.Add(v, O.Load(bias + d)), y + d);
        }
        for (; d < width; d++)
        {
            float c = x[d] - high - low, v = Lanes.MultiplyAdd(c, scale, c * rest) * gain[d];
            y[d] = bias is null ? v : v + bias[d];
        }
    }

    /// <summary>The gains of a site in F32, offset included.</summary>
    public static void LoadGains(NormSite site, DeviceTensor stored, float* gain)
    {
        int count = site.Gains;
        Widen<O, V>.Run(stored.Type, Pointer.Bytes(stored), gain, count);
        if (site.Offset == 0)
            return;
        for (int d = 0; d < count; d++)
            gain[d] += site.Offset;
    }

    /// <summary>Mean of a piece in two floats (0 where it is not subtracted), and 1/√(mean square around it + eps).</summary>
    public static (float High, float Low, double Scale) Statistics(float* x, int width, float epsilon, bool subtractMean)
    {
        float high = 0, low = 0;
        if (subtractMean)
        {
            high = (float)(Sum(x, width, 0, 0, squares: false) / width);
            low = (float)(Sum(x, width, high, 0, squares: false) / width);
        }
        return (high, low, 1 / Math.Sqrt(Sum(x, width, high, low, squares: true) / width + epsilon));
    }

    // Σ (x - high - low), or of its squares.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double Sum(float* x, int width, float high, float low, bool squares)
    {
        double total = 0;
        V h = O.Broadcast(high), l = O.Broadcast(low);
        int d = 0;
        for (; d + Block <= width; d += Block)
        {
            V sum = O.Zero;
            for (int i = 0; i < Block; i += O.Count)
            {
                V v = O.Subtract(O.Subtract(O.Load(x + d + i), h), l);
                sum = squares ? O.Fma(v, v, sum) : O.Add(sum, v);
            }
            total += O.Sum(sum);
        }
        for (; d < width; d++)
        {
            double v = (double)x[d] - high - low;
            total += squares ? v * v : v;
        }
        return total;
    }
}
