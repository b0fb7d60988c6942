using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>
/// The one suite that every backend passes: each op over awkward sizes against the scalar reference. An error is measured against the largest
/// magnitude of the row (of all rows, where a row has only a few numbers; at least the size that such a sum usually has), because a sum that cancels has no digits to compare.
/// </summary>
public abstract class BackendConformance : IDisposable
{
    private readonly ReferenceBackend _reference = new();

    /// <summary>The backend under test.</summary>
    protected abstract IComputeBackend Backend { get; }

    /// <summary>Largest error allowed, relative to the largest magnitude in the row.</summary>
    protected virtual double Tolerance => 3e-6;

    /// <inheritdoc/>
    public void Dispose()
    {
        Backend.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Linear_gives_the_reference_for_every_case()
    {
        foreach (LinearCase c in BackendCases.Linears())
            Compare(c.ToString(), c.Outputs, b => Linear(b, c), floor: 0.1 * Math.Sqrt(c.Inputs));
    }

    [Fact]
    public void Linear_leaves_rows_outside_the_batch_alone()
    {
        LinearCase c = new(DType.F32, 33, 13, 5, false, PathKind.Mixed, true);
        float[] y = Linear(Backend, c, bufferRows: 7);
        Assert.All(y[(5 * 13)..], v => Assert.Equal(7f, v));
    }

    [Fact]
    public void Embed_gives_the_reference_for_every_type_and_path()
    {
        foreach (DType type in BackendCases.WeightTypes)
            foreach (int width in type.BlockSize() > 1 ? (int[])[32, 64, 256] : BackendCases.Widths)
                foreach (int rows in BackendCases.RowCounts)
                    Compare($"embed {type} {width} x{rows}", width, b => Embed(b, type, width, rows));
    }

    [Fact]
    public void Norms_give_the_reference_over_rows_and_over_heads()
    {
        foreach (int width in BackendCases.Widths)
            foreach (int rows in BackendCases.RowCounts)
                foreach (int pieces in (int[])[1, 3])
                {
                    Compare($"rms {width}·{pieces} x{rows}", width, b => Norm(b, width, rows, pieces, layer: false));
                    Compare($"layer {width}·{pieces} x{rows}", width, b => Norm(b, width, rows, pieces, layer: true));
                }
    }

    [Fact]
    public void A_mean_far_from_zero_costs_a_LayerNorm_no_digits()
    {
        Compare("shifted", 257, b =>
        {
            DeviceTensor x = b.Allocate("x", DType.F32, new Shape(1, 257));
            b.Write([.. BackendCases.Random(1, 257).Select(v => 1000 + v)], x, 0);
            NormSite site = new("n", 0, b.Upload(BackendCases.Weight(2, DType.F32, 257)), null, 1e-5f);
            BatchLayout batch = new();
            batch.AddRow(SiteTable.Base);
            b.LayerNorm(batch, site, x, x);
            return BackendCases.Read(b, x);
        });
    }

    [Fact]
    public void Rope_gives_the_reference_for_both_pairings_and_partial_rotation()
    {
        foreach (RopePairs pairs in Enum.GetValues<RopePairs>())
            foreach ((int headSize, int n) in ((int, int)[])[(2, 1), (6, 3), (64, 32), (64, 13), (66, 33), (128, 16)])
                foreach (int rows in BackendCases.RowCounts)
                    Compare($"rope {pairs} {headSize}/{n} x{rows}", 3 * headSize, b =>
                    {
                        DeviceTensor x = BackendCases.Buffer(b, 1, rows, 3 * headSize);
                        b.Rope(rows, headSize, pairs, BackendCases.Buffer(b, 2, rows, n), BackendCases.Buffer(b, 3, rows, n), x);
                        return BackendCases.Read(b, x);
                    });
    }

    [Fact]
    public void Attention_gives_the_reference_for_windows_groups_and_two_sequences()
    {
        foreach (AttentionCase c in BackendCases.Attentions())
            Compare(c.ToString(), c.HeadSize, b => Attention(b, c, c.Rows));
    }

    [Fact]
    public void Attention_survives_scores_that_would_overflow_an_exponential()
    {
        AttentionCase c = new(2, 1, 32, 0, 5, 3);
        float[] y = Attention(Backend, c, 3, scale: 1e4f);
        Assert.All(y, v => Assert.True(float.IsFinite(v)));
        Compare("large scores", c.HeadSize, b => Attention(b, c, c.Rows, scale: 1e4f), 1e-2);
    }

    [Fact]
    public void Activations_give_the_reference_from_tiny_to_huge()
    {
        float[] x = [0, 1e-8f, -1e-8f, 1e-3f, -1e-3f, 0.5f, -0.5f, 1, -1, 2, -2, 3.5f, -3.5f, 5, -5, 8, -8, 12, -12, 30, -30, 80, -80, 1e4f, -1e4f];
        foreach (Activation kind in Enum.GetValues<Activation>())
            Elementwise($"{kind}", x, (b, t, y) => b.Activate(1, kind, t, y), 1e-6, 1e-7);
        Elementwise("swiglu", x, (b, t, y) => b.SwiGlu(1, t, t, y), 1e-6, 1e-7);
        foreach (int width in BackendCases.Widths)
            foreach (int rows in BackendCases.RowCounts)
            {
                float[] r = BackendCases.Random(width + rows, (long)width * rows, 6);
                foreach (Activation kind in Enum.GetValues<Activation>())
                    Elementwise($"{kind}", r, (b, t, y) => b.Activate(rows, kind, t, y), 1e-6, 1e-7, rows);
                Elementwise("swiglu", r, (b, t, y) => b.SwiGlu(rows, t, t, y), 1e-6, 1e-7, rows);
                Elementwise("add", r, (b, t, y) => b.Add(rows, t, t, y), 0, 0, rows);
            }
    }

    [Fact]
    public void A_NaN_in_a_row_is_not_hidden()
    {
        IComputeBackend b = Backend;
        DeviceTensor x = b.Allocate("x", DType.F32, new Shape(1, 20)), y = b.Allocate("y", DType.F32, new Shape(1, 20));
        b.Write([.. Enumerable.Repeat(float.NaN, 20)], x, 0);
        foreach (Activation kind in Enum.GetValues<Activation>())
        {
            b.Activate(1, kind, x, y);
            Assert.All(BackendCases.Read(b, y), v => Assert.True(float.IsNaN(v), kind.ToString()));
        }
        b.SwiGlu(1, x, x, y);
        Assert.All(BackendCases.Read(b, y), v => Assert.True(float.IsNaN(v)));
    }

    [Fact]
    public void Copies_move_rows_and_columns()
    {
        IComputeBackend b = Backend;
        DeviceTensor x = BackendCases.Buffer(b, 1, 4, 10), y = b.Allocate("y", DType.F32, new Shape(3, 10)), z = b.Allocate("z", DType.F32, new Shape(4, 3));
        float[] source = BackendCases.Read(b, x);
        b.Copy(x, 1, y, 0, 2);
        Assert.Equal(source[10..30], BackendCases.Read(b, y)[..20]);
        Assert.All(BackendCases.Read(b, y)[20..], v => Assert.Equal(0f, v));
        b.CopyColumns(4, x, 7, z, 1, 2);
        for (int t = 0; t < 4; t++)
            Assert.Equal([0, source[t * 10 + 7], source[t * 10 + 8]], BackendCases.Read(b, z)[(t * 3)..(t * 3 + 3)]);
    }

    [Fact]
    public void A_type_that_is_no_weight_is_refused_by_name()
    {
        Tensor ids = new("ids", DType.I32, new Shape(2), new ArrayStorage(8));
        Assert.Contains("ids: I32", Assert.Throws<NotSupportedException>(() => Backend.Upload(ids)).Message);
    }

    /// <summary>Runs one linear case on rows [first, first + count) of its batch; all rows by default.</summary>
    internal static float[] Linear(IComputeBackend b, LinearCase c, int first = 0, int count = -1, int bufferRows = 0)
    {
        count = count < 0 ? c.Rows : count;
        SiteTable[] paths = BackendCases.Paths(b, c);
        float[] all = BackendCases.Random(3, (long)c.Rows * c.Inputs);
        DeviceTensor x = b.Allocate("x", DType.F32, new Shape(count, c.Inputs));
        b.Write(all.AsSpan(first * c.Inputs, count * c.Inputs), x, 0);
        DeviceTensor y = b.Allocate("y", DType.F32, new Shape(Math.Max(count, bufferRows), c.Outputs));
        float[] old = new float[y.Shape.Elements];
        Array.Fill(old, 7f);
        b.Write(old, y, 0);
        BatchLayout batch = new();
        BackendCases.Fill(batch, paths, first, count);
        b.Linear(batch, BackendCases.Site(b, c), x, y);
        return BackendCases.Read(b, y);
    }

    /// <summary>Runs attention over two sequences of <paramref name="c"/>, storing and asking <paramref name="chunk"/> tokens at a time.</summary>
    internal static float[] Attention(IComputeBackend b, AttentionCase c, int chunk, float scale = 1)
    {
        const int layer = 1;
        int width = c.KvHeads * c.HeadSize, q = c.Heads * c.HeadSize;
        using KvBuffer first = new(b, 2, width, 1), second = new(b, 2, width, 4);
        List<float> result = [];
        int total = c.Past + c.Rows;
        float[] keys = BackendCases.Random(5, (long)total * width, scale), values = BackendCases.Random(6, (long)total * width), queries = BackendCases.Random(7, (long)total * q);
        AttentionShape shape = new(c.Heads, c.KvHeads, c.HeadSize, 1 / MathF.Sqrt(c.HeadSize), c.Window);
        List<float> second2 = [];
        for (int past = 0; past < total;)
        {
            int count = past < c.Past ? c.Past - past : Math.Min(chunk, total - past);
            BatchLayout batch = new();
            foreach (KvBuffer cache in (KvBuffer[])[first, second])
            {
                cache.Reserve(past + count);
                batch.BeginSequence(cache, past);
                for (int t = 0; t < count; t++)
                    batch.Add(0, SiteTable.Base);
            }
            DeviceTensor k = Twice(b, keys, past, count, width), v = Twice(b, values, past, count, width), x = Twice(b, queries, past, count, q);
            DeviceTensor y = b.Allocate("y", DType.F32, new Shape(2 * count, q));
            b.StoreKeyValues(batch, layer, k, v);
            b.Attention(batch, layer, shape, x, y);
            float[] rows = BackendCases.Read(b, y);
            if (past >= c.Past)
            {
                result.AddRange(rows[..(count * q)]);
                second2.AddRange(rows[(count * q)..]);
            }
            past += count;
        }
        Assert.Equal(result, second2);
        return [.. result];
    }

    /// <summary>Runs an embedding of random tokens on mixed paths.</summary>
    internal static float[] Embed(IComputeBackend b, DType type, int width, int rows)
    {
        const int vocabulary = 50;
        LowRankStep Step(int seed, int rank, DType t, bool gain) => new(
            b.Upload(BackendCases.Weight(seed, t, rank, vocabulary)), b.Upload(BackendCases.Weight(seed + 1, t, width, rank)), rank, 0.5f,
            null, gain ? b.Upload(BackendCases.Weight(seed + 2, DType.F32, width)) : null);
        SiteTable[] paths =
        [
            SiteTable.Base,
            new([new SiteAdapter([Step(10, 8, DType.F32, false)])]),
            new([new SiteAdapter([Step(20, 3, DType.BF16, true), Step(30, 5, DType.F16, false)])]),
            new([new SiteAdapter([], Rows: new([0, 7, 20, 21, 22, 23, 24, 25], b.Upload(BackendCases.Weight(40, DType.F32, 8, width))))]),
            new([new SiteAdapter([], b.Upload(BackendCases.Weight(50, DType.BF16, vocabulary, width)))]),
        ];
        EmbeddingSite site = new("embed", 0, b.Upload(BackendCases.Weight(1, type, vocabulary, width)));
        using KvBuffer cache = new(b, 1, 1, 1);
        BatchLayout batch = new();
        batch.BeginSequence(cache, 0);
        for (int t = 0; t < rows; t++)
            batch.Add(t * 7 % vocabulary, paths[t / 2 % paths.Length]);
        DeviceTensor y = b.Allocate("y", DType.F32, new Shape(rows, width));
        b.Embed(batch, site, y);
        return BackendCases.Read(b, y);
    }

    /// <summary>Runs a norm in place on two paths.</summary>
    internal static float[] Norm(IComputeBackend b, int width, int rows, int pieces, bool layer)
    {
        NormSite site = new("norm", 0, b.Upload(BackendCases.Weight(1, DType.BF16, width)), layer ? b.Upload(BackendCases.Weight(2, DType.F32, width)) : null, 1e-5f);
        SiteTable other = new([new SiteAdapter([], b.Upload(BackendCases.Weight(3, DType.F16, width)), layer ? b.Upload(BackendCases.Weight(4, DType.F16, width)) : null)]);
        BatchLayout batch = new();
        for (int t = 0; t < rows; t++)
            batch.AddRow(t % 3 == 1 ? other : SiteTable.Base);
        DeviceTensor x = BackendCases.Buffer(b, 5, rows, width * pieces);
        if (layer)
            b.LayerNorm(batch, site, x, x);
        else
            b.RmsNorm(batch, site, x, x);
        return BackendCases.Read(b, x);
    }

    private static DeviceTensor Twice(IComputeBackend b, float[] values, int row, int count, int width)
    {
        DeviceTensor tensor = b.Allocate("twice", DType.F32, new Shape(2 * count, width));
        b.Write(values.AsSpan(row * width, count * width), tensor, 0);
        b.Write(values.AsSpan(row * width, count * width), tensor, count);
        return tensor;
    }

    private void Elementwise(string what, float[] x, Action<IComputeBackend, DeviceTensor, DeviceTensor> op, double relative, double absolute, int rows = 1)
    {
        float[] Run(IComputeBackend b)
        {
            DeviceTensor input = b.Allocate("x", DType.F32, new Shape(rows, x.Length / rows)), output = b.Allocate("y", DType.F32, input.Shape);
            b.Write(x, input, 0);
            op(b, input, output);
            return BackendCases.Read(b, output);
        }
        float[] expected = Run(_reference), found = Run(Backend);
        for (int i = 0; i < x.Length; i++)
            Assert.True(Math.Abs((double)expected[i] - found[i]) <= relative * Math.Abs(expected[i]) + absolute, $"{what}({x[i]:r}): expected {expected[i]:r}, found {found[i]:r}");
    }

    private void Compare(string what, int width, Func<IComputeBackend, float[]> run, double tolerance = 0, double floor = 1e-3)
    {
        float[] expected = run(_reference), found = run(Backend);
        Assert.Equal(expected.Length, found.Length);
        double all = expected.Max(v => Math.Abs((double)v));
        for (int row = 0; row < expected.Length; row += width)
        {
            double scale = Math.Max(floor, width < 8 ? all : 0);
            for (int i = row; i < row + width; i++)
                scale = Math.Max(scale, Math.Abs(expected[i]));
            for (int i = row; i < row + width; i++)
            {
                double error = Math.Abs((double)expected[i] - found[i]);
                if (!(error <= Math.Max(tolerance, Tolerance) * scale))
                    Assert.Fail($"{what}: row {row / width}, column {i - row}: expected {expected[i]:r}, found {found[i]:r}, error {error / scale:e2} of the row's {scale:g3}");
            }
        }
    }
}
