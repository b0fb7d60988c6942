namespace EdgeLora.Core;

// Mixtures of experts: which experts a row takes, and rows gathered and added back.
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public bool IsImmediate => true;

    /// <inheritdoc/>
    public void Route(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor weights)
    {
        for (int t = 0; t < rows; t++)
        {
            (double[] p, bool[] chosen) = Routed(Load(logits, t, 1), k, renormalise);
            for (int e = 0; e < p.Length; e++)
                p[e] = chosen[e] ? p[e] : 0;
            Store(p, weights, t);
        }
    }

    /// <inheritdoc/>
    public void GatherRows(ReadOnlySpan<int> rows, DeviceTensor x, DeviceTensor y)
    {
        for (int i = 0; i < rows.Length; i++)
            Store(Load(x, rows[i], 1), y, i);
    }

    /// <inheritdoc/>
    public void AddRows(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor y)
    {
        for (int i = 0; i < count; i++)
        {
            int row = rows.IsEmpty ? i : rows[i];
            double weight = Load(weights, row, 1)[column];
            if (weight == 0)
                continue;
            double[] added = Load(x, i, 1);
            for (int d = 0; d < added.Length; d++)
                added[d] *= weight;
            Accumulate(added, y, row);
        }
    }

    /// <inheritdoc/>
    public void RouteBackward(int rows, int k, bool renormalise, DeviceTensor logits, DeviceTensor dweights, DeviceTensor dlogits)
    {
        for (int t = 0; t < rows; t++)
        {
            (double[] p, bool[] chosen) = Routed(Load(logits, t, 1), k, renormalise);
            double[] d = Load(dweights, t, 1);
            double mean = 0;
            for (int e = 0; e < p.Length; e++)
            {
                d[e] = chosen[e] ? d[e] : 0;
                mean += chosen[e] ? d[e] * p[e] : 0;
            }
            for (int e = 0; e < p.Length; e++)
                d[e] = renormalise && !chosen[e] ? 0 : p[e] * (d[e] - mean);
            Accumulate(d, dlogits, t);
        }
    }

    /// <inheritdoc/>
    public void GatherRowsBackward(ReadOnlySpan<int> rows, DeviceTensor dy, DeviceTensor dx)
    {
        for (int i = 0; i < rows.Length; i++)
            Accumulate(Load(dy, i, 1), dx, rows[i]);
    }

    /// <inheritdoc/>
    public void AddRowsBackward(int count, ReadOnlySpan<int> rows, DeviceTensor weights, int column, DeviceTensor x, DeviceTensor dy, DeviceTensor dx, DeviceTensor dweights)
    {
        for (int i = 0; i < count; i++)
        {
            int row = rows.IsEmpty ? i : rows[i];
            double weight = Load(weights, row, 1)[column];
            if (weight == 0)
                continue;
            double[] d = Load(dy, row, 1), dWeight = new double[weights.Columns];
            dWeight[column] = Dot(d, Load(x, i, 1));
            Accumulate(dWeight, dweights, row);
            for (int j = 0; j < d.Length; j++)
                d[j] *= weight;
            Accumulate(d, dx, i);
        }
    }

    /// <summary>Softmax over all columns, or over the chosen ones where they are renormalised, and which are chosen.</summary>
    private static (double[] P, bool[] Chosen) Routed(double[] z, int k, bool renormalise)
    {
        int[] order = [.. Enumerable.Range(0, z.Length).OrderByDescending(e => double.IsNaN(z[e])).ThenByDescending(e => z[e]).ThenBy(e => e)];
        bool[] chosen = new bool[z.Length];
        for (int j = 0; j < k; j++)
            chosen[order[j]] = true;
        double max = z[order[0]], sum = 0;
        double[] p = new double[z.Length];
        for (int e = 0; e < z.Length; e++)
        {
            p[e] = Math.Exp(z[e] - max);
            sum += renormalise && !chosen[e] ? 0 : p[e];
        }
        for (int e = 0; e < z.Length; e++)
            p[e] /= sum;
        return (p, chosen);
    }
}
