using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// A linear map T of a layer's inputs, W' = W·T, made of equal blocks along its diagonal: IA3's scales (blocks of one number), OFT's and BOFT's rotations. In a row w of W, <c>w'[k] = Σ_c M[k, c]·w[c]</c> within each block.
/// Sources: huggingface/peft tuners/ia3, oft, boft (layer.py); arXiv:2205.05638, arXiv:2306.07280, arXiv:2311.06243.
/// </summary>
public sealed class InputMap
{
    private readonly double[] _blocks;
    private readonly int _size;
    private readonly int _count;

    private InputMap(double[] blocks, int size, int count) => (_blocks, _size, _count) = (blocks, size, count);

    /// <summary>Inputs I.</summary>
    public int Inputs => _size * _count;

    /// <summary>T = diag(l).</summary>
    public static InputMap Scaling(float[] scales) => new(Array.ConvertAll(scales, s => (double)s), 1, scales.Length);

    /// <summary>
    /// OFT: the layer sees x·R, R the Cayley transform (I − S)(I + S)⁻¹ of each block's skew matrix S, or its Neumann series as the library cuts it.
    /// Null where a block has no inverse.
    /// </summary>
    /// <param name="upper">Entries above the diagonals, row by row: [blocks, n(n−1)/2].</param>
    /// <param name="size">n.</param>
    /// <param name="count">Blocks of the layer; where the file has one for all, it is repeated.</param>
    /// <param name="form">How a rotation is made of them.</param>
    public static InputMap? Rotation(float[] upper, int size, int count, PeftRotation form)
    {
        int entries = size * (size - 1) / 2, given = entries == 0 ? 1 : upper.Length / entries;
        double[] blocks = new double[(long)count * size * size];
        for (int b = 0; b < given; b++)
        {
            double[] skew = new double[size * size];
            double squares = 0;
            for (int r = 0, i = b * entries; r < size; r++)
                for (int c = r + 1; c < size; c++, i++)
                {
                    (skew[r * size + c], skew[c * size + r]) = (upper[i], -upper[i]);
                    squares += 2.0 * upper[i] * upper[i];
                }
            // Constrained OFT keeps each block within eps/√blocks of the identity.
            if (form.Constraint is { } eps && Math.Sqrt(squares) is var norm && norm > eps / Math.Sqrt(given))
                for (int i = 0; i < skew.Length; i++)
                    skew[i] *= eps / Math.Sqrt(given) / norm;
            if ((form.NeumannTerms is { } terms ? Neumann(skew, size, terms) : Cayley(skew, size)) is not { } rotation)
                return null;
            for (int copy = b; copy < count; copy += given)
                rotation.CopyTo(blocks, (long)copy * size * size);
        }
        return new(blocks, size, count);
    }

    /// <summary>BOFT with one factor: the same with S = (P − Pᵀ)/2 of the blocks P [blocks, n, n]. Null where a block has no inverse.</summary>
    public static InputMap? Butterfly(float[] parameters, int size, int count)
    {
        double[] blocks = new double[parameters.Length];
        for (int b = 0; b < count; b++)
        {
            double[] skew = new double[size * size];
            int at = b * size * size;
            for (int r = 0; r < size; r++)
                for (int c = 0; c < size; c++)
                    skew[r * size + c] = 0.5 * ((double)parameters[at + r * size + c] - parameters[at + c * size + r]);
            if (Cayley(skew, size) is not { } rotation)
                return null;
            rotation.CopyTo(blocks, at);
        }
        return new(blocks, size, count);
    }

