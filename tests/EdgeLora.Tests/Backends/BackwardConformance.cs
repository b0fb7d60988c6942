using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>
/// The one suite that every backend's backward ops pass: each over the forward suite's sizes against the reference in F64. An error is measured against the largest derivative
/// of the row (for a parameter, of the whole tensor; at least the size that such a sum usually has), because a sum that cancels has no digits to compare.
/// </summary>
public abstract partial class BackwardConformance : IDisposable
{
    private readonly ReferenceBackend _reference = new(DType.F64);

    /// <summary>The backend under test.</summary>
    protected abstract ITrainingBackend Backend { get; }

    /// <summary>Largest error allowed, relative to the largest derivative. A sum of hundreds of rounded products loses a few units in the last place of F32 (6e-8).</summary>
    protected virtual double Tolerance => 3e-6;

    /// <inheritdoc/>
    public void Dispose()
    {
        Backend.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Linear_gives_the_reference_s_derivatives_for_every_case()
    {
        foreach (LinearCase c in BackendCases.Linears())
            Compare(c.ToString(), b => BackwardCases.Linear(b, c));
    }

    [Fact]
    public void Dropout_drops_the_same_inputs_forward_and_backward()
    {
        foreach (LinearCase c in Dropped())
            Compare($"{c} dropout", b => BackwardCases.Linear(b, c, dropout: 0.3));
    }

    [Fact]
    public void Embed_gives_the_reference_s_derivatives_for_every_type_and_path()
    {
        foreach (DType type in BackendCases.WeightTypes)
            foreach (int width in type.BlockSize() > 1 ? (int[])[32, 64, 256] : BackendCases.Widths)
                foreach (int rows in BackendCases.RowCounts)
                    Compare($"embed {type} {width} x{rows}", b => BackwardCases.Embed(b, type, width, rows));
        Compare("a table that is the head too", b => BackwardCases.Embed(b, DType.F32, 33, 17, head: true));
    }

    [Fact]
    public void Norms_give_the_reference_s_derivatives_over_rows_and_over_heads()
    {
        foreach (int width in BackendCases.Widths)
            foreach (int rows in BackendCases.RowCounts)
                foreach (int pieces in (int[])[1, 3])
                {
                    Compare($"rms {width}·{pieces} x{rows}", b => BackwardCases.Norm(b, width, rows, pieces, layer: false));
                    Compare($"layer {width}·{pieces} x{rows}", b => BackwardCases.Norm(b, width, rows, pieces, layer: true));
                }
    }

    [Fact]
    public void Rope_gives_the_reference_s_derivatives_for_both_pairings_and_partial_rotation()
    {
        foreach ((RopePairs pairs, int headSize, int n, int rows) in Rotations())
            Compare($"rope {pairs} {headSize}/{n} x{rows}", b => BackwardCases.Rope(b, pairs, headSize, n, rows));
    }

    [Fact]
    public void Attention_gives_the_reference_s_derivatives_for_windows_groups_encoders_and_two_sequences()
    {
        foreach (AttentionCase c in BackendCases.Attentions())
        {
            Compare(c.ToString(), b => BackwardCases.Attention(b, c));
            if (c.Window == 0)
                Compare($"{c}, not causal", b => BackwardCases.Attention(b, c, causal: false));
        }
    }

    [Fact]
    public void Attention_s_derivatives_survive_scores_that_would_overflow_an_exponential()
    {
        BackwardCase c = BackwardCases.Attention(Backend, new(2, 1, 32, 0, 5, 3), scale: 100);
        c.Forward();
        c.Backward();
        Assert.All(c.Leaves, leaf => Assert.All(BackendCases.Read(Backend, leaf.Gradient), v => Assert.True(float.IsFinite(v), leaf.Name)));
    }

    [Fact]
    public void Activations_give_the_reference_s_derivatives()
    {
        foreach (int width in BackendCases.Widths)
            foreach (int rows in BackendCases.RowCounts)
            {
                foreach (Activation kind in Enum.GetValues<Activation>())
                    Compare($"{kind} {width} x{rows}", b => BackwardCases.Activate(b, kind, width, rows));
                Compare($"swiglu {width} x{rows}", b => BackwardCases.SwiGlu(b, width, rows));
            }
    }

    [Fact]
    public void Activations_derivatives_hold_from_tiny_to_huge()
    {
        float[] x = [0, 1e-8f, -1e-8f, 1e-3f, -1e-3f, 0.5f, -0.5f, 1, -1, 2, -2, 3.5f, -3.5f, 5, -5, 8, -8, 12, -12, 30, -30, 80, -80, 1e4f, -1e4f];
        foreach (Activation kind in Enum.GetValues<Activation>())
            Check(kind.ToString(), (b, input, dy, dx) => b.ActivateBackward(1, kind, input, dy, dx));
        Check("swiglu, gate", (b, input, dy, dx) => b.SwiGluBackward(1, input, dy, dy, dx, New(b)));
        Check("swiglu, up", (b, input, dy, dx) => b.SwiGluBackward(1, input, dy, dy, New(b), dx));

        DeviceTensor New(ITrainingBackend b) => b.Allocate("x", DType.F32, new Shape(1, x.Length));

        void Check(string what, Action<ITrainingBackend, DeviceTensor, DeviceTensor, DeviceTensor> op)
        {
            float[] Run(ITrainingBackend b)
            {
                DeviceTensor input = New(b), dy = New(b), dx = New(b);
                b.Write(x, input, 0);
                b.Write([.. Enumerable.Repeat(1f, x.Length)], dy, 0);
                op(b, input, dy, dx);
                return BackendCases.Read(b, dx);
            }
            float[] expected = Run(_reference), found = Run(Backend);
            for (int i = 0; i < x.Length; i++)
                Assert.True(Math.Abs((double)expected[i] - found[i]) <= 1e-6 * Math.Abs(expected[i]) + 3e-7, $"{what}'({x[i]:r}): expected {expected[i]:r}, found {found[i]:r}");
        }
    }

    [Fact]
    public void Cross_entropy_gives_the_reference_s_losses_and_derivatives_masked_rows_too()
    {
        foreach (int width in (int[])[.. BackendCases.Widths, 1000])
            foreach (int rows in BackendCases.RowCounts)
                Compare($"cross-entropy {width} x{rows}", b => BackwardCases.CrossEntropy(b, width, rows));
    }

    [Fact]
    public void Cross_entropy_of_huge_logits_is_their_difference()
    {
        DeviceTensor z = Backend.Allocate("logits", DType.F32, new Shape(3, 3)), losses = Backend.Allocate("losses", DType.F32, new Shape(3, 1));
        Backend.Write([1e4f, -1e4f, 0, 1e4f, -1e4f, 0, float.NaN, 0, 0], z, 0);
        Backend.Write([5, 5, 5], losses, 0);
        Backend.CrossEntropy(z, [0, 1, -100], [0.5f, 0.5f, 0.5f], losses);
        Assert.Equal([0f, 2e4f, 0f], BackendCases.Read(Backend, losses));
        Assert.Equal([0f, 0f, 0f, 0.5f, -0.5f, 0f, 0f, 0f, 0f], BackendCases.Read(Backend, z));
    }

    /// <summary>Linear cases whose steps drop inputs, in runs of three rows.</summary>
    protected static IEnumerable<LinearCase> Dropped() =>
        from paths in (PathKind[])[PathKind.OneStep, PathKind.Mixed]
        from type in (DType[])[DType.F32, DType.BF16, DType.Q8_0]
        from rows in BackendCases.RowCounts
        from inputs in type.BlockSize() > 1 ? (int[])[32, 96] : [3, 33, 100]
        select new LinearCase(type, inputs, 13, rows, false, paths, true);

    /// <summary>Both pairings, whole heads and parts.</summary>
    protected static IEnumerable<(RopePairs Pairs, int HeadSize, int N, int Rows)> Rotations() =>
        from pairs in Enum.GetValues<RopePairs>()
        from size in ((int, int)[])[(2, 1), (6, 3), (64, 32), (64, 13), (66, 33), (128, 16)]
        from rows in BackendCases.RowCounts
        select (pairs, size.Item1, size.Item2, rows);

    /// <summary>Runs a case forward and backward here and on the reference, and compares outputs and derivatives.</summary>
    protected void Compare(string what, Func<ITrainingBackend, BackwardCase> build)
    {
        BackwardCase expected = build(_reference), found = build(Backend);
        foreach (BackwardCase c in (BackwardCase[])[expected, found])
        {
            c.Forward();
            c.Backward();
        }
        foreach (Output output in found.Outputs)
            Assert.True(output.Derivative.AsSpan().SequenceEqual(BackendCases.Read(Backend, output.Dy)), $"{what}: dy was written to");
        for (int k = 0; k < found.Leaves.Count; k++)
            Compare($"{what}: {found.Leaves[k].Name}", found.Leaves[k], BackendCases.Read(_reference, expected.Leaves[k].Gradient), BackendCases.Read(Backend, found.Leaves[k].Gradient));
    }

    private void Compare(string what, Leaf leaf, float[] expected, float[] found)
    {
        int width = leaf.Rows == 0 || leaf.Value.Columns < 8 ? expected.Length : leaf.Value.Columns;
        for (int row = 0; row < expected.Length; row += width)
        {
            double scale = leaf.Size;
            for (int i = row; i < row + width; i++)
                scale = Math.Max(scale, Math.Abs((double)expected[i] - leaf.Start[i]));
            for (int i = row; i < row + width; i++)
            {
                bool spare = leaf.Rows > 0 && i / leaf.Value.Columns >= leaf.Rows;
                double error = Math.Abs((double)expected[i] - found[i]);
                if (!(spare ? found[i] == leaf.Start[i] : error <= Tolerance * scale))
                    Assert.Fail($"{what}: element {i}: expected {expected[i]:r}, found {found[i]:r}, error {error / scale:e2} of the largest {scale:g3}{(spare ? ", outside the batch" : "")}");
            }
        }
    }
}
