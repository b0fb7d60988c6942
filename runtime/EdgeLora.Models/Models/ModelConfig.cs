using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>The numbers of a decoder, read from its config by its architecture.</summary>
public sealed record ModelConfig
{
    /// <summary>The checkpoint's model_type: <c>llama</c>, <c>qwen2</c>, <c>gpt2</c>.</summary>
    public required string ModelType { get; init; }
    /// <summary>D.</summary>
    public required int HiddenSize { get; init; }
    /// <summary>Decoder layers.</summary>
    public required int Layers { get; init; }
    /// <summary>H: query heads.</summary>
    public required int Heads { get; init; }
    /// <summary>K: key/value heads.</summary>
    public required int KvHeads { get; init; }
    /// <summary>Hd.</summary>
    public required int HeadSize { get; init; }
    /// <summary>E: width of the token table and of what enters the head; D but for OPT's smallest.</summary>
    public int EmbeddingSize { get => field == 0 ? HiddenSize : field; init; }
    /// <summary>F.</summary>
    public required int FeedForward { get; init; }
    /// <summary>V.</summary>
    public required int Vocabulary { get; init; }
    /// <summary>Positions the model was made for: the context's end.</summary>
    public required int ContextLength { get; init; }
    /// <summary>Epsilon of every norm.</summary>
    public required float NormEpsilon { get; init; }
    /// <summary>True when the head is the embedding table.</summary>
    public required bool TiedHead { get; init; }
    /// <summary>Per layer: the attention window, 0 for none.</summary>
    public required int[] Windows { get; init; }
    /// <summary>Per layer: the factor on q·k.</summary>
    public required float[] AttentionScales { get; init; }
    /// <summary>Per layer: whether q and k are rotated.</summary>
    public required bool[] Rotates { get; init; }
    /// <summary>Rotary frequencies, or null for learned positions.</summary>
    public RopeFrequencies? Rope { get; init; }
    /// <summary>Frequencies of layers with a window where they differ from <see cref="Rope"/>; as many of them. Null: the same.</summary>
    public RopeFrequencies? WindowRope { get; init; }
    /// <summary>How rotary pairs lie where the architecture decides; null: as the checkpoint stores q and k.</summary>
    public RopePairs? Pairs { get; init; }
    /// <summary>Factor on embeddings.</summary>
    public float EmbeddingScale { get; init; } = 1;
    /// <summary>Factor on what attention and feed-forward add.</summary>
    public float ResidualScale { get; init; } = 1;
    /// <summary>Factor on logits.</summary>
    public float LogitScale { get; init; } = 1;
    /// <summary>c of logits c·tanh(z/c), after their factor; 0: none.</summary>
    public float LogitCap { get; init; }
    /// <summary>c of scores c·tanh(s/c), after their factor; 0: none.</summary>
    public float ScoreCap { get; init; }
    /// <summary>Whether scores have biases by position (ALiBi).</summary>
    public bool Alibi { get; init; }
    /// <summary>Which stored layer each layer runs: 0..Layers-1, unless an adapter's layer_replication stacks some of them twice.</summary>
    public required int[] LayerOrder { get; init; }
    /// <summary>Begin-of-sequence id, where the config names one.</summary>
    public int? BosId { get; init; }
    /// <summary>Ids that end a sequence.</summary>
    public IReadOnlyList<int> EndIds { get; init; } = [];

    /// <summary>The same model with its layers stacked in another order (layer_replication): weights are shared, sites are not.</summary>
    public ModelConfig WithLayers(int[] order) => this with
    {
        Layers = order.Length,
        LayerOrder = order,
        Windows = Array.ConvertAll(order, i => Windows[i]),
        AttentionScales = Array.ConvertAll(order, i => AttentionScales[i]),
        Rotates = Array.ConvertAll(order, i => Rotates[i]),
    };
}
