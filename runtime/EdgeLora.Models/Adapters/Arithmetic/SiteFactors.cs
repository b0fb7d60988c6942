namespace EdgeLora.Models;

/// <summary>One site's change of its weight as a product Left·Right in F64, the scale in it; a kernel's positions count as inputs. Everything below works on the factors: nothing of the weight's size is made.</summary>
/// <param name="Left">[O, R], row-major.</param>
/// <param name="Right">[R, I], row-major.</param>
/// <param name="Outputs">O.</param>
/// <param name="Rank">R.</param>
/// <param name="Columns">I.</param>
internal sealed record SiteFactors(double[] Left, double[] Right, int Outputs, int Rank, int Columns)
{
    /// <summary>The Frobenius inner product with another of the same size: Σ (L₁ᵀ·L₂) ∘ (R₁·R₂ᵀ).</summary>
    public double Dot(SiteFactors other)
    {
        double[] mine = ThinSvd.Transpose(Left, Outputs, Rank), theirs = ThinSvd.Transpose(other.Left, other.Outputs, other.Rank);
        double sum = 0;
        for (int i = 0; i < Rank; i++)
            for (int j = 0; j < other.Rank; j++)
                sum += ThinSvd.Dot(mine.AsSpan(i * Outputs, Outputs), theirs.AsSpan(j * Outputs, Outputs)) * ThinSvd.Dot(Right.AsSpan(i * Columns, Columns), other.Right.AsSpan(j * Columns, Columns));
        return sum;
    }

    /// <summary>‖Left·Right‖, from the triangular parts of both factors: small differences of large ones keep their digits.</summary>
    public double Norm()
    {
        (_, double[] core, _, int size) = Core();
        return Math.Sqrt(ThinSvd.Dot(core.AsSpan(0, size * size), core.AsSpan(0, size * size)));
    }

    /// <summary>The exact sum with another of the same size, of rank R₁ + R₂, each part times its weight.</summary>
    public static SiteFactors Sum(IReadOnlyList<SiteFactors> parts, IReadOnlyList<double> weights)
    {
        int rank = parts.Sum(p => p.Rank), outputs = parts[0].Outputs, columns = parts[0].Columns, at = 0;
        double[] left = new double[outputs * rank], right = new double[rank * columns];
        for (int i = 0; i < parts.Count; i++)
        {
            SiteFactors part = parts[i];
            for (int o = 0; o < outputs; o++)
                part.Left.AsSpan(o * part.Rank, part.Rank).CopyTo(left.AsSpan(o * rank + at));
            for (int k = 0; k < part.Right.Length; k++)
                right[at * columns + k] = weights[i] * part.Right[k];
            at += part.Rank;
        }
        return new(left, right, outputs, rank, columns);
    }

    /// <summary>All singular values, largest first, and the triples that go with them: exact to rounding, by QR of both factors and a decomposition of their small core.</summary>
    public (double[] Singular, Func<int, SiteFactors> Leading) Decompose()
    {
        (double[] left, double[] core, double[] right, int size) = Core();
        double[] u = new double[size * size], singular = new double[size];
        for (int k = 0; k < size; k++)
            u[k * size + k] = 1;
        ThinSvd.Diagonalize(core, size, u, size, size, singular);
        return (singular, rank => Leading(Math.Min(rank, size)));

        SiteFactors Leading(int rank)
        {
            double[] b = new double[Outputs * rank], a = new double[rank * Columns];
            for (int k = 0; k < rank; k++)
                for (int j = 0; j < size; j++)
                {
                    double weight = singular[k] * u[k * size + j];
                    for (int o = 0; o < Outputs; o++)
                        b[o * rank + k] += weight * left[j * Outputs + o];
                    LowRankRows.AddScaled(core[k * size + j], right.AsSpan(j * Columns, Columns), a.AsSpan(k * Columns, Columns));
                }
            return new(b, a, Outputs, rank, Columns);
        }
    }

    /// <summary>Left·Right itself, [O, I].</summary>
    public double[] Dense()
    {
        double[] dense = new double[Outputs * Columns];
        Parallel.For(0, Outputs, o =>
        {
            for (int r = 0; r < Rank; r++)
                LowRankRows.AddScaled(Left[o * Rank + r], Right.AsSpan(r * Columns, Columns), dense.AsSpan(o * Columns, Columns));
        });
        return dense;
    }

    // Orthonormal vectors of both factors, one after another, and the R×R matrix between them.
    private (double[] Left, double[] Core, double[] Right, int Size) Core()
    {
        double[] columns = ThinSvd.Transpose(Left, Outputs, Rank), left = (double[])columns.Clone(), right = (double[])Right.Clone(), core = new double[Rank * Rank];
        ThinSvd.Orthonormalize(left, Rank, Outputs);
        ThinSvd.Orthonormalize(right, Rank, Columns);
        double[] byLeft = Products(left, columns, Outputs), byRight = Products(right, Right, Columns);
        for (int a = 0; a < Rank; a++)
            for (int b = 0; b < Rank; b++)
                core[a * Rank + b] = ThinSvd.Dot(byLeft.AsSpan(a * Rank, Rank), byRight.AsSpan(b * Rank, Rank));
        return (left, core, right, Rank);
    }

    private double[] Products(double[] first, double[] second, int length)
    {
        double[] products = new double[Rank * Rank];
        for (int a = 0; a < Rank; a++)
            for (int b = 0; b < Rank; b++)
                products[a * Rank + b] = ThinSvd.Dot(first.AsSpan(a * length, length), second.AsSpan(b * length, length));
        return products;
    }
}
