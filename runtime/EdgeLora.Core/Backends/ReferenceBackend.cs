namespace EdgeLora.Core;

/// <summary>
/// The specification: one scalar loop an op, one thread, activations and gradients F32 (or F64: for tests, and for replaying a run without rounding), F64 inside an op.
/// Slow on purpose and simple enough to be read.
/// </summary>
public sealed partial class ReferenceBackend : ITrainingBackend
{
    private readonly DType _activations;

    /// <summary>A backend whose F32 buffers are stored as <paramref name="activations"/>: F32 or F64 (stored weights stay as they are). Throws <see cref="ArgumentOutOfRangeException"/> for another type.</summary>
    public ReferenceBackend(DType activations = DType.F32) => _activations = activations is DType.F32 or DType.F64
        ? activations
        : throw new ArgumentOutOfRangeException(nameof(activations), activations, "expected F32 or F64");

    /// <inheritdoc/>
    public string Name => "reference";

    /// <inheritdoc/>
    public string Description => $"scalar reference, 1 thread, {_activations}";

    /// <inheritdoc/>
    public DeviceTensor Upload(Tensor tensor) => tensor.Type.IsWeight()
        ? new HostTensor(tensor)
        : throw new NotSupportedException($"{tensor.Name}: {tensor.Type} cannot be a weight; expected {DTypes.Weights}");

    /// <inheritdoc/>
    public DeviceTensor Allocate(string name, DType type, Shape shape) => new HostTensor(name, type == DType.F32 ? _activations : type, shape);

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row)
    {
        double[] wide = new double[values.Length];
        for (int i = 0; i < wide.Length; i++)
            wide[i] = values[i];
        Store(wide, destination, row);
    }

    /// <inheritdoc/>
    public void Read(DeviceTensor source, int row, Span<float> destination)
    {
        double[] wide = new double[destination.Length];
        Load(source, row, wide);
        for (int i = 0; i < wide.Length; i++)
            destination[i] = (float)wide[i];
    }

    /// <inheritdoc/>
    public void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows) =>
        Store(Load(source, sourceRow, rows), destination, destinationRow);

    /// <inheritdoc/>
    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns, int pieces = 1)
    {
        int from = source.Columns / pieces, to = destination.Columns / pieces;
        for (int t = 0; t < rows; t++)
        {
            double[] row = Load(destination, t, 1), given = Load(source, t, 1);
            for (int piece = 0; piece < pieces; piece++)
                given.AsSpan(piece * from + sourceColumn, columns).CopyTo(row.AsSpan(piece * to + destinationColumn));
            Store(row, destination, t);
        }
    }

    /// <inheritdoc/>
    public void GatedActivation(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor y)
    {
        double[] g = Load(gate, 0, rows), u = Load(up, 0, rows);
        for (int i = 0; i < g.Length; i++)
            u[i] *= Activated(kind, g[i]);
        Store(u, y, 0);
    }

    /// <inheritdoc/>
    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y)
    {
        double[] values = Load(x, 0, rows);
        for (int i = 0; i < values.Length; i++)
            values[i] = Activated(kind, values[i]);
        Store(values, y, 0);
    }

    /// <inheritdoc/>
    public void Scale(int rows, float factor, DeviceTensor x, DeviceTensor y)
    {
        double[] values = Load(x, 0, rows);
        for (int i = 0; i < values.Length; i++)
            values[i] *= factor;
        Store(values, y, 0);
    }

    /// <inheritdoc/>
    public void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z)
    {
        double[] sum = Load(x, 0, rows), other = Load(y, 0, rows);
        for (int i = 0; i < sum.Length; i++)
            sum[i] += other[i];
        Store(sum, z, 0);
    }

    /// <inheritdoc/>
    public void TopK(int rows, int k, DeviceTensor x, DeviceTensor y)
    {
        for (int t = 0; t < rows; t++)
        {
            double[] values = Load(x, t, 1), row = Load(y, t, 1);
            // A stable sort: equals stay in the order of their columns.
            int[] best = [.. Enumerable.Range(0, values.Length).OrderByDescending(i => double.IsNaN(values[i])).ThenByDescending(i => values[i]).Take(k)];
            for (int j = 0; j < k; j++)
                (row[2 * j], row[2 * j + 1]) = (values[best[j]], best[j]);
            Store(row, y, t);
        }
    }

    /// <inheritdoc/>
    public void GatedActivationBackward(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor dy, DeviceTensor dgate, DeviceTensor dup)
    {
        double[] g = Load(gate, 0, rows), u = Load(up, 0, rows), d = Load(dy, 0, rows), dUp = new double[g.Length];
        for (int i = 0; i < g.Length; i++)
        {
            dUp[i] = d[i] * Activated(kind, g[i]);
            u[i] = d[i] * u[i] * Derivative(kind, g[i]);
        }
        Accumulate(u, dgate, 0);
        Accumulate(dUp, dup, 0);
    }

    /// <inheritdoc/>
    public void ActivateBackward(int rows, Activation kind, DeviceTensor x, DeviceTensor dy, DeviceTensor dx)
    {
        double[] values = Load(x, 0, rows), d = Load(dy, 0, rows);
        for (int i = 0; i < values.Length; i++)
            d[i] *= Derivative(kind, values[i]);
        Accumulate(d, dx, 0);
    }

    /// <inheritdoc/>
    public void Dispose() { }

    private static double Activated(Activation kind, double x) => kind switch
    {
        Activation.Gelu => 0.5 * x * (1 + ErrorFunction.Erf(x / Math.Sqrt(2))),
        Activation.GeluTanh => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
        Activation.Relu => x < 0 ? 0 : x,
        Activation.Silu => x / (1 + Math.Exp(-x)),
        _ => Math.Tanh(x),
    };

    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    /// <summary>f'(x); of NaN it is NaN.</summary>
    private static double Derivative(Activation kind, double x)
    {
        switch (kind)
        {
            case Activation.Gelu:
                return 0.5 * (1 + ErrorFunction.Erf(x / Math.Sqrt(2))) + x * Math.Exp(-x * x / 2) / Math.Sqrt(2 * Math.PI);
            case Activation.GeluTanh:
                double root = Math.Sqrt(2 / Math.PI), tanh = Math.Tanh(root * (x + 0.044715 * x * x * x));
                return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * root * (1 + 3 * 0.044715 * x * x);
            case Activation.Relu:
                return x > 0 ? 1 : x <= 0 ? 0 : x;
            case Activation.Silu:
                return Sigmoid(x) * (1 + x * Sigmoid(-x));
            default:
                double y = Math.Tanh(x);
                return 1 - y * y;
        }
    }
}
