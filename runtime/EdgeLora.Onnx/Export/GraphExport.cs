using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Onnx;

/// <summary>
/// A base and its adapters as files for other applications of ONNX Runtime: <c>model.onnx</c> with its weights in <c>model.onnx.data</c>, <c>genai_config.json</c> for onnxruntime-genai, and an
/// <c>.onnx_adapter</c> file a path. Inputs and outputs are those of Hugging Face's exporters and of onnxruntime-genai, for one sequence:
/// <code>
/// input_ids, position_ids [1, T] int64    attention_mask [1, past + T] int64, ones    past_key_values.N.key/value [1, K, past, Hd]
/// logits [1, T, V] float                  present.N.key/value [1, K, past + T, Hd]
/// MODULE.lora_A/B.MatMul.weight: what an adapter fills; zeros of rank 1 where none is active
/// </code>
/// Needs com.microsoft's operators, which are part of ONNX Runtime.
/// </summary>
public sealed class GraphExport : IDisposable
{
    /// <summary>The graph's file.</summary>
    public const string ModelName = "model.onnx";

    /// <summary>The weights' file.</summary>
    public const string WeightsName = ModelName + ".data";

    private readonly GraphWeights _weights;
    private readonly RecordedGraph _graph;
    private readonly SiteCatalog _sites;
    private readonly ModelConfig _config;

    /// <summary>Records the graph of a model. Throws <see cref="ArgumentException"/> for one on another device than ONNX Runtime, <see cref="NotSupportedException"/> for what a graph cannot say.</summary>
    /// <param name="model">The base, on <c>onnx:cpu</c>. It must stay open.</param>
    /// <param name="half">F16 weights, keys and values, for GPUs; else F32. Quantised weights stay quantised.</param>
    public GraphExport(DecoderModel model, bool half = false)
    {
        if (model.Backend is not OnnxBackend)
            throw new ArgumentException($"{model.Backend.Name}: a graph is written of a model on onnx:cpu");
        (_sites, _config) = (model.Sites, model.Config);
        _weights = new(half ? OnnxType.Float16 : OnnxType.Float, file: WeightsName);
        _graph = GraphRecorder.Record(model, new([PathShape.Of(SiteTable.Base, _sites, room: true)], SiteTable.Base, 0, Alone: true), _weights);
    }

    /// <summary>Nodes of the graph.</summary>
    public int Nodes => _graph.Nodes;

    /// <summary>Bytes of both files.</summary>
    public long ByteLength => _graph.Model.Length + _weights.FileLength;

    /// <summary>Writes graph, weights and genai_config.json into a folder.</summary>
    public void Write(string folder, CancellationToken cancellation = default)
    {
        AtomicFile.Write(Path.Combine(folder, WeightsName), stream => _weights.WriteTo(stream, cancellation));
        AtomicFile.WriteBytes(Path.Combine(folder, ModelName), _graph.Model);
        GenAiConfig.Write(folder, ModelName, _config, _graph.Inputs.Contains(StepNames.Positions));
    }

    /// <summary>Writes what a path adds to the base as one adapter: the ranks of its nodes together. Throws <see cref="NotSupportedException"/> for a path that does more than low-rank products, or those at the head.</summary>
    public void WriteAdapter(string file, AdapterPath path, CancellationToken cancellation = default)
    {
        PathShape shape = PathShape.Of(path.Table, _sites, room: true);
        if (!shape.IsPlain)
            throw new NotSupportedException($"{path}: the graph has no inputs for what it does at {string.Join(", ", shape.Beyond.Take(3))}{(shape.Beyond.Count > 3 ? $" and {shape.Beyond.Count - 3} more" : "")}");
        if (path.Invocation is not null)
            throw new NotSupportedException($"{path}: acts from its invocation on only, and an input acts everywhere");
        List<Tensor> tensors = [];
        foreach (AdapterInput input in _graph.AdapterInputs)
            if (input.Tensor(path.Table) is { } value)
            {
                ArrayStorage storage = new(checked((int)value.ByteLength));
                value.Bytes.CopyTo(storage.Writable);
                tensors.Add(new(input.Name, value.Type == OnnxType.Float ? DType.F32 : DType.F16, new Shape(value.Shape), storage));
                value.Dispose();
            }
        OnnxAdapter.Write(file, tensors, cancellation: cancellation);
    }

    /// <inheritdoc/>
    public void Dispose() => _weights.Dispose();
}
