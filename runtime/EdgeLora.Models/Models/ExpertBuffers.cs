using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Activations of a mixture of experts, F32 [rows, width], and which rows each expert takes.</summary>
internal sealed class ExpertBuffers(ModelConfig config, int experts, int rows, Func<string, int, DeviceTensor> allocate)
{
    private readonly Dictionary<int, (DeviceTensor Gate, DeviceTensor Up)> _inner = [];
    private readonly Dictionary<(int Layer, int Expert), BatchLayout> _layouts = [];
    private readonly int[] _numbers = new int[rows];
    private readonly float[] _weights = new float[rows * experts];

    public DeviceTensor Logits { get; } = allocate("router logits", experts);
    public DeviceTensor Weights { get; } = allocate("expert weights", experts);
    public DeviceTensor Input { get; } = allocate("expert input", config.HiddenSize);
    public DeviceTensor Output { get; } = allocate("expert output", config.HiddenSize);
    public DeviceTensor Share { get; } = allocate("shared expert's share", 1);

    /// <summary>Inside of experts of this width.</summary>
    public (DeviceTensor Gate, DeviceTensor Up) Inner(int width)
    {
        if (!_inner.TryGetValue(width, out (DeviceTensor, DeviceTensor) buffers))
            _inner[width] = buffers = (allocate("expert gate", width), allocate("expert up", width));
        return buffers;
    }

    /// <summary>Takes over which expert each row takes.</summary>
    public void ReadWeights(IComputeBackend backend, int count) => backend.Read(Weights, 0, _weights.AsSpan(0, count * experts));

    /// <summary>The rows of a batch that take an expert, ascending, and a layout of them on their paths: one for each layer and expert, because a recorded op looks at it again.</summary>
    public ReadOnlySpan<int> Choose(BatchLayout batch, int layer, int expert, out BatchLayout layout)
    {
        if (!_layouts.TryGetValue((layer, expert), out layout!))
            _layouts[(layer, expert)] = layout = new();
        layout.Clear();
        int count = 0;
        foreach (RowGroup group in batch.Groups)
            for (int t = group.Start; t < group.Start + group.Count; t++)
                // Not 0: a NaN is nobody's to hide.
                if (_weights[t * experts + expert] != 0)
                {
                    _numbers[count++] = t;
                    layout.AddRow(group.Path);
                }
        return _numbers.AsSpan(0, count);
    }
}
