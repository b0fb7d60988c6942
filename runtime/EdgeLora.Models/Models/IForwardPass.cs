using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>A model's forward, step by step over its own activations: what inference runs and a recording backend sees for training. One at a time.</summary>
public interface IForwardPass : IDisposable
{
    /// <summary>Layers.</summary>
    int Layers { get; }

    /// <summary>The residual stream, [rows, D]: what leaves the last step.</summary>
    DeviceTensor Hidden { get; }

    /// <summary>What enters the head, [rows, E]: what <see cref="Finish"/> gave.</summary>
    DeviceTensor Output { get; }

    /// <summary>The output head: [V, E], or a classifier [classes, D].</summary>
    LinearSite Head { get; }

    /// <summary>Makes room for <paramref name="rows"/> rows. What was computed before is lost when it grows.</summary>
    void Reserve(int rows);

    /// <summary>Tokens to <see cref="Hidden"/>.</summary>
    void Embed(BatchLayout batch);

    /// <summary>Layer <paramref name="index"/> on <see cref="Hidden"/>.</summary>
    void RunLayer(BatchLayout batch, int index);

    /// <summary>What stands between the last layer and the head, from <see cref="Hidden"/> to <see cref="Output"/>.</summary>
    void Finish(BatchLayout batch);

    /// <summary>What stands between the head and the logits, in place on the first <paramref name="rows"/> rows.</summary>
    void FinishLogits(int rows, DeviceTensor logits);
}

/// <summary>A base that can train: its sites, its pass, its caches.</summary>
public interface ITrainableModel
{
    /// <summary>What it runs on.</summary>
    IComputeBackend Backend { get; }

    /// <summary>Its numbers.</summary>
    ModelConfig Config { get; }

    /// <summary>Where adapters may act.</summary>
    SiteCatalog Sites { get; }

    /// <summary>True for a classifier: a sequence's first row (a decoder's: its last) carries its class. False for a language model: each row predicts the next token.</summary>
    bool Classifies { get; }

    /// <summary>A forward pass with activations of its own on <paramref name="backend"/>: the model's, or one that records what the model's does.</summary>
    IForwardPass CreatePass(IComputeBackend backend, int rows);

    /// <summary>An empty cache with room for <paramref name="capacity"/> tokens; it grows.</summary>
    KvBuffer CreateCache(int capacity);
}
