using System.Runtime.CompilerServices;
using EdgeLora.Core;
using EdgeLora.Models;
using Microsoft.ML.OnnxRuntime;

namespace EdgeLora.Onnx;

/// <summary>Graphs of a model by what they were recorded for, and bindings by graph and paths; each kind least recently used goes first. All share the base's weights, and ONNX Runtime's packed copies of them.</summary>
internal sealed class GraphStore(DecoderModel model, OnnxBackend backend) : IDisposable
{
    private readonly GraphWeights _weights = new(backend.Options.Activations, embed: backend.Options.Half && backend.Memory == "Cpu")
    {
        WidensBytes = !backend.KeepsCaches && !backend.Options.Int8Activations,
        AccuracyLevel = backend.Options.Int8Activations ? 4 : 1,
    };
    private readonly PrePackedWeightsContainer _packed = new();
    private readonly Dictionary<GraphKey, GraphSession> _graphs = [];
    private readonly ConditionalWeakTable<SiteTable, PathShape> _shapes = [];
    private readonly ConditionalWeakTable<SiteTable, PathTensors> _tensors = [];
    private long _clock;

    /// <summary>Graphs that were recorded and opened.</summary>
    public long Opened { get; private set; }

    /// <summary>Bindings that were made.</summary>
    public long Bound { get; private set; }

    /// <summary>Bindings that there are.</summary>
    public int Held => _graphs.Values.Sum(g => g.Bindings.Count);

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
            Trim();
            PathTensors[] tensors = new PathTensors[paths.Length];
            for (int i = 0; i < paths.Length; i++)
                tensors[i] = _tensors.GetValue(paths[i], _ => new());
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
            // Between two steps the cores are the application's.
            options.AddSessionConfigEntry("session.force_spinning_stop", "1");
            _weights.AddTo(options, recorded.Weights);
            _graphs[plan.Key] = graph = new(plan, recorded, model.Config, options, _packed, backend.Options.Activations);
            Opened++;
        }
        graph.LastUse = ++_clock;
        return graph;
    }

    // Bindings of paths that are gone go first, then those that were unused longest, until there is room for one more. What no binding shows any more is freed.
    private void Trim()
    {
        List<PathBinding> all = [.. _graphs.Values.SelectMany(g => g.Bindings).OrderBy(b => b.IsDead ? -1 : b.LastUse)];
        HashSet<PathTensors> kept = [.. all.SelectMany(b => b.Tensors)];
        long bytes = kept.Sum(t => t.ByteLength);
        int dropped = 0;
        foreach (PathBinding binding in all)
        {
            if (!binding.IsDead && all.Count - dropped < backend.Options.Bindings && bytes <= backend.Options.BoundBytes)
                break;
            dropped++;
            binding.Graph.Bindings.Remove(binding);
            binding.Dispose();
            foreach (PathTensors tensors in binding.Tensors)
                if (!_graphs.Values.Any(g => g.Bindings.Exists(b => b.Tensors.Contains(tensors))) && kept.Remove(tensors))
                {
                    bytes -= tensors.ByteLength;
                    tensors.Dispose();
                }
        }
    }
}
