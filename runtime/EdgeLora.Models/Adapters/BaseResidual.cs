using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// PiSSA and OLoRA train on a base that first loses a rank-r part; the reader takes the same part away as a low-rank step of negative sign, so the base stays
/// untouched. PiSSA (arXiv:2404.02948): the leading singular triples. OLoRA (arXiv:2406.01775): s·Q_r·R_r of W = Q·R. Cost: one symmetric eigenproblem of min(O, I) (PiSSA), r projections (OLoRA), once a load.
/// </summary>
internal static class BaseResidual
{
    public static LowRankStep Step(string change, SiteDelta delta, IComputeBackend backend)
    {
        int rank = (int)delta.A!.Shape[0];
        float[] w = AdapterMerge.Oriented(delta.Site, AdapterMerge.StoredWeight(delta.Site).ToFloats());
        int outputs = (int)delta.B!.Shape[0], inputs = w.Length / outputs;
        double[][] basis = change == "pissa" ? LeadingLeft(w, outputs, inputs, rank) : LeadingColumns(w, outputs, inputs, rank);
        // The part is Q·(Qᵀ·W) for an orthonormal basis Q of its column space, whatever the signs.
        float[] a = new float[rank * inputs], b = new float[outputs * rank];
        for (int r = 0; r < rank; r++)
            for (int i = 0; i < inputs; i++)
            {
                double sum = 0;
                for (int o = 0; o < outputs; o++)
                    sum += basis[r][o] * w[o * inputs + i];
                a[r * inputs + i] = (float)sum;
            }
        for (int o = 0; o < outputs; o++)
            for (int r = 0; r < rank; r++)
                b[o * rank + r] = (float)basis[r][o];
        string name = delta.Site.Name + "." + change;
        return new(backend.Upload(Tensor.FromFloats(name + ".A", new Shape(rank, inputs), a)), backend.Upload(Tensor.FromFloats(name + ".B", new Shape(outputs, rank), b)),
            rank, change == "pissa" ? -1 : -(float)delta.Scale);
    }

    private static double[][] LeadingColumns(float[] w, int outputs, int inputs, int rank)
    {
        double[][] q = new double[rank][];
        for (int r = 0; r < rank; r++)
        {
            double[] v = new double[outputs];
            for (int o = 0; o < outputs; o++)
                v[o] = w[o * inputs + r];
            q[r] = v;
            Orthonormalize(q, r);
        }
        return q;
    }

    // Twice is enough: the second pass removes what rounding left of the first.
    private static void Orthonormalize(double[][] q, int r)
    {
        for (int pass = 0; pass < 2; pass++)
            for (int k = 0; k < r; k++)
            {
                double dot = Dot(q[k], q[r]);
                for (int o = 0; o < q[r].Length; o++)
                    q[r][o] -= dot * q[k][o];
            }
        double norm = Math.Sqrt(Dot(q[r], q[r]));
        for (int o = 0; o < q[r].Length; o++)
            q[r][o] /= norm == 0 ? 1 : norm;
    }

    private static double[][] LeadingLeft(float[] w, int outputs, int inputs, int rank)
    {
        bool tall = outputs > inputs;
        int n = Math.Min(outputs, inputs);
        double[][] gram = new double[n][];
        for (int i = 0; i < n; i++)
        {
            gram[i] = new double[n];
            for (int j = 0; j <= i; j++)
            {
                double sum = 0;
                for (int k = 0; k < (tall ? outputs : inputs); k++)
                    sum += tall ? (double)w[k * inputs + i] * w[k * inputs + j] : (double)w[i * inputs + k] * w[j * inputs + k];
                gram[i][j] = gram[j][i] = sum;
            }
        }
        double[][] vectors = SymmetricEigen.Leading(gram, rank);
        if (!tall)
            return vectors;
        double[][] left = new double[rank][];
        for (int r = 0; r < rank; r++)
        {
            left[r] = new double[outputs];
            for (int o = 0; o < outputs; o++)
                for (int i = 0; i < inputs; i++)
                    left[r][o] += w[o * inputs + i] * vectors[r][i];
            Orthonormalize(left, r);
        }
        return left;
    }

    private static double Dot(double[] a, double[] b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }
}
