using EdgeLora.Core;
using EdgeLora.Models;
using Microsoft.ML.OnnxRuntime;

namespace EdgeLora.Onnx;

/// <summary>A recorded graph, open in ONNX Runtime, with the buffers of its steps.</summary>
internal sealed class GraphSession : IDisposable
{
    private readonly StepBuffer<long> _tokens, _positions, _logitRows;
    private readonly StepBuffer<float> _cos, _sin;
    private readonly StepBuffer<Half> _halfCos, _halfSin;
    private readonly StepBuffer<int>[] _lengths, _totals;
    private readonly ModelConfig _config;
    private readonly bool _half;
    private float[] _angles = [];

    /// <summary>Opens a graph; <paramref name="options"/> stays the caller's.</summary>
    public GraphSession(GraphPlan plan, RecordedGraph graph, ModelConfig config, SessionOptions options, PrePackedWeightsContainer packed, OnnxType activations)
    {
        (Plan, Graph, _config, _half) = (plan with { Example = SiteTable.Base }, graph, config, activations == OnnxType.Float16);
        Session = new InferenceSession(graph.Model, options, packed);
        List<StepBuffer> inputs = [];
        T Add<T>(T buffer) where T : StepBuffer
        {
            if (graph.Inputs.Contains(buffer.Name))
                inputs.Add(buffer);
            return buffer;
        }
        _tokens = Add(new StepBuffer<long>(StepNames.Tokens, OnnxType.Int64));
        _positions = Add(new StepBuffer<long>(StepNames.Positions, OnnxType.Int64));
        _logitRows = Add(new StepBuffer<long>(StepNames.LogitRows, OnnxType.Int64));
        _cos = new(StepNames.Cos, activations);
        _sin = new(StepNames.Sin, activations);
        _halfCos = new(StepNames.Cos, activations);
        _halfSin = new(StepNames.Sin, activations);
        foreach (StepBuffer buffer in (StepBuffer[])(_half ? [_halfCos, _halfSin] : [_cos, _sin]))
            Add(buffer);
        int sequences = Math.Max(1, plan.Sequences);
        _lengths = [.. Enumerable.Range(0, sequences).Select(s => Add(new StepBuffer<int>(StepNames.Length(plan, s), OnnxType.Int32)))];
        _totals = [.. Enumerable.Range(0, sequences).Select(s => Add(new StepBuffer<int>(StepNames.Total(plan, s), OnnxType.Int32)))];
        Inputs = [.. inputs];
        foreach (StepBuffer<int> buffer in _lengths)
            buffer.Resize(1);
        foreach (StepBuffer<int> buffer in _totals)
            buffer.Resize();
        Logits = new(StepNames.Logits, OnnxType.Float);
    }

    /// <summary>What it was recorded for.</summary>
    public GraphPlan Plan { get; }

    /// <summary>The graph.</summary>
    public RecordedGraph Graph { get; }

    /// <summary>ONNX Runtime's session.</summary>
    public InferenceSession Session { get; }

    /// <summary>What a step gives it, but for keys and values.</summary>
    public StepBuffer[] Inputs { get; }

    /// <summary>[L, V]: what a step takes from it.</summary>
    public StepBuffer<float> Logits { get; }

    /// <summary>Its bindings.</summary>
    public List<PathBinding> Bindings { get; } = [];

    /// <summary>Order of use, for who decides which graph goes.</summary>
    public long LastUse { get; set; }

    /// <summary>Writes a step's rows: tokens and positions [T].</summary>
    public void WriteRows(ReadOnlySpan<int> tokens, ReadOnlySpan<int> positions)
    {
        int rows = tokens.Length;
        _tokens.Resize(rows);
        _positions.Resize(rows);
        for (int t = 0; t < rows; t++)
        {
            _tokens.Span[t] = tokens[t];
            _positions.Span[t] = positions[t];
        }
        if (_config.Rope is not { } rope)
            return;
        int pairs = rope.Frequencies.Length;
        if (!_half)
        {
            _cos.Resize(rows, pairs);
            _sin.Resize(rows, pairs);
            rope.WriteAngles(positions, _cos.Span, _sin.Span);
            return;
        }
        if (_angles.Length < 2 * rows * pairs)
            _angles = new float[2 * rows * pairs];
        Span<float> cos = _angles.AsSpan(0, rows * pairs), sin = _angles.AsSpan(rows * pairs, rows * pairs);
        rope.WriteAngles(positions, cos, sin);
        _halfCos.Resize(rows, pairs);
        _halfSin.Resize(rows, pairs);
        System.Numerics.Tensors.TensorPrimitives.ConvertToHalf(cos, _halfCos.Span);
        System.Numerics.Tensors.TensorPrimitives.ConvertToHalf(sin, _halfSin.Span);
    }

    /// <summary>Writes how long a sequence is with this step's rows, and the length that its cache is said to have.</summary>
    public void WriteLength(int sequence, int tokens, int total)
    {
        _lengths[sequence].Span[0] = tokens - 1;
        _totals[sequence].Span[0] = total;
    }

    /// <summary>Writes which rows' logits are wanted; ONNX Runtime is not asked for a head without rows.</summary>
    public void WriteLogitRows(ReadOnlySpan<int> rows, int first)
    {
        _logitRows.Resize(Math.Max(1, rows.Length));
        _logitRows.Span[0] = 0;
        for (int i = 0; i < rows.Length; i++)
            _logitRows.Span[i] = rows[i] - first;
        Logits.Resize(Math.Max(1, rows.Length), _config.Vocabulary);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PathBinding binding in Bindings)
            binding.Dispose();
        Session.Dispose();
        foreach (StepBuffer buffer in (StepBuffer[])[.. Inputs, Logits])
            buffer.Dispose();
    }
}
