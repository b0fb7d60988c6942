using System.Runtime.CompilerServices;
using EdgeLora.Core;
using EdgeLora.Models;
using Microsoft.ML.OnnxRuntime;

namespace EdgeLora.Onnx;

/// <summary>Graphs of a model by what they were recorded for, and bindings by graph and paths; each kind least recently used goes first. All share the base's weights, and ONNX Runtime's packed copies of them.</summary>
internal sealed class GraphStore(DecoderModel model, OnnxBackend backend) : IDisposable
{
    private readonly GraphWeights _weights = new(backend.Options.Activations, embed: backend.Options.Half && backend.Memory == "Cpu");
    private readonly PrePackedWeightsContainer _packed = new();
    private readonly Dictionary<GraphKey, GraphSession> _graphs = [];
    private readonly ConditionalWeakTable<SiteTable, PathShape> _shapes = [];
    private readonly ConditionalWeakTable<SiteTable, PathTensors> _tensors = [];
    private long _clock;

    /// <summary>Graphs that were recorded and opened.</summary>
    public long Opened { get; private set; }

    /// <summary>Bindings that were made.</summary>
    public long Bound { get; private set; }

    /// <summary>The shape of a path, found once.</summary>
    public PathShape ShapeOf(SiteTable path) => _shapes.GetValue(path, p => PathShape.Of(p, model.Sites, backend.Options.AdapterInputs));

    /// <summary>The binding of paths to the graph of a plan; recorded, opened and bound where it is not there.</summary>
    public PathBinding Bind(GraphPlan plan, ReadOnlySpan<SiteTable> paths)
    {
        GraphSession graph = Graph(plan);
        PathBinding? binding = null;
        foreach (PathBinding candidate in graph.Bindings)
            if (candidate.IsOf(paths))
            {
                binding = candidate;
                break;
            }
        if (binding is null)
        {
            PathTensors[] tensors = new PathTensors[paths.Length];
            for (int i = 0; i < paths.Length; i++)
                tensors[i] = _tensors.GetValue(paths[i], p => new(p));
            Trim();
            Bound++;
            graph.Bindings.Add(binding = new(graph, paths, tensors, copiesInputs: backend.KeepsCaches));
        }
        binding.LastUse = ++_clock;
        return binding;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (GraphSession graph in _graphs.Values)
            graph.Dispose();
        _packed.Dispose();
        _weights.Dispose();
    }

    private GraphSession Graph(GraphPlan plan)
    {
        if (!_graphs.TryGetValue(plan.Key, out GraphSession? graph))
        {
            if (_graphs.Count >= backend.Options.Graphs)
            {
                (GraphKey oldest, GraphSession dropped) = _graphs.MinBy(g => g.Value.LastUse);
                _graphs.Remove(oldest);
                dropped.Dispose();
            }
            RecordedGraph recorded = GraphRecorder.Record(model, plan, _weights);
            using SessionOptions options = OnnxDevices.Options(backend.Name, backend.Threads);
            _weights.AddTo(options, recorded.Weights);
            _graphs[plan.Key] = graph = new(plan, recorded, model.Config, options, _packed, backend.Options.Activations);
            Opened++;
        }
        graph.LastUse = ++_clock;
        return graph;
    }

    // Bindings of paths that are gone go first, then the one that was unused longest.
    private void Trim()
    {
        int count = 0;
        PathBinding? oldest = null;
        foreach (GraphSession graph in _graphs.Values)
        {
            graph.Bindings.RemoveAll(binding =>
            {
                if (!binding.IsDead)
                    return false;
                binding.Dispose();
                return true;
            });
            count += graph.Bindings.Count;
            foreach (PathBinding binding in graph.Bindings)
                if (oldest is null || binding.LastUse < oldest.LastUse)
                    oldest = binding;
        }
        if (count < backend.Options.Bindings || oldest is null)
            return;
        oldest.Graph.Bindings.Remove(oldest);
        oldest.Dispose();
    }
}
