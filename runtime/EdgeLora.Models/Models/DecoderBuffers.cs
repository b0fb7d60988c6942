using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Activations of one forward step, F32 [rows, width], reused from step to step.</summary>
internal sealed class DecoderBuffers : IDisposable
{
    private readonly IComputeBackend _backend;
    private readonly List<DeviceTensor> _all = [];
    private readonly Angles? _angles, _windowAngles;
    private readonly int _feedForward, _embedding;
    private readonly Dictionary<int, DeviceTensor> _inner = [];
    private readonly Dictionary<int, BatchLayout> _rows = [];
    private readonly Dictionary<int, ExpertBuffers> _experts = [];
    private readonly ModelConfig _config;
    private DeviceTensor? _bottleneckInput, _bottleneckOutput, _gateUp, _embedded;

    public DecoderBuffers(IComputeBackend backend, ModelConfig config, int rows)
    {
        (_backend, _config) = (backend, config);
        Capacity = rows;
        int d = config.HiddenSize, q = config.Heads * config.HeadSize, kv = config.KvHeads * config.HeadSize;
        (_feedForward, _embedding) = (config.FeedForward, config.EmbeddingSize);
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
        if (config.Rope is { } rope)
            _angles = new(rope, New("cos", rows, rope.Pairs), New("sin", rows, rope.Pairs));
        if (config.WindowRope is { } windowRope)
            _windowAngles = new(windowRope, New("window cos", rows, windowRope.Pairs), New("window sin", rows, windowRope.Pairs));
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
    public DeviceTensor Cos => _angles!.Cos;
    public DeviceTensor Sin => _angles!.Sin;
    public DeviceTensor WindowCos => _windowAngles!.Cos;
    public DeviceTensor WindowSin => _windowAngles!.Sin;

    /// <summary>Gate and up side by side, [capacity, 2·F].</summary>
    public DeviceTensor GateUp => _gateUp ??= New("gate up", Capacity, 2 * _feedForward);

    /// <summary>What leaves the token table or enters the head, [capacity, E].</summary>
    public DeviceTensor Embedded => _embedded ??= New("embedded", Capacity, _embedding);

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

    /// <summary>What a mixture of so many experts needs.</summary>
    public ExpertBuffers Experts(int count)
    {
        if (!_experts.TryGetValue(count, out ExpertBuffers? buffers))
            _experts[count] = buffers = new(_config, count, Capacity, (name, width) => New(name, Capacity, width));
        return buffers;
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
    public void WriteAngles(BatchLayout batch)
    {
        _angles?.Write(_backend, batch);
        _windowAngles?.Write(_backend, batch);
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

    private sealed class Angles(RopeFrequencies rope, DeviceTensor cos, DeviceTensor sin)
    {
        private readonly float[] _cos = new float[cos.Shape.Elements], _sin = new float[sin.Shape.Elements];

        public DeviceTensor Cos => cos;

        public DeviceTensor Sin => sin;

        public void Write(IComputeBackend backend, BatchLayout batch)
        {
            foreach (SequenceSpan sequence in batch.Sequences)
            {
                rope.Take(sequence);
                int at = sequence.Start * rope.Pairs;
                rope.WriteAngles(batch.Positions.Slice(sequence.Start, sequence.Count), sequence.Length, _cos.AsSpan(at), _sin.AsSpan(at));
            }
            backend.Write(_cos.AsSpan(0, batch.Rows * rope.Pairs), cos, 0);
            backend.Write(_sin.AsSpan(0, batch.Rows * rope.Pairs), sin, 0);
        }
    }
}

/// <summary>Rows of a batch with other ids on the same paths: positions for a table of learned positions, token types.</summary>
internal sealed class PositionRows
{
    public BatchLayout Rows { get; } = new();

    /// <summary>Takes each row's position, counted from <paramref name="first"/>.</summary>
    public void FillPositions(BatchLayout batch, int first = 0) => Fill(batch, batch.Positions, first);

    /// <summary>Takes an id for each row, plus <paramref name="first"/>.</summary>
    public void Fill(BatchLayout batch, ReadOnlySpan<int> ids, int first = 0)
    {
        Rows.Clear();
        Rows.BeginSequence(null!, 0);
        foreach (RowGroup group in batch.Groups)
            for (int t = group.Start; t < group.Start + group.Count; t++)
                Rows.Add(ids[t] + first, group.Path);
    }
}
