using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The reference passes its own suite in F32, and its backward ops in F64 are the finite differences of its forward ops.</summary>
public sealed class ReferenceBackwardConformance : BackwardConformance
{
    // Beyond these, a case costs seconds and shows nothing new.
    private const long LargestLinear = 300_000;
    private const int LongestEncoder = 100;

    private readonly ReferenceBackend _exact = new(DType.F64);

    /// <inheritdoc/>
    protected override ITrainingBackend Backend { get; } = new ReferenceBackend();

    [Fact]
    public void Linear_s_derivatives_are_finite_differences()
    {
        foreach (LinearCase c in BackendCases.Linears().Where(c => (long)c.Inputs * c.Outputs * c.Rows <= LargestLinear))
            Differentiate(c.ToString(), BackwardCases.Linear(_exact, c));
    }

    [Fact]
    public void Linear_s_derivatives_under_dropout_are_finite_differences()
    {
        foreach (LinearCase c in BackendCases.Dropped())
            Differentiate($"{c} dropout", BackwardCases.Linear(_exact, c, dropout: 0.3));
    }

    [Fact]
    public void Embed_s_derivatives_are_finite_differences()
    {
        foreach ((DType type, int width, int rows) in BackendCases.Embeddings())
            Differentiate($"embed {type} {width} x{rows}", BackwardCases.Embed(_exact, type, width, rows));
    }

    [Fact]
    public void A_table_that_is_the_head_too_gets_both_derivatives() => Differentiate("tied", BackwardCases.Embed(_exact, DType.F32, 33, 17, head: true));

    [Fact]
    public void Norms_derivatives_are_finite_differences()
    {
        foreach ((int width, int rows, int pieces, bool layer) in BackendCases.Norms())
            Differentiate($"{(layer ? "layer" : "rms")} {width}·{pieces} x{rows}", BackwardCases.Norm(_exact, width, rows, pieces, layer));
        foreach ((int width, int heads, bool layer) in BackendCases.HeadNorms())
            Differentiate($"{(layer ? "layer" : "rms")} {width} of {heads} heads", BackwardCases.Norm(_exact, width, 5, 2 * heads, layer, heads, offset: 1));
    }

    [Fact]
    public void Rope_s_derivatives_are_finite_differences()
    {
        foreach ((RopePairs pairs, int headSize, int n, int rows) in BackendCases.Rotations())
            Differentiate($"rope {pairs} {headSize}/{n} x{rows}", BackwardCases.Rope(_exact, pairs, headSize, n, rows));
    }

    [Fact]
    public void Attention_s_derivatives_are_finite_differences()
    {
        foreach (AttentionCase c in BackendCases.Attentions())
        {
            Differentiate(c.ToString(), BackwardCases.Attention(_exact, c));
            if (c.Window == 0 && c.Past + c.Rows <= LongestEncoder)
                Differentiate($"{c}, not causal", BackwardCases.Attention(_exact, c, causal: false));
        }
        Differentiate("sharp scores", BackwardCases.Attention(_exact, new(6, 2, 33, 5, 9, 4), scale: 3));
    }

    [Fact]
    public void Activations_derivatives_are_finite_differences()
    {
        foreach ((int width, int rows) in BackendCases.Sizes())
        {
            foreach (Activation kind in Enum.GetValues<Activation>())
            {
                Differentiate($"{kind} {width} x{rows}", BackwardCases.Activate(_exact, kind, width, rows));
                Differentiate($"gated {kind} {width} x{rows}", BackwardCases.GatedActivation(_exact, kind, width, rows));
            }
        }
    }

    [Fact]
    public void Experts_derivatives_are_finite_differences()
    {
        foreach ((int experts, int chosen, int rows) in ExpertCases.Routings())
            foreach (bool renormalise in (bool[])[false, true])
                Differentiate($"route {chosen} of {experts} x{rows} {renormalise}", ExpertCases.Route(_exact, experts, chosen, rows, renormalise));
        foreach ((int width, int rows) in ExpertCases.Moves())
        {
            Differentiate($"gather {width} x{rows}", ExpertCases.Gather(_exact, width, rows));
            foreach (bool all in (bool[])[false, true])
                Differentiate($"add {width} x{rows} {all}", ExpertCases.Add(_exact, width, rows, all, zeros: false));
        }
    }

    [Fact]
    public void Cross_entropy_s_derivatives_are_finite_differences()
    {
        foreach ((int width, int rows) in BackendCases.Sizes())
            Differentiate($"cross-entropy {width} x{rows}", BackwardCases.CrossEntropy(_exact, width, rows));
    }

    [Fact]
    public void An_F64_backend_keeps_what_F32_would_round()
    {
        DeviceTensor x = _exact.Allocate("x", DType.F32, new Shape(1, 2)), y = _exact.Allocate("y", DType.F32, x.Shape);
        ((HostTensor)x).Doubles[0] = 1 + 1e-12;
        _exact.Add(1, x, x, y);
        Assert.Equal(2 + 2e-12, ((HostTensor)y).Doubles[0]);
        _exact.Write([0.1f, 3], y, 0);
        Assert.Equal([0.1f, 3], BackendCases.Read(_exact, y));
        Assert.Contains("F16", Assert.Throws<ArgumentOutOfRangeException>(() => new ReferenceBackend(DType.F16)).Message);
    }

    /// <summary>
    /// The derivative of L = Σ dy∘y along a random direction of each leaf, all its elements at once, against central differences of fourth order: an element that is
    /// wrong or missing shows, since no direction has a zero. The error allowed is 1e-7 of the gradient's length.
    /// </summary>
    private static void Differentiate(string what, BackwardCase c)
    {
        const double h = 1e-5;
        c.Forward();
        c.Backward();
        foreach (Leaf leaf in c.Leaves)
        {
            double[] value = ((HostTensor)leaf.Value).Doubles.ToArray(), gradient = ((HostTensor)leaf.Gradient).Doubles.ToArray();
            Random random = new(value.Length);
            double[] direction = [.. value.Select(_ => (random.Next(2) * 2 - 1) * (0.5 + random.NextDouble()))];
            double Along(double step)
            {
                Span<double> elements = ((HostTensor)leaf.Value).Doubles;
                for (int i = 0; i < value.Length; i++)
                    elements[i] = value[i] + step * direction[i];
                c.Forward();
                return c.Outputs.Sum(Loss);
            }
            double expected = (8 * (Along(h) - Along(-h)) - (Along(2 * h) - Along(-2 * h))) / (12 * h), found = 0, length = 0;
            value.CopyTo(((HostTensor)leaf.Value).Doubles);
            for (int i = 0; i < gradient.Length; i++)
            {
                double d = gradient[i] - leaf.Start[i];
                found += d * direction[i];
                length += d * d;
            }
            double allowed = 1e-7 * Math.Max(Math.Sqrt(length), leaf.Size);
            Assert.True(Math.Abs(expected - found) <= allowed, $"{what}: {leaf.Name}: finite differences {expected:r}, backward {found:r}, error {Math.Abs(expected - found):e2} of {allowed:e2}");
        }
    }

    private static double Loss(Output output)
    {
        double sum = 0;
        Span<double> y = ((HostTensor)output.Y).Doubles;
        for (int i = 0; i < output.Rows * output.Y.Columns; i++)
            sum += y[i] * output.Derivative[i];
        return sum;
    }
}
