using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Onnx;

/// <summary>
/// ONNX Runtime as a device. Tensors lie in host memory, a mapped checkpoint where it is; a model loaded onto it runs as graphs recorded from its own forward pass. It cannot run single ops, so
/// nothing trains on it.
/// </summary>
public sealed class OnnxBackend : HostStorage, IWholeModelBackend
{
    private readonly string _description;

    /// <summary>Opens a device. Throws <see cref="DeviceException"/> where it is not here, <see cref="ArgumentException"/> for an id that is none of <see cref="OnnxDevices"/>.</summary>
    /// <param name="id">Such as <c>onnx:cpu</c>, <c>onnx:dml:1</c>.</param>
    /// <param name="threads">Threads inside an operator on the CPU; 0: one a core.</param>
    /// <param name="options">How graphs compute; null: F32.</param>
    public OnnxBackend(string id, int threads = 0, OnnxOptions? options = null)
    {
        (Name, Threads, Options) = (id, threads, options ?? new());
        KeepsCaches = IsDirectMl;
        using (OnnxDevices.Options(id, threads))
            _description = $"ONNX Runtime {OnnxRuntimeLibrary.Version}, {(IsDirectMl ? "DirectML" : "CPU")}, {(Options.Half ? "F16" : "F32")}{(Options.Int8Activations ? ", 8-bit activations" : "")}";
    }

    /// <inheritdoc/>
    public override string Name { get; }

    /// <inheritdoc/>
    public override string Description => _description;

    /// <summary>How graphs compute.</summary>
    public OnnxOptions Options { get; }

    /// <summary>Whether keys and values lie in the provider's memory and steps keep to what DirectML can do; a test has it so on the CPU too.</summary>
    internal bool KeepsCaches { get; init; }

    private bool IsDirectMl => Name.StartsWith("onnx:dml", StringComparison.Ordinal);

    /// <summary>ONNX Runtime's name of the provider's memory.</summary>
    internal string Memory => IsDirectMl ? "DML" : "Cpu";

    /// <summary>Threads inside an operator on the CPU; 0: one a core.</summary>
    public int Threads { get; }

    /// <inheritdoc/>
    public ICausalLM Compile(DecoderModel model) => new OnnxCausalLM(model, this);
}
