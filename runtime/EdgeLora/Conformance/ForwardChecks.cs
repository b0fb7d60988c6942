using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>The forward ops over awkward sizes.</summary>
internal static class ForwardChecks
{
    // A nonlinearity's own error, and what is left of it near a zero.
    private const double Relative = 1e-6, Absolute = 1e-7;

    public static readonly ConformanceCheck[] All =
    [
        new("Linear gives the reference for every case", Linear),
        new("Linear leaves rows outside the batch alone", LinearRows),
        new("Linear on several layers gives the bits of each", LinearGroup),
        new("Embed gives the reference for every type and path", Embed),
        new("Norms give the reference over rows and over heads", Norms),
        new("A mean far from zero costs a LayerNorm no digits", ShiftedNorm),
        new("Rope gives the reference for both pairings and partial rotation", Rope),
        new("Attention gives the reference for windows, groups and two sequences", Attention),
        new("Attention survives scores that would overflow an exponential", LargeScores),
        new("Activations give the reference from tiny to huge", Activations),
        new("A NaN in a row is not hidden", NotANumber),
        new("Copies move rows and columns", Copies),
        new("DoraGain gives the reference for every type and layout", DoraGain),
        new("Route gives each row its best experts' weights", ExpertChecks.Route),
        new("Rows gathered come back where they belong, weighted", ExpertChecks.Rows),
        new("TopK gives the best of every row in order", TopK),
        new("TopK gives thousands of a row in order", TopThousands),
    ];

    private static void Linear(ConformanceRun run)
    {
        foreach (LinearCase c in BackendCases.Linears())
            run.Compare(nameof(IComputeBackend.Linear), c.ToString(), c.Outputs, b => ForwardCases.Linear(b, c), floor: 0.1 * Math.Sqrt(c.Inputs));
    }

    private static void LinearRows(ConformanceRun run)
    {
        LinearCase c = new(DType.F32, 33, 13, 5, false, PathKind.Mixed, true);
        float[] y = ForwardCases.Linear(run.Backend, c, bufferRows: 7);
        run.Same(nameof(IComputeBackend.Linear), "rows 5 and 6", [.. Enumerable.Repeat(LinearForward.Untouched, 2 * 13)], y[(5 * 13)..]);
    }

    private static void LinearGroup(ConformanceRun run)
    {
        foreach ((int inputs, int rows) in ((int, int)[])[(32, 1), (33, 5), (256, 17)])
            run.SameBits(nameof(IComputeBackend.Linears), $"five layers, {inputs} x{rows}", ForwardCases.LinearGroup(run.Backend, inputs, rows, together: false), ForwardCases.LinearGroup(run.Backend, inputs, rows, together: true));
    }

    private static void Embed(ConformanceRun run)
    {
        foreach ((DType type, int width, int rows) in BackendCases.Embeddings())
            run.Compare(nameof(IComputeBackend.Embed), $"{type} {width} x{rows}", width, b => ForwardCases.Embed(b, type, width, rows));
    }

    private static void Norms(ConformanceRun run)
    {
        foreach ((int width, int rows, int pieces, bool layer) in BackendCases.Norms())
            run.Compare(Name(layer), $"{width}·{pieces} x{rows}", width, b => ForwardCases.Norm(b, width, rows, pieces, layer));
        foreach ((int width, int heads, bool layer) in BackendCases.HeadNorms())
            run.Compare(Name(layer), $"{width} of {heads} heads", width, b => ForwardCases.Norm(b, width, 5, 2 * heads, layer, heads, offset: 1));
    }

    private static void ShiftedNorm(ConformanceRun run) => run.Compare(nameof(IComputeBackend.LayerNorm), "shifted by 1000", 257, b =>
    {
        DeviceTensor x = b.Allocate("x", DType.F32, new Shape(1, 257));
        b.Write([.. BackendCases.Random(1, 257).Select(v => 1000 + v)], x, 0);
        NormSite site = new("n", 0, b.Upload(BackendCases.Weight(2, DType.F32, 257)), null, 1e-5f);
        b.LayerNorm(BackendCases.Rows(1, SiteTable.Base), site, x, x);
        return BackendCases.Read(b, x);
    });

