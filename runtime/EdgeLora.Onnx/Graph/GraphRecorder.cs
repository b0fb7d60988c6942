using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Onnx;

/// <summary>
/// A backend that computes nothing and writes down: a forward pass run over it once becomes an ONNX graph of that pass, whatever the architecture. Buffers hold names of values; weights become
/// initializers, what a path gives becomes inputs.
/// </summary>
internal sealed partial class GraphRecorder : IComputeBackend
{
    private OnnxGraph _graph = new("decoder");
    private GraphPlan _plan;
    private readonly GraphWeights _weights;
    private readonly ModelConfig _config;
    private readonly BatchLayout _batch = new();
    private readonly List<AdapterInput> _adapterInputs = [];
    private readonly List<string> _declared = [], _outputs = [];
    private readonly HashSet<string> _inputs = new(StringComparer.Ordinal), _weightNames = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _constants = new(StringComparer.Ordinal);
    private readonly Dictionary<DeviceTensor, string> _bottlenecks = [];
    private readonly OnnxType _type;

    private GraphRecorder(GraphPlan plan, GraphWeights weights, ModelConfig config, SiteCatalog sites)
    {
        (_plan, _weights, _config, _type) = (plan, weights, config, weights.Activations);
        // What a path does is said by its shape; only a bottleneck is looked for in the path itself.
        for (int i = 0; i < Math.Max(1, plan.Sequences); i++)
        {
            _batch.BeginSequence(null!, 0);
            _batch.Add(0, plan.PathPerSequence ? new SiteTable([]) : plan.Example);
        }
        DeclareBottlenecks(sites);
    }

    /// <inheritdoc/>
    public string Name => "onnx graph";

    /// <inheritdoc/>
    public string Description => "records graphs";

    private int Rows => Math.Max(1, _plan.Sequences);

    /// <summary>Records the forward of a model. Throws <see cref="NotSupportedException"/> naming site and feature for what a graph cannot say.</summary>
    public static RecordedGraph Record(DecoderModel model, GraphPlan plan, GraphWeights weights)
    {
        GraphRecorder recorder = new(plan, weights, model.Config, model.Sites);
        using IForwardPass pass = model.CreatePass(recorder, recorder.Rows);
        pass.Embed(recorder._batch);
        recorder.ExposeHidden(0, pass.Hidden);
        for (int layer = 0; layer < pass.Layers; layer++)
        {
            pass.RunLayer(recorder._batch, layer);
            recorder.ExposeHidden(layer + 1, pass.Hidden);
        }
        if (plan is { Sequences: 0, Alone: false })
            recorder.KeepLogitRows((RecordedTensor)pass.Hidden);
        pass.Finish(recorder._batch);
        RecordedTensor logits = new(StepNames.Logits, new Shape(recorder.Rows, model.Config.Vocabulary));
        recorder.Linear(recorder._batch, pass.Head, pass.Output, logits);
        pass.FinishLogits(recorder.Rows, logits);
        if (plan.Alone)
            recorder.ExposeLogits(logits.Value);
        else
            recorder.Expose(StepNames.Logits, recorder.Widen(logits.Value), plan.Sequences > 0 ? plan.Sequences : "L", model.Config.Vocabulary);
        recorder._outputs.Remove(StepNames.Logits);
        RecordedGraph recorded = new(recorder._graph.ToModel(), recorder._declared, recorder._adapterInputs, recorder._inputs, recorder._outputs, recorder._graph.NodeCount);
        recorder.Forget();
        return recorded;
    }

