using EdgeLora.Core;
using EdgeLora.Models;
using Microsoft.ML.OnnxRuntime;

namespace EdgeLora.Onnx;

/// <summary>A recorded graph, open in ONNX Runtime, with the buffers of its steps.</summary>
internal sealed class GraphSession : IDisposable
{
    private readonly StepBuffer<long> _tokens, _positions, _logitRows;
    private readonly AngleBuffers? _angles, _windowAngles;
    private readonly StepBuffer<int>[] _lengths, _totals;
    private readonly ModelConfig _config;

    /// <summary>Opens a graph; <paramref name="options"/> stays the caller's.</summary>
    public GraphSession(GraphPlan plan, RecordedGraph graph, ModelConfig config, SessionOptions options, PrePackedWeightsContainer packed, OnnxType activations)
    {
        (Plan, Graph, _config) = (plan with { Example = SiteTable.Base }, graph, config);
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
        if (config.Rope is { } rope)
            _angles = new(rope, StepNames.Cos, StepNames.Sin, activations);
        if (config.WindowRope is { } windowRope)
            _windowAngles = new(windowRope, StepNames.WindowCos, StepNames.WindowSin, activations);
        foreach (StepBuffer buffer in (StepBuffer[])[.. _angles?.Inputs ?? [], .. _windowAngles?.Inputs ?? []])
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
    /// <param name="tokens">[T].</param>
    /// <param name="positions">[T].</param>
    /// <param name="lengths">Tokens known so far of each row's sequence, [T]; or of all rows' one, [1].</param>
    public void WriteRows(ReadOnlySpan<int> tokens, ReadOnlySpan<int> positions, ReadOnlySpan<int> lengths)
    {
        int rows = tokens.Length;
        _tokens.Resize(rows);
        _positions.Resize(rows);
        for (int t = 0; t < rows; t++)
        {
            _tokens.Span[t] = tokens[t];
            _positions.Span[t] = positions[t];
        }
        _angles?.Write(positions, lengths);
        _windowAngles?.Write(positions, lengths);
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
