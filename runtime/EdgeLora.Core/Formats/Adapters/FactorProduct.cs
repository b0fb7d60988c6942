namespace EdgeLora.Core;

/// <summary>
/// A change of a weight as a product Left·Right, [O, R]·[R, I] (a kernel's positions count as inputs), in F64, whatever it was made of. The products below are exact: a Hadamard product of rank r and s has
/// rank r·s (Khatri-Rao), a Kronecker product the product of the ranks; nothing dense is formed.
/// </summary>
/// <param name="Left">[O, R], row-major.</param>
/// <param name="Right">[R, I], row-major.</param>
/// <param name="Outputs">O.</param>
/// <param name="Rank">R.</param>
/// <param name="Columns">I.</param>
internal sealed record FactorProduct(double[] Left, double[] Right, int Outputs, int Rank, int Columns)
{
    // One factor may have so many numbers: 512 MiB as F32. A small file can ask for far more.
    private const long MostNumbers = 1 << 27;

    /// <summary>
    /// A [R, I] or, with <paramref name="kernel"/> [k, k], [R, I/k², k, k]; B [O, R] or [O, R, 1, 1]. F32. The numbers are made when they are asked for: nothing of the product is kept. Null after a fault.
    /// </summary>
    /// <param name="label">What messages call it.</param>
    /// <param name="size">Outputs, rank and columns of what <paramref name="make"/> gives.</param>
    /// <param name="kernel">Sizes of the kernel.</param>
    /// <param name="make">The product.</param>
    /// <param name="faults">Where a size that is too large goes.</param>
    public static (Tensor A, Tensor B)? Lazily(string label, (long Outputs, long Rank, long Columns) size, ReadOnlySpan<long> kernel, Func<FactorProduct> make, FaultList faults)
    {
        (long outputs, long rank, long columns) = size;
        if (rank is < 1 or > 1 << 16 || outputs < 1 || columns < 1 || outputs > MostNumbers / rank || columns > MostNumbers / rank)
        {
            faults.Add($"{label}: its product is [{outputs}, {rank}]·[{rank}, {columns}], more than is read here");
            return null;
        }
        long positions = 1;
        foreach (long side in kernel)
            positions *= side;
        Shape a = kernel.Length == 0 ? new(rank, columns) : new([rank, columns / positions, .. kernel]), b = new([outputs, rank, .. Enumerable.Repeat(1L, kernel.Length)]);
        return (new("", DType.F32, a, new ComputedStorage(4 * a.Elements, () => Tensor.FromFloats("", a, Array.ConvertAll(make().Right, x => (float)x)))),
            new("", DType.F32, b, new ComputedStorage(4 * b.Elements, () => Tensor.FromFloats("", b, Array.ConvertAll(make().Left, x => (float)x)))));
    }

    /// <summary>Outputs, rank and columns of <see cref="Of"/>.</summary>
    public static (long Outputs, long Rank, long Columns) SizeOf(Tensor left, Tensor right) => (left.Shape[0], right.Shape[0], right.Shape.Elements / right.Shape[0]);

    /// <summary>Outputs, rank and columns of <see cref="Whole"/>.</summary>
    public static (long Outputs, long Rank, long Columns) SizeOf(Tensor matrix) =>
        (matrix.Shape[0], Math.Min(matrix.Shape[0], matrix.Shape.Elements / matrix.Shape[0]), matrix.Shape.Elements / matrix.Shape[0]);

    /// <summary>Outputs, rank and columns of <see cref="Tucker"/>.</summary>
    public static (long Outputs, long Rank, long Columns) SizeOf(Tensor core, Tensor outer, Tensor inner) =>
        (outer.Shape.Elements / core.Shape[0], core.Shape[0], Times(inner.Shape.Elements / core.Shape[1], core.Shape.Elements / core.Shape[0] / core.Shape[1]));

    /// <summary>A product of sizes; the largest number where it is past that.</summary>
    public static long Times(long first, long second) => Math.BigMul(first, second, out long low) == 0 && low >= 0 ? low : long.MaxValue;

    /// <summary>Left·Right of two stored factors [O, R, …] and [R, …], in their stored order.</summary>
    public static FactorProduct Of(Tensor left, Tensor right) =>
        new(Widen(left), Widen(right), (int)left.Shape[0], (int)right.Shape[0], checked((int)(right.Shape.Elements / right.Shape[0])));