    /// <inheritdoc/>
    public DeviceTensor Allocate(string name, DType type, Shape shape) => new RecordedTensor(name, shape);

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<float> values, DeviceTensor destination, int row)
    {
        // Only the angles come from outside: a step gives those of its positions.
        if (destination.Name is not (StepNames.Cos or StepNames.Sin or StepNames.WindowCos or StepNames.WindowSin))
            throw new NotSupportedException($"{destination.Name}: a graph takes no such numbers from outside");
        RecordedTensor tensor = (RecordedTensor)destination;
        string name = StepInput(tensor.Name, _type, RowDimension, tensor.Columns);
        tensor.Value = name;
    }

    /// <inheritdoc/>
    public void CopyColumns(int rows, DeviceTensor source, int sourceColumn, DeviceTensor destination, int destinationColumn, int columns, int pieces = 1)
    {
        if (destinationColumn != 0 || columns * pieces != destination.Columns)
            throw new NotSupportedException($"{destination.Name}: a graph writes whole rows only");
        string value = pieces == 1 ? Value(source) : Reshape(Value(source), -1, pieces, source.Columns / pieces);
        value = _graph.Node("Slice", [value, Ints([sourceColumn]), Ints([sourceColumn + columns]), Ints([pieces == 1 ? 1 : 2])], Fresh(destination.Name));
        Set(destination, pieces == 1 ? value : Reshape(value, -1, destination.Columns), OpNames.Columns(source, destination));
    }

    /// <inheritdoc/>
    public void Dispose() { }

    /// <inheritdoc/>
    public DeviceTensor Upload(Tensor tensor) => throw StorageOp(tensor.Name);

    /// <inheritdoc/>
    public void Read(DeviceTensor source, int row, Span<float> destination) => throw StorageOp(source.Name);

    // Whole rows move only for bottlenecks of a batch on several paths, which no graph is recorded for.
    /// <inheritdoc/>
    public void Copy(DeviceTensor source, int sourceRow, DeviceTensor destination, int destinationRow, int rows) => throw StorageOp(source.Name);

    /// <inheritdoc/>
    public void DoraGain(DoraSite site, DeviceTensor magnitude, DeviceTensor norms, DeviceTensor gain) => throw StorageOp(site.Name);

    /// <inheritdoc/>
    public void TopK(int rows, int k, DeviceTensor x, DeviceTensor y) => throw StorageOp(x.Name);

    // What makes inputs lives as long as the graph; neither its nodes nor the path that it was recorded with need to.
    private void Forget()
    {
        _graph = new("");
        _plan = _plan with { Example = SiteTable.Base };
        _batch.Clear();
        _bottlenecks.Clear();
    }

    private static NotSupportedException StorageOp(string name) => new($"{name}: has no numbers while a graph is recorded");

    private OnnxDimension RowDimension => _plan.Sequences > 0 ? _plan.Sequences : "T";

    private static string Value(DeviceTensor tensor) => ((RecordedTensor)tensor).Value;

    private string Fresh(string hint) => _graph.Fresh(hint);

    /// <summary>Gives a buffer its value; where every op is looked at, the value becomes an output that says which op made it.</summary>
    private void Set(DeviceTensor destination, string value, string op)
    {
        ((RecordedTensor)destination).Value = value;
        if (_plan.Trace)
            Expose(FormattableString.Invariant($"{_outputs.Count}:{op}"), Widen(value), FormattableString.Invariant($"rows of {_outputs.Count}"), destination.Columns);
    }

    private void ExposeHidden(int index, DeviceTensor hidden)
    {
        if (_plan.Hidden)
            Expose(FormattableString.Invariant($"hidden.{index}"), Widen(Value(hidden)), "T", hidden.Columns);
    }

    private void Expose(string name, string value, OnnxDimension rows, int columns)
    {
        _graph.Node("Identity", [value], name);
        _graph.Output(name, OnnxType.Float, rows, columns);
        _outputs.Add(name);
    }

    private string Widen(string value) => _type == OnnxType.Float ? value : Cast(value, OnnxType.Float);

    private string Cast(string value, OnnxType type) => _graph.Node("Cast", [value], Fresh("cast"), "", ("to", (long)type));

    // From here on a row is one whose logits are wanted: the head is the widest layer.
    private void KeepLogitRows(RecordedTensor hidden) =>
        hidden.Value = _graph.Node("Gather", [hidden.Value, StepInput(StepNames.LogitRows, OnnxType.Int64, "L")], Fresh("hidden"), "", ("axis", 0L));

    private string StepInput(string name, OnnxType type, params ReadOnlySpan<OnnxDimension> dimensions)
    {
        if (_plan.Alone)
            return UsualInput(name, type, dimensions);
        if (_inputs.Add(name))
            _graph.Input(name, type, dimensions);
        return name;
    }

    private string Weight(string name, GraphTensor tensor)
    {
        if (_weightNames.Add(name) && _weights.Declare(_graph, name, tensor))
            _declared.Add(name);
        return name;
    }

    private string Ints(ReadOnlySpan<long> values)
    {
        string name = "ints:" + string.Join(',', values.ToArray());
        if (!_constants.TryGetValue(name, out string? known))
            _constants[name] = known = _graph.Constant(name, OnnxType.Int64, [values.Length], values);
        return known;
    }

    private string Number(float value)
    {
        string name = FormattableString.Invariant($"number:{value:r}");
        if (!_constants.TryGetValue(name, out string? known))
            _constants[name] = known = _type == OnnxType.Float ? _graph.Constant(name, _type, [], [value]) : _graph.Constant(name, _type, [], [(Half)value]);
        return known;
    }

    private string Reshape(string value, params ReadOnlySpan<long> shape) => _graph.Node("Reshape", [value, Ints(shape)], Fresh("reshape"));
}
