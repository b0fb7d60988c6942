using EdgeLora.Core;

namespace EdgeLora.Onnx;

/// <summary>What one path gives to graphs, made once and bound by every graph of its shape: products joined by rank in memory of their own, whole tensors where they lie.</summary>
internal sealed class PathTensors : IDisposable
{
    private readonly Dictionary<string, GraphTensor?> _tensors = new(StringComparer.Ordinal);

    /// <summary>Bytes of what was made so far.</summary>
    public long ByteLength { get; private set; }

    /// <summary>The tensor of an input; null: its default stands. The path itself is not kept: whoever holds this must not keep an unmounted adapter's path.</summary>
    public GraphTensor? Of(AdapterInput input, SiteTable path)
    {
        if (!_tensors.TryGetValue(input.Key, out GraphTensor? tensor))
        {
            _tensors[input.Key] = tensor = input.Tensor(path);
            ByteLength += tensor?.ByteLength ?? 0;
        }
        return tensor;
    }

    /// <summary>Forgets what was made; it is made again when it is asked for.</summary>
    public void Dispose()
    {
        foreach (GraphTensor? tensor in _tensors.Values)
            tensor?.Dispose();
        _tensors.Clear();
        ByteLength = 0;
    }
}
