using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>The forward ops, each run over one case and read back.</summary>
public static class ForwardCases
{
    /// <summary>Runs one linear case.</summary>
    public static float[] Linear(IComputeBackend b, LinearCase c, int bufferRows = 0) => new LinearForward(b, c).Run(0, c.Rows, bufferRows);

    /// <summary>Runs five layers on one input, whose paths have other ranks at each and none at the third.</summary>
    public static float[][] LinearGroup(IComputeBackend b, int inputs, int rows, bool together)
    {
        int[] outputs = [13, 7, 33, 20, 1], ranks = [8, 3, 0, 40, 1];
        LowRankStep Step(int seed, int i, int rank) => new(b.Upload(BackendCases.Weight(seed, DType.F32, rank, inputs)), b.Upload(BackendCases.Weight(seed + 1, DType.BF16, outputs[i], rank)), rank, 0.5f);
        SiteAdapter? Adapter(int path, int i) => ranks[i] == 0 || i == path ? null : new([.. Enumerable.Range(0, path + 1).Select(k => Step(100 * path + 10 * i + 2 * k, i, ranks[i] + path))]);
        SiteTable[] paths = [SiteTable.Base, .. Enumerable.Range(0, 2).Select(path => new SiteTable([.. outputs.Select((_, i) => Adapter(path, i))]))];
        LinearSite[] sites = [.. outputs.Select((o, i) => new LinearSite($"layer {i}", i, b.Upload(BackendCases.Weight(i, i % 2 == 0 ? DType.F32 : DType.F16, o, inputs)), i == 1 ? b.Upload(BackendCases.Weight(50, DType.F32, o)) : null, false))];
        BatchLayout batch = new();
        for (int t = 0; t < rows; t++)
            batch.AddRow(paths[(t / 2 + 1) % paths.Length]);
        DeviceTensor x = BackendCases.Buffer(b, 3, rows, inputs);
        DeviceTensor[] y = [.. outputs.Select(o => b.Allocate("y", DType.F32, new Shape(rows, o)))];
        if (together)
            b.Linears(batch, sites, x, y);
        else
            for (int i = 0; i < sites.Length; i++)
                b.Linear(batch, sites[i], x, y[i]);
        return [.. y.Select(one => BackendCases.Read(b, one))];
    }

    /// <summary>Runs attention over two sequences of <paramref name="c"/>, storing and asking <paramref name="chunk"/> tokens at a time.</summary>
    public static float[] Attention(IComputeBackend b, AttentionCase c, int chunk, float scale = 1)
    {
        const int layer = 1;
        int width = c.KvHeads * c.HeadSize, q = c.Heads * c.HeadSize;
        using KvBuffer first = new(b, 2, width, 1), second = new(b, 2, width, 4);
        List<float> result = [];
        int total = c.Past + c.Rows;
        float[] keys = BackendCases.Random(5, (long)total * width, scale), values = BackendCases.Random(6, (long)total * width), queries = BackendCases.Random(7, (long)total * q);
        AttentionShape shape = c.Shape(b);
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
        return [.. result, .. second2];
    }

    /// <summary>DoRA's norms, then its gains, over a weight in either layout.</summary>
    public static float[] DoraGain(IComputeBackend b, DType type, int inputs, int outputs, bool inputMajor, int deltas, bool replaced, float size = 1)
    {
        (int rows, int columns) = inputMajor ? (inputs, outputs) : (outputs, inputs);
        DeviceTensor weight = size == 0 ? b.Allocate("w", DType.F32, new Shape(rows, columns)) : b.Upload(BackendCases.Weight(1, type, rows, columns));
        LowRankStep[] steps = [.. Enumerable.Range(0, deltas).Select(k => new LowRankStep(
            b.Upload(BackendCases.Weight(10 + k, k == 0 ? DType.F32 : DType.BF16, 3 + 5 * k, inputs)), b.Upload(BackendCases.Weight(20 + k, k == 0 ? DType.F16 : DType.F32, outputs, 3 + 5 * k)), 3 + 5 * k, 0.5f - k))];
        int[] ids = [0, 3, rows - 1];
        DoraSite site = new("dora", weight, inputMajor, replaced ? new(ids, b.Upload(BackendCases.Weight(30, DType.F16, ids.Length, columns))) : null, steps);
        DeviceTensor m = BackendCases.Buffer(b, 40, 1, outputs, 3), norms = b.Allocate("norms", DType.F32, new Shape(outputs)), gain = b.Allocate("gain", DType.F32, new Shape(outputs));
        b.DoraGain(site, m, norms, gain);
        return [.. BackendCases.Read(b, norms), .. BackendCases.Read(b, gain)];
    }

    /// <summary>Runs an embedding of random tokens on mixed paths.</summary>
    public static float[] Embed(IComputeBackend b, DType type, int width, int rows)
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
    public static float[] Norm(IComputeBackend b, int width, int rows, int pieces, bool layer, int heads = 1, float offset = 0)
    {
        NormSite site = new("norm", 0, b.Upload(BackendCases.Weight(1, DType.BF16, heads * width)), layer ? b.Upload(BackendCases.Weight(2, DType.F32, heads * width)) : null, 1e-5f, heads, offset);
        SiteTable other = new([new SiteAdapter([], b.Upload(BackendCases.Weight(3, DType.F16, heads * width)), layer ? b.Upload(BackendCases.Weight(4, DType.F16, heads * width)) : null)]);
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
}