    /// <summary>A whole matrix [O, …] beside a unit matrix on its shorter side.</summary>
    public static FactorProduct Whole(Tensor matrix)
    {
        int rows = (int)matrix.Shape[0], columns = checked((int)(matrix.Shape.Elements / rows));
        return columns <= rows ? new(Widen(matrix), Unit(columns), rows, columns, columns) : new(Unit(rows), Widen(matrix), rows, rows, columns);
    }

    /// <summary>Tucker's form: Σ core[i, j, q]·outer[i, o]·inner[j, c], columns (c, q).</summary>
    /// <param name="core">[R, R, k, k].</param>
    /// <param name="outer">[R, O], or [O, R] where <paramref name="outerRows"/>.</param>
    /// <param name="inner">[R, I].</param>
    /// <param name="outerRows">Whether outputs are the rows of <paramref name="outer"/>.</param>
    public static FactorProduct Tucker(Tensor core, Tensor outer, Tensor inner, bool outerRows)
    {
        int first = (int)core.Shape[0], second = (int)core.Shape[1], kernel = checked((int)(core.Shape.Elements / first / second));
        int inputs = checked((int)(inner.Shape.Elements / second)), outputs = checked((int)(outer.Shape.Elements / first));
        double[] mid = Widen(core), down = Widen(inner), up = Widen(outer), left = new double[outputs * first], right = new double[first * inputs * kernel];
        for (int o = 0; o < outputs; o++)
            for (int i = 0; i < first; i++)
                left[o * first + i] = outerRows ? up[o * first + i] : up[i * outputs + o];
        for (int i = 0; i < first; i++)
            for (int j = 0; j < second; j++)
                for (int c = 0; c < inputs; c++)
                    for (int q = 0; q < kernel; q++)
                        right[(i * inputs + c) * kernel + q] += mid[(i * second + j) * kernel + q] * down[j * inputs + c];
        return new(left, right, outputs, first, inputs * kernel);
    }

    /// <summary>Elementwise product with another of the same size: rank R·S, row i·S + j of the right factor is the product of rows i and j.</summary>
    public FactorProduct Hadamard(FactorProduct other)
    {
        int rank = checked(Rank * other.Rank);
        double[] left = new double[checked(Outputs * rank)], right = new double[checked(rank * Columns)];
        for (int o = 0; o < Outputs; o++)
            for (int i = 0; i < Rank; i++)
                for (int j = 0; j < other.Rank; j++)
                    left[o * rank + i * other.Rank + j] = Left[o * Rank + i] * other.Left[o * other.Rank + j];
        for (int i = 0; i < Rank; i++)
            for (int j = 0; j < other.Rank; j++)
                for (int c = 0; c < Columns; c++)
                    right[(i * other.Rank + j) * Columns + c] = Right[i * Columns + c] * other.Right[j * Columns + c];
        return new(left, right, Outputs, rank, Columns);
    }

    /// <summary>Kronecker product: row l·K + k and column m·N + n hold this[l, m]·other[k, n]. A kernel of <paramref name="other"/> stays last.</summary>
    public FactorProduct Kronecker(FactorProduct other)
    {
        int rank = checked(Rank * other.Rank), outputs = checked(Outputs * other.Outputs), columns = checked(Columns * other.Columns);
        double[] left = new double[checked(outputs * rank)], right = new double[checked(rank * columns)];
        for (int l = 0; l < Outputs; l++)
            for (int k = 0; k < other.Outputs; k++)
                for (int i = 0; i < Rank; i++)
                    for (int j = 0; j < other.Rank; j++)
                        left[(l * other.Outputs + k) * rank + i * other.Rank + j] = Left[l * Rank + i] * other.Left[k * other.Rank + j];
        for (int i = 0; i < Rank; i++)
            for (int j = 0; j < other.Rank; j++)
                for (int m = 0; m < Columns; m++)
                    for (int n = 0; n < other.Columns; n++)
                        right[(i * other.Rank + j) * columns + m * other.Columns + n] = Right[i * Columns + m] * other.Right[j * other.Columns + n];
        return new(left, right, outputs, rank, columns);
    }

    private static double[] Widen(Tensor tensor) => Array.ConvertAll(tensor.ToFloats(), x => (double)x);

    private static double[] Unit(int size)
    {
        double[] unit = new double[checked(size * size)];
        for (int i = 0; i < size; i++)
            unit[i * (size + 1)] = 1;
        return unit;
    }
}
