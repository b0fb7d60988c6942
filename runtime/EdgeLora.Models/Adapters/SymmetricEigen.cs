namespace EdgeLora.Models;

/// <summary>Eigenvectors of a symmetric matrix by cyclic Jacobi rotations, F64 (Golub and Van Loan, 8.5).</summary>
internal static class SymmetricEigen
{
    /// <summary>The eigenvectors of the <paramref name="count"/> largest eigenvalues. <paramref name="a"/> is overwritten.</summary>
    public static double[][] Leading(double[][] a, int count)
    {
        int n = a.Length;
        double[][] v = new double[n][];
        for (int i = 0; i < n; i++)
        {
            v[i] = new double[n];
            v[i][i] = 1;
        }
        for (int sweep = 0; sweep < 60 && Sweep(a, v); sweep++)
        {
        }
        int[] order = Enumerable.Range(0, n).OrderByDescending(i => a[i][i]).ToArray();
        return order.Take(count).Select(i => v[i]).ToArray();
    }

    // Rows of v are the vectors, so that a rotation runs along memory.
    private static bool Sweep(double[][] a, double[][] v)
    {
        int n = a.Length;
        bool rotated = false;
        for (int p = 0; p < n - 1; p++)
            for (int q = p + 1; q < n; q++)
            {
                double off = a[p][q];
                if (Math.Abs(off) <= 1e-15 * Math.Sqrt(Math.Abs(a[p][p] * a[q][q])) || off == 0)
                    continue;
                rotated = true;
                double theta = (a[q][q] - a[p][p]) / (2 * off);
                double t = (theta >= 0 ? 1 : -1) / (Math.Abs(theta) + Math.Sqrt(theta * theta + 1)), c = 1 / Math.Sqrt(t * t + 1), s = t * c;
                for (int k = 0; k < n; k++)
                    (a[k][p], a[k][q]) = (c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]);
                Rotate(a[p], a[q], c, s);
                Rotate(v[p], v[q], c, s);
            }
        return rotated;
    }

    private static void Rotate(double[] x, double[] y, double c, double s)
    {
        for (int k = 0; k < x.Length; k++)
            (x[k], y[k]) = (c * x[k] - s * y[k], s * x[k] + c * y[k]);
    }
}
