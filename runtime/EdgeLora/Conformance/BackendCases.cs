using System.Buffers.Binary;
using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>What the paths of a batch do at a linear site.</summary>
public enum PathKind
{
    /// <summary>All rows on the base.</summary>
    Base,
    /// <summary>One low-rank step for all rows.</summary>
    OneStep,
    /// <summary>Rows take turns over base, one step, three steps with DoRA gains, a replaced weight with a replaced bias, replaced rows.</summary>
    Mixed,
}

/// <summary>One linear case: shapes, type and paths.</summary>
public sealed record LinearCase(DType Type, int Inputs, int Outputs, int Rows, bool InputMajor, PathKind Paths, bool Bias)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Type} {Inputs}->{Outputs} x{Rows}{(InputMajor ? " input-major" : "")} {Paths}{(Bias ? " bias" : "")}";
}

/// <summary>One attention case.</summary>
public sealed record AttentionCase(int Heads, int KvHeads, int HeadSize, int Window, int Past, int Rows, float Cap = 0, bool Alibi = false)
{
    /// <summary>The shape, with slopes on <paramref name="backend"/>.</summary>
    public AttentionShape Shape(IComputeBackend backend, bool causal = true) =>
        new(Heads, KvHeads, HeadSize, 1 / MathF.Sqrt(HeadSize), Window, causal, Cap, Alibi ? backend.Upload(BackendCases.Stored("slopes", Core.Alibi.Slopes(Heads))) : null);

    /// <inheritdoc/>
    public override string ToString() => $"{Heads}/{KvHeads} heads of {HeadSize}, window {Window}, {Past} + {Rows} tokens{(Cap > 0 ? FormattableString.Invariant($", cap {Cap}") : "")}{(Alibi ? ", ALiBi" : "")}";
}

/// <summary>The awkward sizes that every backend must get right; shared by the conformance suite, tests and benchmarks.</summary>
public static class BackendCases
{
    /// <summary>Weight types that devices multiply as they are stored.</summary>
    public static readonly DType[] WeightTypes = [DType.F32, DType.F16, DType.BF16, DType.Q8_0, DType.Q4_0];

    /// <summary>Weight types that devices may widen.</summary>
    public static readonly DType[] WidenedTypes = [.. Enum.GetValues<DType>().Where(t => t.IsWeight() && !t.HasKernels())];

    /// <summary>Widths beside every vector length.</summary>
    public static readonly int[] Widths = [1, 3, 31, 32, 33, 64, 100, 257];

    /// <summary>Batch sizes beside every tile.</summary>
    public static readonly int[] RowCounts = [1, 2, 3, 5, 17, 64];

    // In the environment, EDGELORA_ALL=1: every combination of sizes; else a part of them, in which every two sizes still meet for each type.
    // EDGELORA_FEW=1: half of that part, without types and layouts whose addresses are another's or that are widened when they are loaded, for validation in the shaders: it compiles each for seconds.
    private static readonly int s_thinned = Environment.GetEnvironmentVariable("EDGELORA_ALL") == "1" ? 0 : Environment.GetEnvironmentVariable("EDGELORA_FEW") == "1" ? 2 : 1;

    private static bool Taken(int place, int of) => Taken(place, of, s_thinned);

    private static bool Taken(int place, int of, int thinned) => thinned == 0 || place % (of * thinned) == 0;

    /// <summary>Linear cases: every two of inputs, outputs and rows meet for each type, all three for one of the types that are no blocks.</summary>
    public static IEnumerable<LinearCase> Linears() => Linears(s_thinned);

    /// <summary>The same: 0, all; 1, the part of them; 2, half of that.</summary>
    internal static IEnumerable<LinearCase> Linears(int thinned)
    {
        int[] outputs = [1, 3, 13, 33, 100];
        foreach ((int t, DType type) in WeightTypes.Index())
        {
            bool blocked = type.BlockSize() > 1;
            int[] inputs = blocked ? [32, 64, 96, 544, 1056] : [1, 3, 31, 32, 33, 64, 100, 257, 1030];
            foreach ((int a, int i) in inputs.Index())
                foreach ((int b, int o) in outputs.Index())
                    foreach ((int r, int rows) in RowCounts.Index())
                    {
                        PathKind paths = (PathKind)((i + o + rows) % 3);
                        if (Taken(t + a + b + r, 3, thinned) && (thinned < 2 || type != DType.F16))
                            yield return new(type, i, o, rows, false, paths, (o + rows) % 2 == 0);
                        if (!blocked && o != 13 && Taken(t + a + (b > 2 ? b - 1 : b) + r, 3, thinned) && (thinned < 2 || type == DType.F32))
                            yield return new(type, i, o, rows, true, paths == PathKind.Mixed ? PathKind.OneStep : PathKind.Mixed, o % 2 == 0);
                    }
            if (thinned < 2 || type != DType.F16)
                yield return new(type, 256, 500, 130, false, PathKind.Mixed, true);
        }
        foreach (DType type in thinned < 2 ? WidenedTypes : [])
        {
            int block = type.BlockSize();
            yield return new(type, 5 * block, 13, 1, false, PathKind.OneStep, true);
            yield return new(type, block, 33, 5, false, PathKind.Mixed, false);
            yield return new(type, 4 * block, 100, 130, false, PathKind.Base, true);
        }
    }

