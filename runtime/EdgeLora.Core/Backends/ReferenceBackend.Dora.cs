namespace EdgeLora.Core;

// DoRA's gain.
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public void DoraGain(DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain)
    {
        double[] m = Load(magnitude, 0, 1), norm = new double[m.Length];
        double[][] a = Array.ConvertAll(site.Deltas, d => All(d.A)), b = Array.ConvertAll(site.Deltas, d => All(d.B));
        for (int row = 0; row < site.Weight.Shape[0]; row++)
        {
            int replaced = site.Rows is { } rows ? Array.BinarySearch(rows.Ids, row) : -1;
            double[] weight = replaced >= 0 ? Load(site.Rows!.Values, replaced, 1) : Load(site.Weight, row, 1);
            for (int column = 0; column < weight.Length; column++)
            {
                (int o, int i) = site.InputMajor ? (column, row) : (row, column);
                double v = weight[column];
                for (int k = 0; k < site.Deltas.Length; k++)
                    for (int r = 0, rank = site.Deltas[k].Rank; r < rank; r++)
                        v += site.Deltas[k].Scale * b[k][o * rank + r] * a[k][r * (a[k].Length / rank) + i];
                norm[o] += v * v;
            }
        }
        for (int o = 0; o < m.Length; o++)
        {
            norm[o] = Math.Sqrt(norm[o]);
            m[o] = norm[o] > 0 ? m[o] / norm[o] : 0;
        }
        Store(norm, norms, 0);
        Store(m, gain, 0);
    }

    /// <inheritdoc/>
    public void DoraGainBackward(DeviceTensor norms, DeviceTensor dgain, DeviceTensor dmagnitude)
    {
        double[] norm = All(norms), d = All(dgain);
        for (int o = 0; o < d.Length; o++)
            d[o] = norm[o] > 0 ? d[o] / norm[o] : 0;
        Accumulate(d, dmagnitude, 0);
    }
}
