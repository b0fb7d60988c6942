using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>The backward ops over the forward ops' sizes.</summary>
internal static class BackwardChecks
{
    public static readonly ConformanceCheck[] All =
    [
        new("Linear gives the reference's derivatives for every case", Linear),
        new("Dropout drops the same inputs forward and backward", Dropout),
        new("Embed gives the reference's derivatives for every type and path", Embed),
        new("Norms give the reference's derivatives over rows and over heads", Norms),
        new("Rope gives the reference's derivatives for both pairings and partial rotation", Rope),
        new("Attention gives the reference's derivatives for windows, groups, encoders and two sequences", Attention),
        new("Attention's derivatives survive scores that would overflow an exponential", LargeScores),
        new("Activations give the reference's derivatives", Activations),
        new("Activations' derivatives hold from tiny to huge", Magnitudes),
        new("Route gives the reference's derivatives, the choice held", ExpertChecks.RouteBackward),
        new("Rows gathered and added give the reference's derivatives", ExpertChecks.RowsBackward),
        new("Cross-entropy gives the reference's losses and derivatives, masked rows too", CrossEntropy),
        new("Cross-entropy of huge logits is their difference", HugeLogits),
    ];

    private static void Linear(ConformanceRun run)
    {
        foreach (LinearCase c in BackendCases.Linears())
            run.Compare(nameof(ITrainingBackend.LinearBackward), c.ToString(), b => BackwardCases.Linear(b, c));
    }

    private static void Dropout(ConformanceRun run)
    {
        foreach (LinearCase c in BackendCases.Dropped())
            run.Compare(nameof(ITrainingBackend.LinearBackward), $"{c} dropout", b => BackwardCases.Linear(b, c, dropout: 0.3));
    }

    private static void Embed(ConformanceRun run)
    {
        foreach ((DType type, int width, int rows) in BackendCases.Embeddings())
            run.Compare(nameof(ITrainingBackend.EmbedBackward), $"{type} {width} x{rows}", b => BackwardCases.Embed(b, type, width, rows));
        run.Compare(nameof(ITrainingBackend.EmbedBackward), "a table that is the head too", b => BackwardCases.Embed(b, DType.F32, 33, 17, head: true));
    }

    private static void Norms(ConformanceRun run)
    {
        foreach ((int width, int rows, int pieces, bool layer) in BackendCases.Norms())
            run.Compare(layer ? nameof(ITrainingBackend.LayerNormBackward) : nameof(ITrainingBackend.RmsNormBackward), $"{width}·{pieces} x{rows}", b => BackwardCases.Norm(b, width, rows, pieces, layer));
        foreach ((int width, int heads, bool layer) in BackendCases.HeadNorms())
            run.Compare(layer ? nameof(ITrainingBackend.LayerNormBackward) : nameof(ITrainingBackend.RmsNormBackward), $"{width} of {heads} heads", b => BackwardCases.Norm(b, width, 5, 2 * heads, layer, heads, offset: 1));
    }

    private static void Rope(ConformanceRun run)
    {
        foreach ((RopePairs pairs, int headSize, int n, int rows) in BackendCases.Rotations())
            run.Compare(nameof(ITrainingBackend.RopeBackward), $"{pairs} {headSize}/{n} x{rows}", b => BackwardCases.Rope(b, pairs, headSize, n, rows));
    }

    private static void Attention(ConformanceRun run)
    {
        foreach (AttentionCase c in BackendCases.Attentions())
        {
            run.Compare(nameof(ITrainingBackend.AttentionBackward), c.ToString(), b => BackwardCases.Attention(b, c));
            if (c.Window == 0)
                run.Compare(nameof(ITrainingBackend.AttentionBackward), $"{c}, not causal", b => BackwardCases.Attention(b, c, causal: false));
        }
    }

