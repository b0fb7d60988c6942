using System.Numerics;

namespace EdgeLora.Models;

/// <summary>
/// The leading part of a singular value decomposition in F64: subspace iteration with spare vectors, settled by a small exact decomposition (one-sided Jacobi)
/// each round. Sets of vectors lie one after another. Halko, Martinsson, Tropp: arXiv:0909.4061.
/// </summary>
internal static class ThinSvd
{
    private const int MaxRounds = 3000;

    // Of ‖W·v − σ·u‖ over the largest singular value.
    private const double Tolerance = 1e-10;

    /// <summary>B0 = U [rows, rank] and A0 = S·Vᵀ [rank, columns] of the <paramref name="rank"/> largest singular values; null where they do not settle.</summary>
    public static (double[] Left, double[] Right)? Truncate(double[] w, int rows, int columns, int rank)
    {
        int size = Math.Min(2 * rank + 16, Math.Min(rows, columns));
        double[] v = new double[size * columns], u = new double[size * rows], image = new double[size * rows], singular = new double[size];
        // A fixed start: the same file gives the same bits.
        Random random = new(1);
        for (int i = 0; i < v.Length; i++)
            v[i] = random.NextDouble() - 0.5;
        Orthonormalize(v, size, columns);
        for (int round = 0; round < MaxRounds; round++)
        {
            Multiply(w, rows, columns, v, size, image);
            if (round > 0 && Settled(image, u, singular, rank, rows))
                return (Transpose(u.AsSpan(0, rank * rows).ToArray(), rank, rows), Scaled(v, singular, rank, columns));
            (u, image) = (image, u);
            Orthonormalize(u, size, rows);
            MultiplyTransposed(w, rows, columns, u, size, v);
            Diagonalize(v, columns, u, rows, size, singular);
        }
        return null;
    }

    /// <summary>
    /// The <paramref name="rank"/> leading triples of any matrix: B0 = U·S [rows, rank], A0 = Vᵀ [rank, columns], the part that is left out ‖W − B0·A0‖ and ‖W‖. Exact (to rounding) where the shorter side is
    /// short against the rank; else subspace iteration until another round captures less than 1e-10 of ‖W‖² more: triples that lie close together need not be told apart for that.
    /// </summary>
    public static (double[] Left, double[] Right, double LeftOut, double Norm) Leading(double[] w, int rows, int columns, int rank)
    {
        int side = Math.Min(rows, columns);
        rank = Math.Min(rank, side);
        double total = 0;
        foreach (double x in w)
            total += x * x;
        bool whole = side <= Math.Max(128, 3 * rank), turned = rows > columns;
        int size = whole ? side : Math.Min(2 * rank + 16, side);
        double[] v, u, singular = new double[size];
        if (whole)
        {
            // Rows of the flatter of W and Wᵀ are turned until they are orthogonal.
            v = turned ? Transpose(w, rows, columns) : (double[])w.Clone();
            u = new double[size * size];
            for (int k = 0; k < size; k++)
                u[k * size + k] = 1;
            Diagonalize(v, Math.Max(rows, columns), u, size, size, singular);
            if (turned)
                (u, v) = (v, u);
        }
        else
        {
            v = new double[size * columns];
            u = new double[size * rows];
            Random random = new(1);
            for (int i = 0; i < v.Length; i++)
                v[i] = random.NextDouble() - 0.5;
            Orthonormalize(v, size, columns);
            double before = -1;
            for (int round = 0; round < 100; round++)
            {
                Multiply(w, rows, columns, v, size, u);
                Orthonormalize(u, size, rows);
                MultiplyTransposed(w, rows, columns, u, size, v);
                Diagonalize(v, columns, u, rows, size, singular);
                double captured = 0;
                for (int k = 0; k < rank; k++)
                    captured += singular[k] * singular[k];
                if (round > 0 && captured - before <= 1e-10 * total)
                    break;
                before = captured;
            }
        }
        double kept = 0, rest = 0;
        for (int k = 0; k < size; k++)
            if (k < rank)
                kept += singular[k] * singular[k];
            else
                rest += singular[k] * singular[k];
        double[] left = new double[rows * rank];
        for (int o = 0; o < rows; o++)
            for (int k = 0; k < rank; k++)
                left[o * rank + k] = singular[k] * u[k * rows + o];
        return (left, v.AsSpan(0, rank * columns).ToArray(), Math.Sqrt(whole ? rest : Math.Max(0, total - kept)), Math.Sqrt(total));
    }

    /// <summary>Gram-Schmidt, twice; a vector that depends on those before it becomes zero. Returns how many are not.</summary>
    public static int Orthonormalize(double[] vectors, int count, int length)
    {
        int independent = 0;
        for (int k = 0; k < count; k++)
        {
            Span<double> vector = vectors.AsSpan(k * length, length);
            double before = Math.Sqrt(Dot(vector, vector));
            for (int pass = 0; pass < 2; pass++)
                for (int j = 0; j < k; j++)
                    LowRankRows.AddScaled(-Dot(vectors.AsSpan(j * length, length), vector), vectors.AsSpan(j * length, length), vector);
            double norm = Math.Sqrt(Dot(vector, vector));
            bool zero = norm <= 1e-12 * before || norm == 0;
            independent += zero ? 0 : 1;
            for (int i = 0; i < length; i++)
                vector[i] = zero ? 0 : vector[i] / norm;
        }
        return independent;
    }

