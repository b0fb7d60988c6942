using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>
/// One check on one backend: compares with the reference and keeps the largest error of each op. An error is measured against the largest magnitude of the row
/// (of all rows, where a row has only a few numbers; at least the size that such a sum usually has), because a sum that cancels has no digits to compare.
/// </summary>
/// <param name="backend">What is checked.</param>
/// <param name="tolerance">Largest error allowed, relative to the largest magnitude in the row.</param>
public sealed class ConformanceRun(IComputeBackend backend, double tolerance = ConformanceRun.DefaultTolerance)
{
    /// <summary>A sum of hundreds of rounded products loses a few units in the last place of F32 (6e-8).</summary>
    public const double DefaultTolerance = 3e-6;

    private const int FaultsInFull = 5;

    private readonly ReferenceBackend _reference = new();
    // Derivatives are compared with F64: their sums are longer, and finite differences prove them in F64.
    private readonly ReferenceBackend _exact = new(DType.F64);
    private readonly Dictionary<string, OpError> _ops = [];
    private readonly List<string> _faults = [];
    private int _faultCount;

    /// <summary>What is checked.</summary>
    public IComputeBackend Backend => backend;

    /// <summary>The same, for training. Throws <see cref="NotSupportedException"/> where it cannot train.</summary>
    public ITrainingBackend Training => backend as ITrainingBackend ?? throw new NotSupportedException($"{backend.Name}: cannot train");

    /// <summary>Ops compared so far.</summary>
    public IReadOnlyList<OpError> Ops => [.. _ops.Values];

    /// <summary>What was wrong so far.</summary>
    public IReadOnlyList<string> Faults => _faultCount > FaultsInFull ? [.. _faults, $"and {_faultCount - FaultsInFull} more"] : _faults;

    /// <summary>Runs an op here and on the reference: rows of <paramref name="width"/> numbers.</summary>
    /// <param name="op">The op.</param>
    /// <param name="what">The case.</param>
    /// <param name="width">Numbers that share a scale.</param>
    /// <param name="run">Runs it and reads the result.</param>
    /// <param name="atLeast">A tolerance that is wider than the run's, or 0.</param>
    /// <param name="floor">Size that a row has where nothing cancels, at least.</param>
    public void Compare(string op, string what, int width, Func<IComputeBackend, float[]> run, double atLeast = 0, double floor = 1e-3)
    {
        float[] expected = run(_reference), found = run(backend);
        Worst worst = new(Math.Max(tolerance, atLeast));
        double all = expected.Max(v => Math.Abs((double)v));
        for (int row = 0; row < expected.Length; row += width)
        {
            double scale = Math.Max(floor, width < 8 ? all : 0);
            for (int i = row; i < row + width; i++)
                scale = Math.Max(scale, Math.Abs(expected[i]));
            for (int i = row; i < row + width; i++)
                worst.Add(i, expected[i], found[i], scale);
        }
        Record(op, what, worst, i => $"row {i / width}, column {i % width}");
    }

    /// <summary>Runs an op forward and backward here and on the reference in F64, and compares its derivatives, each row against its largest (a parameter as a whole).</summary>
    public void Compare(string op, string what, Func<ITrainingBackend, BackwardCase> build)
    {
        BackwardCase expected = build(_exact), found = build(Training);
        foreach (BackwardCase c in (BackwardCase[])[expected, found])
        {
            c.Forward();
            c.Backward();
        }
        foreach (Output output in found.Outputs)
            Require(op, output.Derivative.AsSpan().SequenceEqual(BackendCases.Read(backend, output.Dy)), $"{what}: dy was written to");
        for (int k = 0; k < found.Leaves.Count; k++)
            Compare(op, $"{what}: {found.Leaves[k].Name}", found.Leaves[k], BackendCases.Read(_exact, expected.Leaves[k].Gradient), BackendCases.Read(backend, found.Leaves[k].Gradient));
    }

    /// <summary>Runs an op here and on the reference; each number may differ by <paramref name="relative"/> of it and by <paramref name="absolute"/>.</summary>
    public void Elementwise(string op, string what, float[] x, Func<IComputeBackend, float[]> run, double relative, double absolute)
    {
        float[] expected = run(_reference), found = run(backend);
        Near(op, what, Array.ConvertAll(expected, v => (double)v), found, relative, absolute, i => $"of {x[i]:r}");
    }

    /// <summary>Compares with a formula.</summary>
    public void Near(string op, string what, double[] expected, float[] found, double relative, double absolute) => Near(op, what, expected, found, relative, absolute, i => $"element {i}");

