using System.Numerics;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>A low-rank delta seen row by row in a weight's stored layout, in F64.</summary>
internal sealed class LowRankRows
{
    private readonly double[] _rowFactor;
    private readonly double[] _columnFactor;
    private readonly int _rank;
    private readonly int _columns;

    /// <summary>A step of a path, read from the device.</summary>
    /// <param name="step">A [R, I] (embedding: [R, V]), B [O, R] (embedding: [D, R]).</param>
    /// <param name="inputMajor">True where the weight's rows are inputs: Conv1D, embeddings.</param>
    public LowRankRows(LowRankStep step, bool inputMajor) : this(step.A.ToFloats(), step.B.ToFloats(), (int)step.A.Shape[0], step.Scale, inputMajor) { }

    private LowRankRows(float[] a, float[] b, int rank, double scale, bool inputMajor)
    {
        _rank = rank;
        int inputs = a.Length / rank, outputs = b.Length / rank;
        // Rows of the weight are outputs: row o = Σ_r (s·B[o,r])·A[r,:]. Else row i = Σ_r (s·A[r,i])·B[:,r].
        _rowFactor = inputMajor ? Transposed(Widen(a), rank, inputs) : Widen(b);
        _columnFactor = inputMajor ? Transposed(Widen(b), outputs, rank) : Widen(a);
        _columns = inputMajor ? outputs : inputs;
        for (int i = 0; i < _rowFactor.Length; i++)
            _rowFactor[i] *= scale;
    }

    public void AddRow(int row, Span<double> destination)
    {
        for (int r = 0; r < _rank; r++)
            AddScaled(_rowFactor[row * _rank + r], _columnFactor.AsSpan(r * _columns, _columns), destination);
    }

    public static double[] Widen(float[] values) => Array.ConvertAll(values, x => (double)x);

    public static void AddScaled(double factor, ReadOnlySpan<double> source, Span<double> destination)
    {
        int i = 0;
        if (Vector.IsHardwareAccelerated)
        {
            Vector<double> f = new(factor);
            for (; i <= destination.Length - Vector<double>.Count; i += Vector<double>.Count)
                (new Vector<double>(destination[i..]) + f * new Vector<double>(source[i..])).CopyTo(destination[i..]);
        }
        for (; i < destination.Length; i++)
            destination[i] += factor * source[i];
    }

    private static double[] Transposed(double[] values, int rows, int columns)
    {
        double[] result = new double[values.Length];
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++)
                result[c * rows + r] = values[r * columns + c];
        return result;
    }
}

/// <summary>A site's weight in its stored layout, read once from the device, row by row in F64.</summary>
internal sealed class WeightRows
{
    private readonly float[] _weight;
    private readonly int _rows;
    private readonly int _columns;

    public WeightRows(ModelSite site, DeviceTensor weight, ReplacedRows? replaced)
    {
        InputMajor = AreInputs(site);
        _columns = weight.Columns;
        _rows = (int)weight.Shape[0];
        _weight = weight.ToFloats();
        if (replaced is null)
            return;
        float[] values = replaced.Values.ToFloats();
        for (int i = 0; i < replaced.Ids.Length; i++)
            values.AsSpan(i * _columns, _columns).CopyTo(_weight.AsSpan(replaced.Ids[i] * _columns));
    }

    /// <summary>True where rows are inputs: Conv1D, embeddings.</summary>
    public bool InputMajor { get; }

    /// <summary>Whether the rows of a site's stored weight are its inputs: Conv1D, embeddings.</summary>
    public static bool AreInputs(ModelSite site) => site.Embedding is not null || site.Linear is { InputMajor: true };

    /// <summary>Norm of each output's weights.</summary>
    public double[] Norms()
    {
        double[] squares = new double[InputMajor ? _columns : _rows], row = new double[_columns];
        for (int i = 0; i < _rows; i++)
        {
            Read(i, row);
            for (int c = 0; c < row.Length; c++)
                squares[InputMajor ? c : i] += row[c] * row[c];
        }
        return Array.ConvertAll(squares, Math.Sqrt);
    }

    /// <summary>The weight after every step with its gain, F32 in the stored layout.</summary>
    public float[] Apply(IReadOnlyList<LowRankStep> steps)
    {
        if (steps.Count == 0)
            return _weight;
        LowRankRows[] deltas = [.. steps.Select(s => new LowRankRows(s, InputMajor))];
        float[]?[] gains = [.. steps.Select(s => s.Gain?.ToFloats())];
        float[] result = new float[_weight.Length];
        Parallel.For(0, _rows, () => new double[_columns], (i, _, row) =>
        {
            Read(i, row);
            for (int s = 0; s < deltas.Length; s++)
            {
                deltas[s].AddRow(i, row);
                if (gains[s] is { } gain)
                    for (int c = 0; c < row.Length; c++)
                        row[c] *= gain[InputMajor ? c : i];
            }
            for (int c = 0; c < row.Length; c++)
                result[i * _columns + c] = (float)row[c];
            return row;
        }, _ => { });
        return result;
    }

    private void Read(int row, double[] destination)
    {
        ReadOnlySpan<float> stored = _weight.AsSpan(row * _columns, _columns);
        for (int i = 0; i < destination.Length; i++)
            destination[i] = stored[i];
    }
}
