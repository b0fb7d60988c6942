namespace EdgeLora.Core;

// Norms and rotary positions.
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(batch, site, x, y, subtractMean: false);

    /// <inheritdoc/>
    public void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(batch, site, x, y, subtractMean: true);

    /// <inheritdoc/>
    public void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x) => Rotate(rows, headSize, pairs, cos, sin, x, 1);

    /// <inheritdoc/>
    public void RmsNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) =>
        NormBackward(batch, site, x, dy, dx, gradients, subtractMean: false);

    /// <inheritdoc/>
    public void LayerNormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients) =>
        NormBackward(batch, site, x, dy, dx, gradients, subtractMean: true);

    /// <inheritdoc/>
    public void RopeBackward(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor dy) => Rotate(rows, headSize, pairs, cos, sin, dy, -1);

    private static void Norm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y, bool subtractMean)
    {
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            double[] gain = Vector(site, adapter?.Weight ?? site.Gain), rows = Load(x, group.Start, group.Count);
            double[]? bias = (adapter?.Bias ?? site.Bias) is { } stored ? Vector(site, stored) : null;
            for (int at = 0; at < rows.Length; at += site.Width)
            {
                int head = at % site.Gains;
                Span<double> piece = rows.AsSpan(at, site.Width);
                (double mean, double scale) = Moments(piece, site.Epsilon, subtractMean);
                for (int d = 0; d < site.Width; d++)
                    piece[d] = (site.Offset + gain[head + d]) * (piece[d] - mean) * scale + (bias is null ? 0 : bias[head + d]);
            }
            Store(rows, y, group.Start);
        }
    }

    private static double[] Vector(NormSite site, DeviceTensor stored)
    {
        double[] values = new double[site.Gains];
        Load(stored, 0, values);
        return values;
    }

    /// <summary>Mean (0 where it is not subtracted) and 1/√(mean square of what is left + eps).</summary>
    private static (double Mean, double Scale) Moments(ReadOnlySpan<double> x, double epsilon, bool subtractMean)
    {
        double mean = 0, square = 0;
        foreach (double v in x)
            mean += subtractMean ? v : 0;
        mean /= x.Length;
        foreach (double v in x)
            square += (v - mean) * (v - mean);
        return (mean, 1 / Math.Sqrt(square / x.Length + epsilon));
    }

    private static void NormBackward(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor dy, DeviceTensor? dx, Gradients gradients, bool subtractMean)
    {
        Sums sums = new(gradients);
        int width = site.Width;
        foreach (RowGroup group in batch.Groups)
        {
            SiteAdapter? adapter = group.Path[site.Index];
            double[] gain = Vector(site, adapter?.Weight ?? site.Gain), rows = Load(x, group.Start, group.Count), dRows = Load(dy, group.Start, group.Count), dInput = new double[rows.Length];
            double[]? dGain = sums.Of(adapter?.Weight ?? site.Gain), dBias = sums.Of(adapter?.Bias ?? site.Bias);
            for (int at = 0; at < rows.Length; at += width)
            {
                int head = at % site.Gains;
                (double mean, double scale) = Moments(rows.AsSpan(at, width), site.Epsilon, subtractMean);
                double[] normed = new double[width], g = new double[width];
                for (int d = 0; d < width; d++)
                {
                    normed[d] = (rows[at + d] - mean) * scale;
                    g[d] = (site.Offset + gain[head + d]) * dRows[at + d];
                    if (dGain is not null)
                        dGain[head + d] += dRows[at + d] * normed[d];
                    if (dBias is not null)
                        dBias[head + d] += dRows[at + d];
                }
                double meanG = subtractMean ? g.Sum() / width : 0, along = Dot(g, normed) / width;
                for (int d = 0; d < width; d++)
                    dInput[at + d] = scale * (g[d] - meanG - normed[d] * along);
            }
            if (dx is not null)
                Accumulate(dInput, dx, group.Start);
        }
        sums.Add();
    }

    /// <summary>Rotates by the angles, or back for a <paramref name="sign"/> of -1.</summary>
    private static void Rotate(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x, int sign)
    {
        int count = cos.Columns;
        double[] c = Load(cos, 0, rows), s = Load(sin, 0, rows), values = Load(x, 0, rows);
        for (int t = 0; t < rows; t++)
            for (int head = 0; head < x.Columns; head += headSize)
            {
                Span<double> h = values.AsSpan(t * x.Columns + head, headSize);
                for (int i = 0; i < count; i++)
                {
                    (int first, int second) = pairs == RopePairs.Halves ? (i, i + count) : (2 * i, 2 * i + 1);
                    double cosine = c[t * count + i], sine = sign * s[t * count + i], a = h[first], b = h[second];
                    h[first] = a * cosine - b * sine;
                    h[second] = a * sine + b * cosine;
                }
            }
        Store(values, x, 0);
    }
}
