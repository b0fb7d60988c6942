using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Activations of one forward step, F32 [rows, width], reused from step to step.</summary>
internal sealed class DecoderBuffers : IDisposable
{
    private readonly IComputeBackend _backend;
    private readonly List<DeviceTensor> _all = [];
    private readonly float[] _cos;
    private readonly float[] _sin;
    private readonly Dictionary<int, DeviceTensor> _inner = [];
    private readonly Dictionary<int, BatchLayout> _rows = [];
    private DeviceTensor? _bottleneckInput, _bottleneckOutput;

    public DecoderBuffers(IComputeBackend backend, ModelConfig config, int rows)
    {
        _backend = backend;
        Capacity = rows;
        int d = config.HiddenSize, q = config.Heads * config.HeadSize, kv = config.KvHeads * config.HeadSize, pairs = config.Rope?.Frequencies.Length ?? 0;
        Hidden = New("hidden", rows, d);
        Normed = New("normed", rows, d);
        Delta = New("delta", rows, d);
        Qkv = New("qkv", rows, q + 2 * kv);
        Q = New("q", rows, q);
        K = New("k", rows, kv);
        V = New("v", rows, kv);
        Mixed = New("mixed", rows, q);
        Gate = New("gate", rows, config.FeedForward);
        Up = New("up", rows, config.FeedForward);
        Cos = New("cos", rows, pairs);
        Sin = New("sin", rows, pairs);
        _cos = new float[rows * pairs];
        _sin = new float[rows * pairs];
    }

    public int Capacity { get; }
    public DeviceTensor Hidden { get; }
    public DeviceTensor Normed { get; }
    public DeviceTensor Delta { get; }
    public DeviceTensor Qkv { get; }
    public DeviceTensor Q { get; }
    public DeviceTensor K { get; }
    public DeviceTensor V { get; }
    public DeviceTensor Mixed { get; }
    public DeviceTensor Gate { get; }
    public DeviceTensor Up { get; }
    public DeviceTensor Cos { get; }
    public DeviceTensor Sin { get; }

    public PositionRows Positions { get; } = new();

    /// <summary>Rows of one path, [capacity, D].</summary>
    public DeviceTensor BottleneckInput => _bottleneckInput ??= New("bottleneck input", Capacity, Hidden.Columns);

    /// <summary>What a bottleneck adds, [capacity, D].</summary>
    public DeviceTensor BottleneckOutput => _bottleneckOutput ??= New("bottleneck output", Capacity, Hidden.Columns);

    /// <summary>Inside of a bottleneck of this size, [capacity, size].</summary>
    public DeviceTensor Inner(int size)
    {
        if (!_inner.TryGetValue(size, out DeviceTensor? buffer))
            _inner[size] = buffer = New("bottleneck", Capacity, size);
        return buffer;
    }

    /// <summary>A layout of rows on no path; one for each count, because a recorded op looks at it again.</summary>
    public BatchLayout Rows(int count)
    {
        if (!_rows.TryGetValue(count, out BatchLayout? layout))
        {
            _rows[count] = layout = new();
            for (int i = 0; i < count; i++)
                layout.AddRow(SiteTable.Base);
        }
        return layout;
    }

    /// <summary>Angles of every row, computed in F64 once a step for all layers.</summary>
    public void WriteAngles(ReadOnlySpan<int> positions, RopeFrequencies rope)
    {
        int pairs = rope.Frequencies.Length;
        rope.WriteAngles(positions, _cos, _sin);
        _backend.Write(_cos.AsSpan(0, positions.Length * pairs), Cos, 0);
        _backend.Write(_sin.AsSpan(0, positions.Length * pairs), Sin, 0);
    }

    public void Dispose()
    {
        foreach (DeviceTensor tensor in _all)
            tensor.Dispose();
    }

    private DeviceTensor New(string name, int rows, int width)
    {
        DeviceTensor tensor = _backend.Allocate(name, DType.F32, new Shape(rows, width));
        _all.Add(tensor);
        return tensor;
    }
}

/// <summary>Rows of a batch with other ids on the same paths: positions for a table of learned positions, token types.</summary>
internal sealed class PositionRows
{
    public BatchLayout Rows { get; } = new();

    public void FillPositions(BatchLayout batch) => Fill(batch, batch.Positions);

    /// <summary>Takes an id for each row.</summary>
    public void Fill(BatchLayout batch, ReadOnlySpan<int> ids)
    {
        Rows.Clear();
        Rows.BeginSequence(null!, 0);
        foreach (RowGroup group in batch.Groups)
            for (int t = group.Start; t < group.Start + group.Count; t++)
                Rows.Add(ids[t], group.Path);
    }
}
