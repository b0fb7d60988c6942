using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>What a job will need, before it starts: for the memory budget.</summary>
public static class TrainingMemory
{
    /// <summary>Bytes of activations, their gradients and the caches for <paramref name="rows"/> tokens at once. An upper bound: a frozen lower part saves less.</summary>
    /// <param name="config">The base's numbers.</param>
    /// <param name="rows">Tokens of a micro-batch.</param>
    /// <param name="checkpointing">Whether layers are run again on the way back.</param>
    public static long ActivationBytes(ModelConfig config, long rows, bool checkpointing)
    {
        long d = config.HiddenSize, q = (long)config.Heads * config.HeadSize, kv = (long)config.KvHeads * config.HeadSize, f = config.FeedForward;
        // A layer saves both norms' inputs, what they gave, q, the attention's result, gate, up and their product.
        long saved = 4 * d + 2 * q + 3 * f, caches = 2 * kv * config.Layers;
        // At a time: the pass's own buffers, and about as many gradients.
        long working = 2 * (4 * d + 3 * q + 4 * kv + 2 * f);
        long layers = checkpointing ? d * config.Layers + saved : saved * config.Layers;
        return sizeof(float) * rows * (layers + caches + working);
    }

    /// <summary>Bytes of an adapter that trains: values, gradients and the optimizer's state.</summary>
    /// <param name="parameters">Numbers that train.</param>
    /// <param name="optimizer">AdamW remembers two more of each.</param>
    public static long TrainerBytes(long parameters, OptimizerKind optimizer) => sizeof(float) * parameters * (optimizer == OptimizerKind.AdamW ? 4 : 2);
}