    private static void Rope(ConformanceRun run)
    {
        foreach ((RopePairs pairs, int headSize, int n, int rows) in BackendCases.Rotations())
            run.Compare(nameof(IComputeBackend.Rope), $"{pairs} {headSize}/{n} x{rows}", 3 * headSize, b =>
            {
                DeviceTensor x = BackendCases.Buffer(b, 1, rows, 3 * headSize);
                b.Rope(rows, headSize, pairs, BackendCases.Buffer(b, 2, rows, n), BackendCases.Buffer(b, 3, rows, n), x);
                return BackendCases.Read(b, x);
            });
    }

    private static void Attention(ConformanceRun run)
    {
        foreach (AttentionCase c in BackendCases.Attentions())
        {
            run.Compare(nameof(IComputeBackend.Attention), c.ToString(), c.HeadSize, b => ForwardCases.Attention(b, c, c.Rows));
            float[] both = ForwardCases.Attention(run.Backend, c, c.Rows);
            run.SameBits(nameof(IComputeBackend.Attention), $"{c}: the same sequence twice", [both[..(both.Length / 2)]], [both[(both.Length / 2)..]]);
        }
    }

    private static void LargeScores(ConformanceRun run)
    {
        AttentionCase c = new(2, 1, 32, 0, 5, 3);
        run.Require(nameof(IComputeBackend.Attention), Array.TrueForAll(ForwardCases.Attention(run.Backend, c, 3, scale: 1e4f), float.IsFinite), "large scores: expected finite numbers");
        run.Compare(nameof(IComputeBackend.Attention), "large scores", c.HeadSize, b => ForwardCases.Attention(b, c, c.Rows, scale: 1e4f), 1e-2);
    }

    private static void Activations(ConformanceRun run)
    {
        Check("magnitudes", BackendCases.Magnitudes(), 1);
        foreach ((int width, int rows) in BackendCases.Sizes())
            Check($"{width} x{rows}", BackendCases.Random(width + rows, (long)width * rows, 6), rows);

        void Check(string what, float[] x, int rows)
        {
            foreach (Activation kind in Enum.GetValues<Activation>())
            {
                Elementwise(nameof(IComputeBackend.Activate), $"{kind} {what}", (b, t, y) => b.Activate(rows, kind, t, y), Relative, Absolute);
                Elementwise(nameof(IComputeBackend.GatedActivation), $"{kind} {what}", (b, t, y) => b.GatedActivation(rows, kind, t, t, y), Relative, Absolute);
            }
            Elementwise(nameof(IComputeBackend.Scale), what, (b, t, y) => b.Scale(rows, 0.7f, t, y), 0, 0);
            Elementwise(nameof(IComputeBackend.Add), what, (b, t, y) => b.Add(rows, t, t, y), 0, 0);

            void Elementwise(string op, string what, Action<IComputeBackend, DeviceTensor, DeviceTensor> apply, double relative, double absolute) => run.Elementwise(op, what, x, b =>
            {
                DeviceTensor input = b.Allocate("x", DType.F32, new Shape(rows, x.Length / rows)), output = b.Allocate("y", DType.F32, input.Shape);
                b.Write(x, input, 0);
                apply(b, input, output);
                return BackendCases.Read(b, output);
            }, relative, absolute);
        }
    }

    private static void NotANumber(ConformanceRun run)
    {
        const int width = 20;
        IComputeBackend b = run.Backend;
        DeviceTensor x = BackendCases.Filled(b, float.NaN, width), y = BackendCases.Filled(b, 0, width);
        float[] expected = BackendCases.Read(b, x);
        foreach (Activation kind in Enum.GetValues<Activation>())
        {
            b.Activate(1, kind, x, y);
            run.Same(nameof(IComputeBackend.Activate), $"{kind} of NaN", expected, BackendCases.Read(b, y));
            b.GatedActivation(1, kind, x, x, y);
            run.Same(nameof(IComputeBackend.GatedActivation), $"{kind} of NaN", expected, BackendCases.Read(b, y));
        }
    }