    /// <summary>Attention cases; of few, heads of one size of each kind.</summary>
    public static IEnumerable<AttentionCase> Attentions() => s_attentions.Where(c => s_thinned < 2 || c.HeadSize is 3 or 16 or 33 or 64);

    private static readonly AttentionCase[] s_attentions =
    [
        new(1, 1, 1, 0, 0, 1), new(2, 1, 3, 0, 0, 5), new(4, 2, 31, 0, 7, 3), new(4, 4, 32, 0, 0, 17), new(6, 2, 33, 5, 9, 4),
        new(8, 2, 64, 0, 300, 1), new(8, 2, 64, 16, 130, 40), new(3, 1, 100, 1, 3, 2), new(9, 3, 64, 0, 0, 64), new(2, 2, 128, 0, 260, 2), new(2, 1, 40, 0, 250, 30), new(2, 1, 16, 40, 240, 60),
        new(4, 2, 31, 0, 7, 3, Cap: 0.3f), new(2, 1, 64, 16, 130, 40, Cap: 2), new(6, 6, 4, 0, 40, 1, Alibi: true), new(3, 1, 32, 0, 250, 30, Alibi: true), new(2, 2, 16, 7, 9, 5, Cap: 1, Alibi: true),
    ];

    /// <summary>Linear cases whose steps drop inputs, in runs of three rows.</summary>
    public static IEnumerable<LinearCase> Dropped() =>
        from paths in (PathKind[])[PathKind.OneStep, PathKind.Mixed]
        from type in (DType[])[DType.F32, DType.BF16, DType.Q8_0]
        from rows in RowCounts.Index()
        from inputs in (type.BlockSize() > 1 ? (int[])[32, 96] : [3, 33, 100]).Index()
        where Taken((int)paths + rows.Index + inputs.Index, 2) && (s_thinned < 2 || type != DType.BF16)
        select new LinearCase(type, inputs.Item, 13, rows.Item, false, paths, true);

    /// <summary>Embeddings of every type.</summary>
    public static IEnumerable<(DType Type, int Width, int Rows)> Embeddings() =>
        (from type in WeightTypes.Index()
         from width in (type.Item.BlockSize() > 1 ? [32, 64, 256] : Widths).Index()
         from rows in RowCounts.Index()
         where Taken(type.Index + width.Index + rows.Index, 3) && (s_thinned < 2 || type.Item is DType.F32 or DType.Q8_0)
         select (type.Item, width.Item, rows.Item)).Concat(s_thinned < 2 ? WidenedTypes.Select(type => (type, 2 * type.BlockSize(), 3)) : []);

    /// <summary>Norms over rows and over pieces of rows.</summary>
    public static IEnumerable<(int Width, int Rows, int Pieces, bool Layer)> Norms() =>
        from width in Widths.Index()
        from rows in RowCounts.Index()
        from pieces in (int[])[1, 3]
        from layer in (bool[])[false, true]
        where Taken(width.Index + rows.Index + pieces / 2 + (layer ? 1 : 0), 2)
        select (width.Item, rows.Item, pieces, layer);

    /// <summary>Norms whose heads have gains of their own.</summary>
    public static IEnumerable<(int Width, int Heads, bool Layer)> HeadNorms() =>
        from size in ((int, int)[])[(1, 2), (8, 3), (33, 2), (64, 4), (257, 3)]
        from layer in (bool[])[false, true]
        select (size.Item1, size.Item2, layer);

    /// <summary>Rotations in both pairings, of whole heads and of parts.</summary>
    public static IEnumerable<(RopePairs Pairs, int HeadSize, int N, int Rows)> Rotations() =>
        from pairs in Enum.GetValues<RopePairs>()
        from size in ((int Head, int N)[])[(2, 1), (6, 3), (64, 32), (64, 13), (66, 33), (128, 16)]
        from rows in RowCounts.Index()
        where Taken((int)pairs + size.N + rows.Index, 2)
        select (pairs, size.Head, size.N, rows.Item);

