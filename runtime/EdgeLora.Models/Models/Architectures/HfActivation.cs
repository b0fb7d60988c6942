using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Nonlinearities by the names that transformers gives them (activations.py, ACT2FN).</summary>
public static class HfActivation
{
    /// <summary>The nonlinearity that <paramref name="field"/> names. Throws <see cref="ModelFileException"/> for one that no op computes.</summary>
    public static Activation Read(HfConfig config, string field, string absent) => config.GetString(field, absent) switch
    {
        "silu" or "swish" => Activation.Silu,
        "gelu" or "gelu_python" => Activation.Gelu,
        // The same formula four times.
        "gelu_new" or "gelu_pytorch_tanh" or "gelu_fast" or "gelu_accurate" => Activation.GeluTanh,
        "relu" => Activation.Relu,
        "tanh" => Activation.Tanh,
        _ => throw config.Refusal(field, "silu, swish, gelu, gelu_python, gelu_new, gelu_pytorch_tanh, gelu_fast, gelu_accurate, relu or tanh"),
    };
}
