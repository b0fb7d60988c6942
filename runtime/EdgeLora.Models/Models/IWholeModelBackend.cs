using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// A device that runs whole models, not single ops: it holds tensors as any backend does, its ops throw <see cref="NotSupportedException"/>, and a model loaded onto it runs as what
/// <see cref="Compile"/> gives. So whoever loads a model need not know which kind of device it is on, and an application without ONNX Runtime needs no project that knows it.
/// </summary>
public interface IWholeModelBackend : IComputeBackend
{
    /// <summary>The forward of a model that was loaded onto this device; the model owns it.</summary>
    ICausalLM Compile(DecoderModel model);
}