    /// <summary>Every width, and those of <paramref name="more"/>, with half of the numbers of rows, in turns.</summary>
    public static IEnumerable<(int Width, int Rows)> Sizes(params int[] more) =>
        from width in ((int[])[.. Widths, .. more]).Index()
        from rows in RowCounts.Index()
        where Taken(width.Index + rows.Index, 2)
        select (width.Item, rows.Item);

    /// <summary>Arguments of nonlinearities from tiny to huge.</summary>
    public static float[] Magnitudes() => [0, 1e-8f, -1e-8f, 1e-3f, -1e-3f, 0.5f, -0.5f, 1, -1, 2, -2, 3.5f, -3.5f, 5, -5, 8, -8, 12, -12, 30, -30, 80, -80, 1e4f, -1e4f];

    /// <summary>Numbers in about (-1, 1), the same for the same seed.</summary>
    public static float[] Random(int seed, long count, float scale = 1)
    {
        Random random = new(seed);
        float[] values = new float[count];
        for (int i = 0; i < values.Length; i++)
            values[i] = ((float)random.NextDouble() * 2 - 1) * scale;
        return values;
    }

    /// <summary>A tensor [1, count] of these numbers.</summary>
    public static Tensor Stored(string name, ReadOnlySpan<float> values)
    {
        ArrayStorage storage = new(values.Length * sizeof(float));
        MemoryMarshal.AsBytes(values).CopyTo(storage.Writable);
        return new Tensor(name, DType.F32, new Shape(1, values.Length), storage);
    }

    /// <summary>A tensor of random weights stored as <paramref name="type"/>.</summary>
    public static Tensor Weight(int seed, DType type, params ReadOnlySpan<long> dimensions)
    {
        Shape shape = new(dimensions);
        ArrayStorage storage = new((int)type.Bytes(shape.Elements));
        Span<byte> bytes = storage.Writable;
        float[] values = Random(seed, shape.Elements);
        switch (type)
        {
            case DType.F32:
                MemoryMarshal.AsBytes<float>(values).CopyTo(bytes);
                break;
            case DType.F16:
                for (int i = 0; i < values.Length; i++)
                    BinaryPrimitives.WriteHalfLittleEndian(bytes[(2 * i)..], (Half)values[i]);
                break;
            case DType.BF16:
                for (int i = 0; i < values.Length; i++)
                    BinaryPrimitives.WriteUInt16LittleEndian(bytes[(2 * i)..], Dequantize.ToBFloat16(values[i]));
                break;
            default:
                Random random = new(seed);
                random.NextBytes(bytes);
                for (int b = 0; b < bytes.Length; b += type.BlockBytes())
                    WriteScales(random, type, bytes.Slice(b, type.BlockBytes()));
                break;
        }
        return new Tensor($"weight{seed}", type, shape, storage);
    }

    // The rest of a block may be any bits. Scales are such that weights lie in about (-1, 1).
    private static void WriteScales(Random random, DType type, Span<byte> block)
    {
        (int at, int count, float size) = type switch
        {
            DType.Q8_0 or DType.IQ4_NL => (0, 1, 0.01f),
            DType.Q4_1 or DType.Q5_1 => (0, 2, 0.05f),
            DType.Q5_0 => (0, 1, 0.1f),
            DType.Q2_K => (80, 2, 0.02f),
            DType.Q3_K => (108, 1, 0.01f),
            DType.Q4_K or DType.Q5_K => (0, 2, 1e-3f),
            DType.Q6_K => (208, 1, 3e-4f),
            DType.IQ4_XS => (0, 1, 3e-4f),
            DType.Q1_0 => (0, 1, 1),
            DType.TQ1_0 => (52, 1, 1),
            DType.TQ2_0 => (64, 1, 1),
            DType.IQ2_XXS or DType.IQ2_XS or DType.IQ2_S => (0, 1, 0.01f),
            DType.IQ3_XXS or DType.IQ3_S => (0, 1, 3e-3f),
            DType.IQ1_S => (0, 1, 0.1f),
            DType.MXFP4 or DType.NVFP4 or DType.IQ1_M or DType.Q8_K => (0, 0, 0),
            _ => (0, 1, 0.2f),
        };
        if (type == DType.MXFP4)
            block[0] = (byte)random.Next(120, 127);
        if (type == DType.Q8_K)
            BinaryPrimitives.WriteSingleLittleEndian(block, ((float)random.NextDouble() - 0.5f) * 0.01f);
        for (int i = 0; type == DType.NVFP4 && i < 4; i++)
            block[i] = (byte)random.Next(0x10, 0x2C);
        // The nibbles of a half, here 2^-7 to 2^-3, lie on top of four 16-bit numbers, the lowest first.
        for (int i = 0, half = type == DType.IQ1_M ? random.Next(0x2000, 0x3000) : 0; half > 0 && i < 4; i++)
            block[49 + 2 * i] = (byte)(block[49 + 2 * i] & 15 | (half >> 4 * i & 15) << 4);
        for (int i = 0; i < count; i++)
            BinaryPrimitives.WriteHalfLittleEndian(block[(at + 2 * i)..], (Half)(((float)random.NextDouble() - 0.5f) * size));
    }