    /// <summary>W + strength·(W·T − W), F32.</summary>
    /// <param name="matrix">W, row by row.</param>
    /// <param name="columns">Its columns.</param>
    /// <param name="inputMajor">Whether its rows are the inputs (Conv1D).</param>
    /// <param name="strength">1: W·T.</param>
    public float[] Apply(float[] matrix, int columns, bool inputMajor, float strength)
    {
        float[] result = new float[matrix.Length];
        if (inputMajor)
            Parallel.For(0, Inputs, i =>
            {
                int first = i / _size * _size;
                ReadOnlySpan<double> factors = _blocks.AsSpan(i * _size, _size);
                double[] row = new double[columns];
                for (int c = 0; c < _size; c++)
                    for (int o = 0; o < columns; o++)
                        row[o] += factors[c] * matrix[(first + c) * columns + o];
                for (int o = 0; o < columns; o++)
                    result[i * columns + o] = Blend(matrix[i * columns + o], row[o], strength);
            });
        else
            Parallel.For(0, matrix.Length / columns, o =>
            {
                ReadOnlySpan<float> from = matrix.AsSpan(o * columns, columns);
                for (int i = 0; i < columns; i++)
                {
                    int first = i / _size * _size;
                    double sum = 0;
                    for (int c = 0; c < _size; c++)
                        sum += _blocks[i * _size + c] * from[first + c];
                    result[o * columns + i] = Blend(from[i], sum, strength);
                }
            });
        return result;
    }

    private static float Blend(double before, double after, double strength) => (float)(strength == 1 ? after : before + strength * (after - before));

    // I + 2S + 2S² + … and the last power once, as the library adds them.
    private static double[] Neumann(double[] skew, int size, int terms)
    {
        double[] sum = new double[skew.Length];
        for (int i = 0; i < size; i++)
            sum[i * size + i] = 1;
        if (terms > 1)
            Add(2, skew);
        if (terms > 2)
        {
            double[] power = Product(skew, skew, size);
            Add(2, power);
            for (int t = 3; t < terms - 1; t++)
            {
                power = Product(power, skew, size);
                Add(2, power);
            }
            Add(1, Product(power, skew, size));
        }
        return sum;

        void Add(double factor, double[] term)
        {
            for (int i = 0; i < sum.Length; i++)
                sum[i] += factor * term[i];
        }
    }

    // X·(I + S) = I − S by elimination with column pivots: (I + S)ᵀ·Xᵀ = (I − S)ᵀ.
    private static double[]? Cayley(double[] skew, int size)
    {
        double[] left = new double[skew.Length], right = new double[skew.Length];
        for (int r = 0; r < size; r++)
            for (int c = 0; c < size; c++)
                (left[r * size + c], right[r * size + c]) = ((r == c ? 1 : 0) + skew[c * size + r], (r == c ? 1 : 0) - skew[c * size + r]);
        for (int k = 0; k < size; k++)
        {
            int pivot = k;
            for (int r = k + 1; r < size; r++)
                if (Math.Abs(left[r * size + k]) > Math.Abs(left[pivot * size + k]))
                    pivot = r;
            if (!(Math.Abs(left[pivot * size + k]) > 1e-12))
                return null;
            for (int c = 0; c < size; c++)
            {
                (left[k * size + c], left[pivot * size + c]) = (left[pivot * size + c], left[k * size + c]);
                (right[k * size + c], right[pivot * size + c]) = (right[pivot * size + c], right[k * size + c]);
            }
            double inverse = 1 / left[k * size + k];
            for (int c = 0; c < size; c++)
            {
                left[k * size + c] *= inverse;
                right[k * size + c] *= inverse;
            }
            for (int r = 0; r < size; r++)
            {
                double factor = left[r * size + k];
                if (r == k || factor == 0)
                    continue;
                for (int c = 0; c < size; c++)
                {
                    left[r * size + c] -= factor * left[k * size + c];
                    right[r * size + c] -= factor * right[k * size + c];
                }
            }
        }
        return ThinSvd.Transpose(right, size, size);
    }

    private static double[] Product(double[] a, double[] b, int size)
    {
        double[] product = new double[a.Length];
        for (int r = 0; r < size; r++)
            for (int k = 0; k < size; k++)
                for (int c = 0; c < size; c++)
                    product[r * size + c] += a[r * size + k] * b[k * size + c];
        return product;
    }
}