    /// <summary>Compares one number with a formula.</summary>
    public void Near(string op, string what, double expected, double found, double relative)
    {
        Worst worst = new(relative);
        worst.Add(0, expected, found, Math.Abs(expected));
        Record(op, what, worst, _ => "");
    }

    /// <summary>Compares with what must be exactly this.</summary>
    public void Same(string op, string what, ReadOnlySpan<float> expected, ReadOnlySpan<float> found)
    {
        Worst worst = new(0);
        for (int i = 0; i < expected.Length; i++)
            worst.AddExact(i, expected[i], found[i]);
        Record(op, what, worst, i => $"element {i}");
    }

    /// <summary>Compares with what must have the same bits.</summary>
    public void SameBits(string op, string what, float[][] expected, float[][] found)
    {
        for (int k = 0; k < expected.Length; k++)
        {
            int differs = 0;
            while (differs < expected[k].Length && BitConverter.SingleToInt32Bits(expected[k][differs]) == BitConverter.SingleToInt32Bits(found[k][differs]))
                differs++;
            Require(op, differs == expected[k].Length, differs == expected[k].Length ? what : $"{what}: result {k}, element {differs}: expected the bits of {expected[k][differs]:r}, found {found[k][differs]:r}");
        }
    }

    /// <summary>Notes that <paramref name="what"/> is wrong unless it <paramref name="holds"/>.</summary>
    public void Require(string op, bool holds, string what)
    {
        Keep(op, holds ? 0 : double.NaN, 0, what, holds);
        if (!holds)
            Fault($"{op}: {what}");
    }

    private void Compare(string op, string what, Leaf leaf, float[] expected, float[] found)
    {
        Worst worst = new(tolerance);
        int width = leaf.Rows == 0 || leaf.Value.Columns < 8 ? expected.Length : leaf.Value.Columns;
        for (int row = 0; row < expected.Length; row += width)
        {
            double scale = leaf.Size;
            for (int i = row; i < row + width; i++)
                scale = Math.Max(scale, Math.Abs((double)expected[i] - leaf.Start[i]));
            for (int i = row; i < row + width; i++)
                if (leaf.Rows > 0 && i / leaf.Value.Columns >= leaf.Rows)
                    worst.AddExact(i, leaf.Start[i], found[i]);
                else
                    worst.Add(i, expected[i], found[i], scale);
        }
        Record(op, what, worst, i => $"element {i}{(leaf.Rows > 0 && i / leaf.Value.Columns >= leaf.Rows ? ", outside the batch" : "")}");
    }

    private void Near(string op, string what, double[] expected, float[] found, double relative, double absolute, Func<int, string> where)
    {
        Worst worst = new(relative);
        for (int i = 0; i < expected.Length; i++)
            if (relative > 0)
                worst.Add(i, expected[i], found[i], Math.Abs(expected[i]) + absolute / relative);
            else
                worst.AddExact(i, expected[i], found[i]);
        Record(op, what, worst, where);
    }

    private void Record(string op, string what, Worst worst, Func<int, string> where)
    {
        string element = where(worst.Index), at = element.Length > 0 ? $"{what}: {element}" : what;
        Keep(op, worst.Error, worst.Tolerance, at, worst.Passed);
        if (!worst.Passed)
            Fault($"{op}: {at}: expected {worst.Expected:r}, found {worst.Found:r}, error {worst.Error:e2} of {worst.Scale:g3}, allowed {worst.Tolerance:e0}");
    }

    private void Keep(string op, double error, double allowed, string where, bool passed)
    {
        OpError now = new(op, 1, error, allowed, where, passed ? 0 : 1);
        _ops[op] = _ops.TryGetValue(op, out OpError? before) ? OpError.Worse(before, now) : now;
    }

    private void Fault(string fault)
    {
        if (_faultCount++ < FaultsInFull)
            _faults.Add(fault);
    }

    // The element of one comparison that is nearest to its tolerance, or furthest beyond.
    private struct Worst(double tolerance)
    {
        private double _severity = -1;

        public int Index;
        public double Expected, Found, Scale = 1, Error, Tolerance;

        public readonly bool Passed => Error <= Tolerance;

        public void Add(int index, double expected, double found, double scale) => Add(index, expected, found, scale, Math.Abs(expected - found) / scale, tolerance);

        public void AddExact(int index, double expected, double found) => Add(index, expected, found, 1, expected.Equals(found) ? 0 : Math.Abs(expected - found), 0);

        private void Add(int index, double expected, double found, double scale, double error, double allowed)
        {
            double severity = OpError.Severity(error, allowed);
            if (severity <= _severity)
                return;
            (_severity, Index, Expected, Found, Scale, Error, Tolerance) = (severity, index, expected, found, scale, error, allowed);
        }
    }
}
