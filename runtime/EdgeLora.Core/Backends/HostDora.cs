using System.Numerics;

namespace EdgeLora.Core;

/// <summary>DoRA's norms and gains over tensors in host memory, in F64, on all cores: once a path or an optimizer step, never per token. Outputs are shared among the cores, never a sum.</summary>
public static class HostDora
{
    /// <summary>As <see cref="IComputeBackend.DoraGain"/>, all tensors being <see cref="HostTensor"/>.</summary>
    public static void Gain(DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain)
    {
        float[][] a = Array.ConvertAll(site.Deltas, d => d.A.ToFloats()), b = Array.ConvertAll(site.Deltas, d => d.B.ToFloats());
        double[] squares = site.InputMajor ? Columns(site, a, b) : Rows(site, a, b);
        ReadOnlySpan<float> m = ((HostTensor)magnitude).ReadFloats;
        Span<float> norm = ((HostTensor)norms).Floats, factor = ((HostTensor)gain).Floats;
        for (int o = 0; o < squares.Length; o++)
        {
            double root = Math.Sqrt(squares[o]);
            (norm[o], factor[o]) = ((float)root, root > 0 ? (float)(m[o] / root) : 0);
        }
    }

    // A row of the stored weight is an output: row += (s·B[o, r])·A[r], rank by rank.
    private static double[] Rows(DoraSite site, float[][] a, float[][] b)
    {
        int inputs = site.Weight.Columns;
        double[] squares = new double[site.Weight.Shape[0]];
        Parallel.For(0, squares.Length, () => (Stored: new float[inputs], Row: new double[inputs]), (o, _, buffers) =>
        {
            (float[] stored, double[] row) = buffers;
            Read(site, o, stored);
            for (int i = 0; i < row.Length; i++)
                row[i] = stored[i];
            for (int k = 0; k < a.Length; k++)
                for (int r = 0, rank = site.Deltas[k].Rank; r < rank; r++)
                    AddScaled((double)site.Deltas[k].Scale * b[k][o * rank + r], a[k].AsSpan(r * inputs, inputs), row);
            double sum = 0;
            foreach (double v in row)
                sum += v * v;
            squares[o] = sum;
            return buffers;
        }, _ => { });
        return squares;
    }

    // A row is an input: each adds to the sums of the outputs, which are shared out in runs.
    private static double[] Columns(DoraSite site, float[][] a, float[][] b)
    {
        const int run = 64;
        int outputs = site.Weight.Columns;
        double[] squares = new double[outputs];
        Parallel.For(0, (outputs + run - 1) / run, () => new float[outputs], (part, _, stored) =>
        {
            for (int i = 0; i < site.Weight.Shape[0]; i++)
            {
                Read(site, i, stored);
                for (int o = part * run; o < Math.Min(outputs, (part + 1) * run); o++)
                {
                    double v = stored[o];
                    for (int k = 0; k < a.Length; k++)
                    {
                        int rank = site.Deltas[k].Rank, inputs = a[k].Length / rank;
                        double delta = 0;
                        for (int r = 0; r < rank; r++)
                            delta += (double)b[k][o * rank + r] * a[k][r * inputs + i];
                        v += site.Deltas[k].Scale * delta;
                    }
                    squares[o] += v * v;
                }
            }
            return stored;
        }, _ => { });
        return squares;
    }

    private static void Read(DoraSite site, int row, Span<float> destination)
    {
        int replaced = site.Rows is { } rows ? Array.BinarySearch(rows.Ids, row) : -1;
        (DeviceTensor tensor, int at) = replaced >= 0 ? (site.Rows!.Values, replaced) : (site.Weight, row);
        int bytes = (int)tensor.Type.Bytes(destination.Length);
        Dequantize.ToFloats(tensor.Type, ((HostTensor)tensor).Bytes.Slice(checked((int)((long)at * bytes)), bytes), destination);
    }

    private static void AddScaled(double factor, ReadOnlySpan<float> source, Span<double> destination)
    {
        int i = 0;
        if (Vector.IsHardwareAccelerated)
        {
            Vector<double> f = new(factor);
            for (; i <= destination.Length - Vector<float>.Count; i += Vector<float>.Count)
            {
                Vector.Widen(new Vector<float>(source[i..]), out Vector<double> low, out Vector<double> high);
                Span<double> first = destination[i..], second = destination[(i + Vector<double>.Count)..];
                (new Vector<double>(first) + f * low).CopyTo(first);
                (new Vector<double>(second) + f * high).CopyTo(second);
            }
        }
        for (; i < destination.Length; i++)
            destination[i] += factor * source[i];
    }
}
