using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Activations of one forward step of an encoder, F32 [rows, width], reused from step to step.</summary>
internal sealed class EncoderBuffers : IDisposable
{
    private readonly IComputeBackend _backend;
    private readonly List<DeviceTensor> _all = [];

    public EncoderBuffers(IComputeBackend backend, ModelConfig config, PatchWeights? patches, int rows)
    {
        _backend = backend;
        Capacity = rows;
        int d = config.HiddenSize;
        Hidden = New("hidden", rows, d);
        Normed = New("normed", rows, d);
        Output = New("output", rows, d);
        Delta = New("delta", rows, d);
        Q = New("q", rows, d);
        K = New("k", rows, d);
        V = New("v", rows, d);
        Mixed = New("mixed", rows, d);
        Up = New("up", rows, config.FeedForward);
        if (patches is null)
            return;
        Patches = New("patches", rows, patches.Projection.Inputs);
        ClassToken = New("class token", rows, d);
        backend.Write(patches.ClassToken, ClassToken, 0);
    }

    public int Capacity { get; }
    public DeviceTensor Hidden { get; }
    public DeviceTensor Normed { get; }
    public DeviceTensor Output { get; }
    public DeviceTensor Delta { get; }
    public DeviceTensor Q { get; }
    public DeviceTensor K { get; }
    public DeviceTensor V { get; }
    public DeviceTensor Mixed { get; }
    public DeviceTensor Up { get; }
    public DeviceTensor? Patches { get; }

    /// <summary>As many rows as all others have, of which the first is used.</summary>
    public DeviceTensor? ClassToken { get; }

    public PositionRows Positions { get; } = new();
    public PositionRows Types { get; } = new();

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
}