    private static void Copies(ConformanceRun run)
    {
        IComputeBackend b = run.Backend;
        DeviceTensor x = BackendCases.Buffer(b, 1, 4, 10), y = b.Allocate("y", DType.F32, new Shape(3, 10)), z = b.Allocate("z", DType.F32, new Shape(4, 3));
        float[] source = BackendCases.Read(b, x);
        b.Copy(x, 1, y, 0, 2);
        run.Same(nameof(IComputeBackend.Copy), "two of four rows", [.. source[10..30], .. new float[10]], BackendCases.Read(b, y));
        b.CopyColumns(4, x, 7, z, 1, 2);
        run.Same(nameof(IComputeBackend.CopyColumns), "two of ten columns", [.. Enumerable.Range(0, 4).SelectMany(t => (float[])[0, source[t * 10 + 7], source[t * 10 + 8]])], BackendCases.Read(b, z));
        // Rows of three heads, each with parts of 2, 1 and 1 columns: the last of each, then the first.
        DeviceTensor heads = BackendCases.Buffer(b, 2, 5, 12), last = b.Allocate("last", DType.F32, new Shape(5, 3)), first = b.Allocate("first", DType.F32, new Shape(5, 6));
        source = BackendCases.Read(b, heads);
        b.CopyColumns(5, heads, 3, last, 0, 1, pieces: 3);
        b.CopyColumns(5, heads, 0, first, 0, 2, pieces: 3);
        run.Same(nameof(IComputeBackend.CopyColumns), "a column of each piece", [.. Enumerable.Range(0, 15).Select(p => source[p * 4 + 3])], BackendCases.Read(b, last));
        run.Same(nameof(IComputeBackend.CopyColumns), "two columns of each piece", [.. Enumerable.Range(0, 15).SelectMany(p => (float[])[source[p * 4], source[p * 4 + 1]])], BackendCases.Read(b, first));
    }

    private static void DoraGain(ConformanceRun run)
    {
        foreach (DType type in BackendCases.WeightTypes)
            foreach (bool inputMajor in (bool[])[false, true])
                foreach ((int inputs, int outputs, int deltas) in ((int, int, int)[])[(32, 32, 1), (64, 96, 2), (1056, 32, 1), (32, 32, 0)])
                    foreach (bool replaced in (bool[])[false, true])
                        run.Compare(nameof(IComputeBackend.DoraGain), $"{type} {inputs}->{outputs}{(inputMajor ? " input-major" : "")}, {deltas} deltas{(replaced ? ", replaced rows" : "")}", outputs, b => ForwardCases.DoraGain(b, type, inputs, outputs, inputMajor, deltas, replaced));
        run.Compare(nameof(IComputeBackend.DoraGain), "odd sizes", 13, b => ForwardCases.DoraGain(b, DType.BF16, 33, 13, false, 2, true));
        float[] zero = ForwardCases.DoraGain(run.Backend, DType.F32, 8, 5, false, 0, false, size: 0);
        run.Same(nameof(IComputeBackend.DoraGain), "of a weight that is 0", new float[10], zero);
    }

    private static void TopK(ConformanceRun run) => TopK(run, [(1, 1, 1), (7, 3, 2), (33, 33, 3), (512, 1, 1), (512, 41, 5), (4097, 1, 3), (9001, 129, 2), (40_000, 1, 17)]);

    private static void TopThousands(ConformanceRun run) => TopK(run, [(40_000, 2000, 1)]);

    private static void TopK(ConformanceRun run, (int Columns, int K, int Rows)[] cases)
    {
        foreach ((int columns, int k, int rows) in cases)
        {
            float[] x = BackendCases.Random(columns + k, (long)rows * columns, 50);
            Check("all different", x);
            // Equals on both sides of every part's border; zeros of both signs.
            Check("many equal", Array.ConvertAll(x, v => MathF.Round(v / 25)));
            Check("all equal", Array.ConvertAll(x, v => -0.25f));
            Check("not all finite", [.. x.Select((v, i) => (i % 11) switch { 3 => float.NegativeInfinity, 5 => i % 5 == 0 ? float.NaN : v, 7 => i % 3 == 0 ? float.PositiveInfinity : v, _ => v })]);

            void Check(string what, float[] x)
            {
                float[] expected = Best(new ReferenceBackend()), found = Best(run.Backend);
                run.Same(nameof(IComputeBackend.TopK), $"{k} of {columns}, {rows} rows, {what}", expected, found);

                float[] Best(IComputeBackend b)
                {
                    DeviceTensor from = b.Allocate("x", DType.F32, new Shape(rows, columns)), to = b.Allocate("y", DType.F32, new Shape(rows + 1, 2 * k + 1));
                    b.Write(x, from, 0);
                    b.TopK(rows, k, from, to);
                    return BackendCases.Read(b, to);
                }
            }
        }
    }

    private static string Name(bool layer) => layer ? nameof(IComputeBackend.LayerNorm) : nameof(IComputeBackend.RmsNorm);
}
