namespace EdgeLora.Training;

/// <summary>What a run trains.</summary>
public enum TrainingMethod
{
    /// <summary>Low-rank pairs beside frozen weights. arXiv:2106.09685.</summary>
    Lora,
    /// <summary>Every weight of the base, in a copy.</summary>
    Full,
    /// <summary>Some weights of the base, in a copy; the rest stays frozen.</summary>
    Freeze,
    /// <summary>Small feed-forward layers behind the frozen sub-layers. arXiv:1902.00751.</summary>
    Bottleneck,
}

/// <summary>How a finished adapter is stored.</summary>
public enum AdapterFormat
{
    /// <summary>A folder that PEFT loads.</summary>
    Peft,
    /// <summary>One <c>.elora</c> file with the fingerprints of parent and base.</summary>
    Elora,
}

/// <summary>How A starts; B starts at zero except for PiSSA. Embeddings always start with A zero and B normal.</summary>
public enum LoraStart
{
    /// <summary>Uniform in ±1/√in.</summary>
    Kaiming,
    /// <summary>Normal with deviation 1/r.</summary>
    Gaussian,
    /// <summary>The leading singular triples of the weight, which the frozen base loses. arXiv:2404.02948.</summary>
    Pissa,
}

/// <summary>Where bottlenecks stand.</summary>
public enum BottleneckPlacement
{
    /// <summary>Behind attention and behind the feed-forward layer. arXiv:1902.00751.</summary>
    Houlsby,
    /// <summary>Behind the feed-forward layer only. arXiv:2005.00247.</summary>
    Pfeiffer,
}

/// <summary>Update rule.</summary>
public enum OptimizerKind
{
    /// <summary>Adam with decoupled decay. arXiv:1711.05101.</summary>
    AdamW,
    /// <summary>Plain gradient descent without momentum.</summary>
    Sgd,
}

/// <summary>Shape of the learning rate over the steps, named as in transformers.</summary>
public enum ScheduleKind
{
    /// <summary>The same rate at every step, without warm-up.</summary>
    Constant,
    /// <summary>Warm-up, then the same rate.</summary>
    ConstantWithWarmup,
    /// <summary>Warm-up, then a line to zero.</summary>
    Linear,
    /// <summary>Warm-up, then half a cosine to zero.</summary>
    Cosine,
    /// <summary>Warm-up, then half a cosine to a part of the rate.</summary>
    CosineWithMinLr,
    /// <summary>Warm-up, then a power of the way that is left.</summary>
    Polynomial,
}

/// <summary>Which modules get LoRA: all linear ones but the head, a list of names, or a pattern.</summary>
/// <param name="Names">Module names or their dotted ends; empty: all linear layers, or <paramref name="Pattern"/>.</param>
/// <param name="Pattern">A regular expression in Python's spelling over whole module names; or null.</param>
public sealed record LoraTargets(IReadOnlyList<string> Names, string? Pattern = null)
{
    /// <summary>Every linear layer but the output head.</summary>
    public static LoraTargets AllLinear { get; } = new([]);

    /// <summary>Whether it is every linear layer but the head.</summary>
    public bool IsAll => Names.Count == 0 && Pattern is null;
}
