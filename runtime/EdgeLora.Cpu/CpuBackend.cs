using System.Diagnostics;
using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>
/// Managed SIMD on all cores: the embedded default. Weights of linear layers are packed when a layer first uses them, in as many bytes; all others stay in their stored form, mapped. A row's bits do not depend on the rows beside it,
/// on how a prompt is cut, or on the thread count. Ops may be called from any thread, one at a time; after the first calls nothing is allocated.
/// </summary>
public sealed unsafe partial class CpuBackend : ITrainingBackend
{
    // Below this many simple element operations the threads cost more than they save.
    private const long SmallElements = 16384;
    private const long SmallProducts = 65536;

    private readonly Lock _gate = new();
    private readonly WorkerPool _pool;
    private readonly KernelTable _kernels;
    private readonly Scratch[] _scratch;
    private readonly OpArguments _op;
    private readonly LinearPlan _plan;
    private readonly BackwardPlan _backward;

    /// <summary>A backend on <paramref name="threads"/> threads, the caller's included; 0 = one for each core. Throws <see cref="ArgumentOutOfRangeException"/> for a negative number.</summary>
    public CpuBackend(int threads = 0) : this(new CpuOptions { Threads = threads })
    {
    }

    /// <summary>A backend with these options. Throws <see cref="ArgumentOutOfRangeException"/> for a negative number of threads.</summary>
    public CpuBackend(CpuOptions options) : this(options.Threads, SimdTiers.Hardware, options.Int8Activations)
    {
    }

    internal CpuBackend(int threads, SimdTier tier, bool int8Activations = false)
    {
        Int8Activations = int8Activations;
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        if (tier > SimdTiers.Hardware)
            throw new NotSupportedException($"{tier} is not available here; the widest tier is {SimdTiers.Hardware}");
        _pool = new WorkerPool(threads == 0 ? Environment.ProcessorCount : threads);
        _kernels = KernelTable.For(tier);
        _scratch = new Scratch[_pool.Threads];
        for (int i = 0; i < _scratch.Length; i++)
            _scratch[i] = new Scratch();
        _op = new OpArguments { Scratch = _scratch };
        _plan = new LinearPlan(_scratch);
        _backward = new BackwardPlan(_scratch);
    }

    /// <inheritdoc/>
    public string Name => "cpu";

