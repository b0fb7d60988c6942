using EdgeLora.Core;
using Microsoft.ML.OnnxRuntime;

namespace EdgeLora.Onnx;

/// <summary>The inputs and outputs of one graph bound for one path (or one path a sequence). Paths are bound once; a step binds anew only what is another object than before.</summary>
internal sealed class PathBinding : IDisposable
{
    private readonly GraphSession _graph;
    private readonly OrtIoBinding _binding;
    private readonly int[] _versions;
    private readonly WeakReference<KvBuffer>?[] _caches;
    private readonly int[] _capacities;
    private readonly WeakReference<SiteTable>[] _paths;
    private readonly bool _copiesInputs;
    private int _logitsVersion = -1;

    /// <summary>Binds what the paths give.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="paths">One path, or one a sequence.</param>
    /// <param name="tensors">What they give.</param>
    /// <param name="copiesInputs">Whether the provider's memory is not the host's: an input is then copied to it when it is bound, so what a step rewrites is bound anew.</param>
    public PathBinding(GraphSession graph, ReadOnlySpan<SiteTable> paths, PathTensors[] tensors, bool copiesInputs)
    {
        (_graph, Tensors, _copiesInputs) = (graph, tensors, copiesInputs);
        _paths = new WeakReference<SiteTable>[paths.Length];
        for (int i = 0; i < paths.Length; i++)
            _paths[i] = new(paths[i]);
        _binding = graph.Session.CreateIoBinding();
        _versions = new int[graph.Inputs.Length];
        int sequences = Math.Max(1, graph.Plan.Sequences);
        _caches = new WeakReference<KvBuffer>[sequences];
        _capacities = new int[sequences];
        foreach (AdapterInput input in graph.Graph.AdapterInputs)
            if (Tensors[input.Group].Of(input, paths[input.Group]) is { } tensor)
                _binding.BindInput(input.Name, tensor.Value);
    }

    /// <summary>The graph.</summary>
    public GraphSession Graph => _graph;

    /// <summary>What is bound, a path each; it lives as long as a binding of it.</summary>
    public PathTensors[] Tensors { get; }

    /// <summary>Order of use, for who decides which binding goes.</summary>
    public long LastUse { get; set; }

    /// <summary>Whether a path of it is gone. Paths are held weakly, so that an unmounted adapter's memory is not kept.</summary>
    public bool IsDead => !Array.TrueForAll(_paths, p => p.TryGetTarget(out _));

    /// <summary>Whether it is that of these paths, in this order.</summary>
    public bool IsOf(ReadOnlySpan<SiteTable> paths)
    {
        for (int i = 0; i < paths.Length; i++)
            if (!_paths[i].TryGetTarget(out SiteTable? path) || !ReferenceEquals(path, paths[i]))
                return false;
        return true;
    }

    /// <summary>Binds a sequence's keys and values, where past and present are the same memory: nothing is copied.</summary>
    public void BindCache(int sequence, KvBuffer cache, Func<DeviceTensor, OrtValue> valueOf)
    {
        // A cache that grew has other tensors; its capacity tells.
        if (_caches[sequence] is { } bound && bound.TryGetTarget(out KvBuffer? last) && ReferenceEquals(last, cache) && _capacities[sequence] == cache.Capacity)
            return;
        for (int layer = 0; layer < cache.Keys.Length; layer++)
        {
            OrtValue keys = valueOf(cache.Keys[layer]), values = valueOf(cache.Values[layer]);
            _binding.BindInput(StepNames.PastKeys(_graph.Plan, sequence, layer), keys);
            _binding.BindInput(StepNames.PastValues(_graph.Plan, sequence, layer), values);
            _binding.BindOutput(StepNames.PresentKeys(_graph.Plan, sequence, layer), keys);
            _binding.BindOutput(StepNames.PresentValues(_graph.Plan, sequence, layer), values);
        }
        // A binding outlives sessions: it must not keep their caches.
        if (_caches[sequence] is { } slot)
            slot.SetTarget(cache);
        else
            _caches[sequence] = new(cache);
        _capacities[sequence] = cache.Capacity;
    }

    /// <summary>Runs a step whose buffers are written.</summary>
    public void Run(RunOptions options)
    {
        for (int i = 0; i < _versions.Length; i++)
            if (_copiesInputs || _versions[i] != _graph.Inputs[i].Version)
            {
                _binding.BindInput(_graph.Inputs[i].Name, _graph.Inputs[i].Value);
                _versions[i] = _graph.Inputs[i].Version;
            }
        if (_logitsVersion != _graph.Logits.Version)
        {
            _binding.BindOutput(StepNames.Logits, _graph.Logits.Value);
            _logitsVersion = _graph.Logits.Version;
        }
        // What the last run allocated stays bound, with that run's dimensions, until it is bound anew.
        foreach (string output in _graph.Graph.Outputs)
            _binding.BindOutputToDevice(output, OrtMemoryInfo.DefaultInstance);
        _graph.Session.RunWithBinding(options, _binding);
        _binding.SynchronizeBoundOutputs();
    }

    /// <summary>The graph's further outputs (hidden states, results of ops) after a run, by name.</summary>
    public IReadOnlyList<(string Name, float[] Values)> ReadOutputs()
    {
        List<(string, float[])> outputs = [];
        using IDisposableReadOnlyCollection<OrtValue> values = _binding.GetOutputValues();
        string[] names = _binding.GetOutputNames();
        for (int i = 0; i < names.Length; i++)
            if (_graph.Graph.Outputs.Contains(names[i]))
                outputs.Add((names[i], values[i].GetTensorDataAsSpan<float>().ToArray()));
        return outputs;
    }

    /// <inheritdoc/>
    public void Dispose() => _binding.Dispose();
}