    public static double[] Transpose(double[] values, int rows, int columns)
    {
        double[] result = new double[values.Length];
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++)
                result[c * rows + r] = values[r * columns + c];
        return result;
    }

    private static bool Settled(double[] image, double[] u, double[] singular, int rank, int rows)
    {
        for (int k = 0; k < rank; k++)
        {
            double square = 0;
            for (int i = 0; i < rows; i++)
            {
                double difference = image[k * rows + i] - singular[k] * u[k * rows + i];
                square += difference * difference;
            }
            if (Math.Sqrt(square) > Tolerance * singular[0])
                return false;
        }
        return true;
    }

    // image_k = W·v_k. Rows are shared among cores, never a sum.
    private static void Multiply(double[] w, int rows, int columns, double[] v, int count, double[] image) =>
        Parallel.For(0, rows, o =>
        {
            for (int k = 0; k < count; k++)
                image[k * rows + o] = Dot(w.AsSpan(o * columns, columns), v.AsSpan(k * columns, columns));
        });

    // image_k = Wᵀ·u_k.
    private static void MultiplyTransposed(double[] w, int rows, int columns, double[] u, int count, double[] image) =>
        Parallel.For(0, count, k =>
        {
            Span<double> destination = image.AsSpan(k * columns, columns);
            destination.Clear();
            for (int o = 0; o < rows; o++)
                LowRankRows.AddScaled(u[k * rows + o], w.AsSpan(o * columns, columns), destination);
        });

    // Rotates the vectors t_k = Wᵀ·u_k until they are orthogonal, u alike: then t_k = σ_k·v_k. Sorts by σ and leaves v_k in place of t_k.
    internal static void Diagonalize(double[] t, int columns, double[] u, int rows, int count, double[] singular)
    {
        for (int sweep = 0; sweep < 30; sweep++)
        {
            bool rotated = false;
            for (int p = 0; p < count; p++)
                for (int q = p + 1; q < count; q++)
                {
                    Span<double> a = t.AsSpan(p * columns, columns), b = t.AsSpan(q * columns, columns);
                    double aa = Dot(a, a), bb = Dot(b, b), ab = Dot(a, b);
                    if (Math.Abs(ab) <= 1e-15 * Math.Sqrt(aa * bb) || aa == 0 || bb == 0)
                        continue;
                    rotated = true;
                    double zeta = (bb - aa) / (2 * ab), tangent = (zeta >= 0 ? 1 : -1) / (Math.Abs(zeta) + Math.Sqrt(1 + zeta * zeta));
                    double cosine = 1 / Math.Sqrt(1 + tangent * tangent), sine = cosine * tangent;
                    Rotate(a, b, cosine, sine);
                    Rotate(u.AsSpan(p * rows, rows), u.AsSpan(q * rows, rows), cosine, sine);
                }
            if (!rotated)
                break;
        }
        double[] norms = new double[count];
        for (int k = 0; k < count; k++)
            norms[k] = Math.Sqrt(Dot(t.AsSpan(k * columns, columns), t.AsSpan(k * columns, columns)));
        int[] order = [.. Enumerable.Range(0, count).OrderByDescending(k => norms[k])];
        double[] oldT = (double[])t.Clone(), oldU = (double[])u.Clone();
        for (int k = 0; k < count; k++)
        {
            singular[k] = norms[order[k]];
            oldU.AsSpan(order[k] * rows, rows).CopyTo(u.AsSpan(k * rows));
            for (int i = 0; i < columns; i++)
                t[k * columns + i] = singular[k] > 0 ? oldT[order[k] * columns + i] / singular[k] : 0;
        }
    }

    private static void Rotate(Span<double> a, Span<double> b, double cosine, double sine)
    {
        for (int i = 0; i < a.Length; i++)
            (a[i], b[i]) = (cosine * a[i] - sine * b[i], sine * a[i] + cosine * b[i]);
    }

    private static double[] Scaled(double[] v, double[] singular, int rank, int columns)
    {
        double[] result = new double[rank * columns];
        for (int i = 0; i < result.Length; i++)
            result[i] = v[i] * singular[i / columns];
        return result;
    }

    internal static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        double sum = 0;
        int i = 0;
        if (Vector.IsHardwareAccelerated)
        {
            Vector<double> total = Vector<double>.Zero;
            for (; i <= a.Length - Vector<double>.Count; i += Vector<double>.Count)
                total += new Vector<double>(a[i..]) * new Vector<double>(b[i..]);
            sum = Vector.Sum(total);
        }
        for (; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }
}