    /// <inheritdoc/>
    public string Description => $"cpu, {Tier switch
    {
        SimdTier.Scalar => "scalar",
        SimdTier.Vector128 => "128-bit vectors",
        SimdTier.Vector256 => "256-bit vectors",
        _ => "512-bit vectors",
    }}, {Threads} {(Threads == 1 ? "thread" : "threads")}{(Int8Activations ? ", 8-bit activations" : "")}";

    /// <summary>Threads in use, the caller's included.</summary>
    public int Threads => _pool.Threads;

    /// <summary>See <see cref="CpuOptions.Int8Activations"/>.</summary>
    public bool Int8Activations { get; }

    /// <inheritdoc/>
    public string? NoTraining => Int8Activations ? "it was opened with 8-bit activations, and derivatives are those of exact ones" : null;

    /// <summary>Tier in use.</summary>
    internal SimdTier Tier => _kernels.Tier;

    /// <inheritdoc/>
    public DeviceTensor Upload(Tensor tensor) => tensor.Type.IsWeight()
        ? new CpuTensor(tensor)
        : throw new NotSupportedException($"{tensor.Name}: {tensor.Type} cannot be a weight; expected {DTypes.Weights}");

    /// <inheritdoc/>
    public DeviceTensor Allocate(string name, DType type, Shape shape) => new HostTensor(name, type, shape);

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row) =>
        values.CopyTo(((HostTensor)destination).Floats[(row * destination.Columns)..]);

    /// <inheritdoc/>
    public void Read(DeviceTensor source, int row, Span<float> destination) =>
        ((HostTensor)source).ReadFloats.Slice(row * source.Columns, destination.Length).CopyTo(destination);

    /// <inheritdoc/>
    public void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows) =>
        ((HostTensor)source).ReadFloats.Slice(sourceRow * source.Columns, rows * source.Columns)
            .CopyTo(((HostTensor)destination).Floats[(destinationRow * destination.Columns)..]);

    /// <inheritdoc/>
    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns, int pieces = 1)
    {
        ReadOnlySpan<float> from = ((HostTensor)source).ReadFloats;
        Span<float> to = ((HostTensor)destination).Floats;
        int fromPiece = source.Columns / pieces, toPiece = destination.Columns / pieces;
        for (int p = 0; p < rows * pieces; p++)
            from.Slice(p * fromPiece + sourceColumn, columns).CopyTo(to[(p * toPiece + destinationColumn)..]);
    }

    /// <inheritdoc/>
    public void Embed(BatchLayout batch, EmbeddingSite site, DeviceTensor y)
    {
        Debug.Assert(y.Columns == site.Table.Columns, $"{site.Name}: {y} cannot hold rows of {site.Table}");
        lock (_gate)
        {
            ReserveScratch(_kernels.EmbedScratch(batch, site));
            _op.Batch = batch;
            _op.Embedding = site;
            _op.Rows = batch.Rows;
            _op.Columns = y.Columns;
            _op.Y = Pointer.Out(y);
            Run(_kernels.Embed, (long)batch.Rows * y.Columns);
        }
        GC.KeepAlive(y);
    }

    /// <inheritdoc/>
    public void Linear(BatchLayout batch, LinearSite site, DeviceTensor x, DeviceTensor y) => Linears(batch, [site], x, [y]);

    /// <inheritdoc/>
    public void Linears(BatchLayout batch, ReadOnlySpan<LinearSite> sites, DeviceTensor x, ReadOnlySpan<DeviceTensor> y)
    {
        if (batch.Rows == 0)
            return;
        lock (_gate)
        {
            try
            {
                for (int i = 0; i < sites.Length; i++)
                {
                    LinearSite site = sites[i];
                    Debug.Assert(!ReferenceEquals(x, y[i]), $"{site.Name}: the output is the input");
                    Debug.Assert(site.Inputs == sites[0].Inputs && x.Columns >= site.Inputs && y[i].Columns >= site.Outputs, $"{site.Name}: {x} -> {y[i]} does not fit {site.Weight}");
                    Pack(batch, site);
                    _kernels.LinearAdd(_plan, batch, site, Pointer.In(x), x.Columns, Pointer.Out(y[i]), y[i].Columns);
                }
                RunLinear(_kernels.LinearComplete(_plan));
            }
            finally
            {
                _plan.Clear();
            }
        }
        KeepAlive(batch, x, x, x);
        for (int i = 0; i < sites.Length; i++)
            KeepAlive(sites[i], y[i], x, x);
    }

    /// <inheritdoc/>
    public void RmsNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(_kernels.RmsNorm, batch, site, x, y);

    /// <inheritdoc/>
    public void LayerNorm(BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y) => Norm(_kernels.LayerNorm, batch, site, x, y);

    /// <inheritdoc/>
    public void Rope(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x) => Rotate(rows, headSize, pairs, cos, sin, x, 1);

    /// <inheritdoc/>
    public void StoreKeyValues(BatchLayout batch, int layer, DeviceTensor keys, DeviceTensor values)
    {
        foreach (SequenceSpan sequence in batch.Sequences)
        {
            Copy(keys, sequence.Start, sequence.Cache.Keys[layer], sequence.Past, sequence.Count);
            Copy(values, sequence.Start, sequence.Cache.Values[layer], sequence.Past, sequence.Count);
        }
    }

    /// <inheritdoc/>
    public void Attention(BatchLayout batch, int layer, in AttentionShape shape, DeviceTensor q, DeviceTensor y)
    {
        Debug.Assert(!ReferenceEquals(q, y) && q.Columns == y.Columns, $"attention: {q} -> {y}");
        lock (_gate)
        {
            int positions = 0;
            long work = 0;
            foreach (SequenceSpan sequence in batch.Sequences)
            {
                positions = Math.Max(positions, sequence.Past + sequence.Count);
                work += (long)sequence.Count * (sequence.Past + sequence.Count) * q.Columns;
            }
            KernelTable kernels = _kernels.ForHeads(shape.HeadSize);
            ReserveScratch(kernels.AttentionScratch(positions, shape.HeadSize));
            (_op.Batch, _op.Layer, _op.Shape, _op.Columns) = (batch, layer, shape, q.Columns);
            _op.X = Pointer.In(q);
            _op.Y = Pointer.Out(y);
            Run(kernels.Attention, work);
        }
        KeepAlive(batch, q, y, y);
    }

    /// <inheritdoc/>
    public void GatedActivation(int rows, Activation kind, DeviceTensor gate, DeviceTensor up, DeviceTensor y) => Elementwise(_kernels.Gated(kind), rows, gate, up, y, 8);

    /// <inheritdoc/>
    public void Scale(int rows, float factor, DeviceTensor x, DeviceTensor y)
    {
        lock (_gate)
        {
            _op.X = Pointer.In(x);
            _op.Y = Pointer.Out(y);
            (_op.Rows, _op.Columns, _op.Factor) = (rows, y.Columns, factor);
            Run(_kernels.Scale, (long)rows * y.Columns);
        }
        KeepAlive(x, y, x, y);
    }

    /// <inheritdoc/>
    public void Activate(int rows, Activation kind, DeviceTensor x, DeviceTensor y)
    {
        lock (_gate)
        {
            _op.X = Pointer.In(x);
            _op.Y = Pointer.Out(y);
            _op.Rows = rows;
            _op.Columns = y.Columns;
            Run(_kernels.Activate(kind), 8L * rows * y.Columns);
        }
        KeepAlive(x, y, x, y);
    }

    /// <inheritdoc/>
    public void Add(int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z) => Elementwise(_kernels.Add, rows, x, y, z, 1);

    /// <inheritdoc/>
    public void DoraGain(DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain) => HostDora.Gain(site, magnitude, norms, gain);

    /// <inheritdoc/>
    public void TopK(int rows, int k, DeviceTensor x, DeviceTensor y)
    {
        Debug.Assert(k > 0 && k <= x.Columns && 2 * k <= y.Columns, $"the best {k} of {x} do not fit {y}");
        lock (_gate)
        {
            _op.X = Pointer.In(x);
            _op.Y = Pointer.Out(y);
            (_op.Rows, _op.Columns, _op.Width, _op.Count) = (rows, x.Columns, y.Columns, k);
            Run(&Cpu.TopK.Run, (long)rows * x.Columns);
        }
        KeepAlive(x, y, x, y);
    }

    /// <summary>Ends the threads and frees the scratch. Tensors stay readable.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _pool.Dispose();
            _plan.Dispose();
            _backward.Dispose();
            _statistics.Dispose();
            foreach (Scratch scratch in _scratch)
                scratch.Dispose();
        }
    }

    // Brings the weights and the steps' B that the batch's paths use at a site into the order in which products read them, once.
    private void Pack(BatchLayout batch, LinearSite site)
    {
        if (!site.InputMajor)
            Pack(site.Weight);
        foreach (RowGroup group in batch.Groups)
        {
            if (group.Path[site.Index] is not { } adapter)
                continue;
            if (adapter.Weight is { } own && !site.InputMajor)
                Pack(own);
            foreach (LowRankStep step in adapter.Steps)
                PackColumns(step.B);
        }
    }

    private void PackColumns(DeviceTensor b)
    {
        if (b is not CpuTensor { Columnwise: null } tensor || tensor.ColumnsToFill() is not { } columns)
            return;
        RunRegion(&Fill, (tensor, columns), b.ByteLength);
        tensor.Fill(columns);

        static void Fill(object context, int part, int parts)
        {
            (CpuTensor tensor, PackedColumns columns) = ((CpuTensor, PackedColumns))context;
            (int first, int last) = WorkerPool.Split(columns.Panels, part, parts);
            columns.Fill(Pointer.Bytes(tensor), first, last);
        }
    }

    private void Pack(DeviceTensor weight)
    {
        if (weight is not CpuTensor { Packed: null } tensor || tensor.ToFill(Int8Activations) is not { } packed)
            return;
        RunRegion(&Fill, (tensor, packed), weight.ByteLength);
        tensor.Fill(packed);

        static void Fill(object context, int part, int parts)
        {
            (CpuTensor tensor, PackedWeight packed) = ((CpuTensor, PackedWeight))context;
            (int first, int last) = WorkerPool.Split(packed.Panels, part, parts);
            packed.Fill(Pointer.Bytes(tensor), first, last);
        }
    }

    // Runs what _plan holds.
    private void RunLinear(long work)
    {
        if (_plan.MaskCount > 0)
            RunRegion(_kernels.LinearMasks, _plan, work);
        if (_plan.RoundedTo16 || _plan.RoundedTo8)
            RunRegion(&RoundedRows.Run, _plan, 8L * _plan.RowCount * _plan.Inputs);
        if (_plan.ProductCount > _plan.BaseCount)
            RunRegion(_kernels.LinearDowns, _plan, work);
        RunRegion(_kernels.LinearProducts, _plan, work);
    }

    private void RunRegion(delegate*<object, int, int, void> body, object context, long work, long small = SmallProducts)
    {
        if (work < small)
            body(context, 0, 1);
        else
            _pool.Run(body, context);
    }

    private void Rotate(int rows, int headSize, RopePairs pairs, DeviceTensor cos, DeviceTensor sin, DeviceTensor x, float sign)
    {
        Debug.Assert(x.Columns % headSize == 0 && 2 * cos.Columns <= headSize && sin.Columns == cos.Columns, $"rope: {cos}, {sin} do not fit heads of {headSize} in {x}");
        lock (_gate)
        {
            _op.X = Pointer.In(cos);
            _op.Z = Pointer.In(sin);
            _op.Y = Pointer.Out(x);
            (_op.Rows, _op.Columns, _op.Width, _op.Pairs, _op.PairLayout, _op.Sign) = (rows, x.Columns, headSize, cos.Columns, pairs, sign);
            Run(_kernels.Rope, (long)rows * x.Columns);
        }
        KeepAlive(cos, sin, x, x);
    }

    private void Norm(delegate*<object, int, int, void> kernel, BatchLayout batch, NormSite site, DeviceTensor x, DeviceTensor y)
    {
        Debug.Assert(x.Columns == y.Columns && x.Columns % site.Width == 0, $"{site.Name}: {x} -> {y} is no row of {site.Width}");
        lock (_gate)
        {
            ReserveScratch(2L * site.Gains);
            (_op.Batch, _op.Norm, _op.Rows, _op.Columns, _op.Width) = (batch, site, batch.Rows, x.Columns, site.Width);
            _op.X = Pointer.In(x);
            _op.Y = Pointer.Out(y);
            Run(kernel, 2L * batch.Rows * x.Columns);
        }
        KeepAlive(x, y, x, y);
    }

    private void Elementwise(delegate*<object, int, int, void> kernel, int rows, DeviceTensor x, DeviceTensor y, DeviceTensor z, int cost)
    {
        lock (_gate)
        {
            _op.X = Pointer.In(x);
            _op.Y = Pointer.In(y);
            _op.Z = Pointer.Out(z);
            _op.Rows = rows;
            _op.Columns = z.Columns;
            Run(kernel, (long)cost * rows * z.Columns);
        }
        KeepAlive(x, y, z, z);
    }

    private void Run(delegate*<object, int, int, void> kernel, long work)
    {
        try
        {
            RunRegion(kernel, _op, work, SmallElements);
        }
        finally
        {
            _op.Forget();
        }
    }

    private void ReserveScratch(long floats)
    {
        foreach (Scratch scratch in _scratch)
            scratch.Reserve(floats);
    }

    private static void KeepAlive(object a, object b, object c, object d)
    {
        GC.KeepAlive(a);
        GC.KeepAlive(b);
        GC.KeepAlive(c);
        GC.KeepAlive(d);
    }
}