    /// <summary>The paths of a case: table index t % Length for row runs of three rows.</summary>
    public static SiteTable[] Paths(IComputeBackend backend, LinearCase c) => c.Paths switch
    {
        PathKind.Base => [SiteTable.Base],
        PathKind.OneStep => [new([new SiteAdapter([Step(backend, c, 10, 8, DType.F32, false, false)])])],
        _ =>
        [
            SiteTable.Base,
            new([new SiteAdapter([Step(backend, c, 20, 5, DType.BF16, false, false)])]),
            new([new SiteAdapter([Step(backend, c, 30, 1, DType.F16, true, true), Step(backend, c, 31, 16, DType.F32, false, true), Step(backend, c, 32, 4, DType.BF16, true, false)])]),
            new([new SiteAdapter([], Replaced(backend, c), backend.Upload(Weight(41, DType.F32, c.Outputs)))]),
            new([new SiteAdapter([Step(backend, c, 50, 3, DType.F32, false, true)], Rows: Rows(backend, c))]),
        ],
    };

    /// <summary>Fills <paramref name="batch"/> with rows [first, first + count) of the case's batch.</summary>
    public static void Fill(BatchLayout batch, SiteTable[] paths, int first, int count)
    {
        batch.Clear();
        for (int t = first; t < first + count; t++)
            batch.AddRow(paths[t / 3 % paths.Length]);
    }

    /// <summary>The site of a case.</summary>
    public static LinearSite Site(IComputeBackend backend, LinearCase c) => new("case", 0,
        backend.Upload(c.InputMajor ? Weight(1, c.Type, c.Inputs, c.Outputs) : Weight(1, c.Type, c.Outputs, c.Inputs)),
        c.Bias ? backend.Upload(Weight(2, DType.BF16, c.Outputs)) : null, c.InputMajor);

    /// <summary>A buffer with random rows.</summary>
    public static DeviceTensor Buffer(IComputeBackend backend, int seed, int rows, int columns, float scale = 1)
    {
        DeviceTensor buffer = backend.Allocate($"buffer{seed}", DType.F32, new Shape(rows, columns));
        backend.Write(Random(seed, (long)rows * columns, scale), buffer, 0);
        return buffer;
    }

    /// <summary>A buffer [1, <paramref name="columns"/>] of one number.</summary>
    public static DeviceTensor Filled(IComputeBackend backend, float value, int columns)
    {
        DeviceTensor buffer = backend.Allocate("filled", DType.F32, new Shape(1, columns));
        backend.Write([.. Enumerable.Repeat(value, columns)], buffer, 0);
        return buffer;
    }

    /// <summary>A batch of rows on one path.</summary>
    public static BatchLayout Rows(int count, SiteTable path)
    {
        BatchLayout batch = new();
        for (int t = 0; t < count; t++)
            batch.AddRow(path);
        return batch;
    }

    /// <summary>All of a buffer.</summary>
    public static float[] Read(IComputeBackend backend, DeviceTensor buffer)
    {
        float[] values = new float[buffer.Shape.Elements];
        backend.Read(buffer, 0, values);
        return values;
    }

    private static LowRankStep Step(IComputeBackend backend, LinearCase c, int seed, int rank, DType type, bool bias, bool gain) => new(
        backend.Upload(Weight(seed, type, rank, c.Inputs)), backend.Upload(Weight(seed + 100, type, c.Outputs, rank)), rank, 0.75f,
        bias ? backend.Upload(Weight(seed + 200, type, c.Outputs)) : null, gain ? backend.Upload(Weight(seed + 300, DType.F32, c.Outputs)) : null);

    private static DeviceTensor Replaced(IComputeBackend backend, LinearCase c) =>
        backend.Upload(c.InputMajor ? Weight(40, DType.BF16, c.Inputs, c.Outputs) : Weight(40, DType.BF16, c.Outputs, c.Inputs));

    private static ReplacedRows Rows(IComputeBackend backend, LinearCase c)
    {
        int[] ids = c.Outputs > 2 ? [0, c.Outputs / 2, c.Outputs - 1] : [0];
        return new(ids, backend.Upload(Weight(60, DType.F32, ids.Length, c.Inputs)));
    }
}
