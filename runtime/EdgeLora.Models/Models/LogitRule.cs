using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What stands between the head and the logits: a factor, then a soft cap, both the config's. In place on the first rows.</summary>
public static class LogitRule
{
    /// <summary><c>z ← c·tanh(factor·z/c)</c>, or its factor alone where there is no cap.</summary>
    public static void Apply(IComputeBackend backend, ModelConfig config, int rows, DeviceTensor logits)
    {
        Scale(backend, config, rows, logits);
        Cap(backend, config, rows, logits);
    }

    /// <summary><c>z ← u</c>: factor·z/c, or factor·z.</summary>
    public static void Scale(IComputeBackend backend, ModelConfig config, int rows, DeviceTensor logits)
    {
        float factor = config.LogitCap > 0 ? config.LogitScale / config.LogitCap : config.LogitScale;
        if (factor != 1)
            backend.Scale(rows, factor, logits, logits);
    }

    /// <summary><c>u ← c·tanh(u)</c>, or nothing.</summary>
    public static void Cap(IComputeBackend backend, ModelConfig config, int rows, DeviceTensor logits)
    {
        if (config.LogitCap <= 0)
            return;
        backend.Activate(rows, Activation.Tanh, logits, logits);
        backend.Scale(rows, config.LogitCap, logits, logits);
    }
}