    private static void LargeScores(ConformanceRun run)
    {
        BackwardCase c = BackwardCases.Attention(run.Training, new(2, 1, 32, 0, 5, 3), scale: 100);
        c.Forward();
        c.Backward();
        foreach (Leaf leaf in c.Leaves)
            run.Require(nameof(ITrainingBackend.AttentionBackward), Array.TrueForAll(BackendCases.Read(run.Backend, leaf.Gradient), float.IsFinite), $"large scores: {leaf.Name}: expected finite numbers");
    }

    private static void Activations(ConformanceRun run)
    {
        foreach ((int width, int rows) in BackendCases.Sizes())
        {
            foreach (Activation kind in Enum.GetValues<Activation>())
            {
                run.Compare(nameof(ITrainingBackend.ActivateBackward), $"{kind} {width} x{rows}", b => BackwardCases.Activate(b, kind, width, rows));
                run.Compare(nameof(ITrainingBackend.GatedActivationBackward), $"{kind} {width} x{rows}", b => BackwardCases.GatedActivation(b, kind, width, rows));
            }
        }
    }

    private static void Magnitudes(ConformanceRun run)
    {
        float[] x = BackendCases.Magnitudes();
        foreach (Activation kind in Enum.GetValues<Activation>())
        {
            Check(nameof(ITrainingBackend.ActivateBackward), kind.ToString(), (b, input, dy, dx) => b.ActivateBackward(1, kind, input, dy, dx));
            Check(nameof(ITrainingBackend.GatedActivationBackward), $"{kind} gate", (b, input, dy, dx) => b.GatedActivationBackward(1, kind, input, dy, dy, dx, BackendCases.Filled(b, 0, x.Length)));
            Check(nameof(ITrainingBackend.GatedActivationBackward), $"{kind} up", (b, input, dy, dx) => b.GatedActivationBackward(1, kind, input, dy, dy, BackendCases.Filled(b, 0, x.Length), dx));
        }

        void Check(string op, string what, Action<ITrainingBackend, DeviceTensor, DeviceTensor, DeviceTensor> apply) => run.Elementwise(op, what, x, backend =>
        {
            ITrainingBackend b = (ITrainingBackend)backend;
            DeviceTensor input = BackendCases.Filled(b, 0, x.Length), dx = BackendCases.Filled(b, 0, x.Length);
            b.Write(x, input, 0);
            apply(b, input, BackendCases.Filled(b, 1, x.Length), dx);
            return BackendCases.Read(b, dx);
        }, 1e-6, 3e-7);
    }

    private static void CrossEntropy(ConformanceRun run)
    {
        foreach ((int width, int rows) in BackendCases.Sizes(1000))
        {
            run.Compare(nameof(ITrainingBackend.CrossEntropy), $"{width} x{rows}", b => BackwardCases.CrossEntropy(b, width, rows));
            run.Compare(nameof(ITrainingBackend.CrossEntropy), $"{width} x{rows}: losses", 1, b =>
            {
                BackwardCase c = BackwardCases.CrossEntropy((ITrainingBackend)b, width, rows);
                c.Forward();
                return BackendCases.Read(b, c.Outputs[0].Y)[..rows];
            });
        }
    }

    private static void HugeLogits(ConformanceRun run)
    {
        ITrainingBackend b = run.Training;
        DeviceTensor z = b.Allocate("logits", DType.F32, new Shape(3, 3)), losses = b.Allocate("losses", DType.F32, new Shape(3, 1));
        b.Write([1e4f, -1e4f, 0, 1e4f, -1e4f, 0, float.NaN, 0, 0], z, 0);
        b.Write([5, 5, 5], losses, 0);
        b.CrossEntropy(z, [0, 1, -100], [0.5f, 0.5f, 0.5f], losses);
        run.Same(nameof(ITrainingBackend.CrossEntropy), "losses", [0, 2e4f, 0], BackendCases.Read(b, losses));
        run.Same(nameof(ITrainingBackend.CrossEntropy), "derivatives", [0, 0, 0, 0.5f, -0.5f, 0, 0, 0, 0], BackendCases.Read(b, z));
    }
}
