namespace EdgeLora.Benchmarks;

/// <summary>The frozen base of a LoRA step: a Llama with a tied head and random F32 weights.</summary>
/// <param name="Name">As the tables show it.</param>
/// <param name="Hidden">D.</param>
/// <param name="FeedForward">F.</param>
/// <param name="Layers">Decoder layers.</param>
/// <param name="Heads">H.</param>
/// <param name="KvHeads">K.</param>
/// <param name="Vocabulary">V.</param>
internal sealed record TrainingBase(string Name, int Hidden, int FeedForward, int Layers, int Heads, int KvHeads, int Vocabulary)
{
    /// <summary>15.2 million parameters.</summary>
    public static TrainingBase Of15M { get; } = new("15M", 288, 768, 6, 6, 6, 32000);

    /// <summary>The shape of stories110M: 438 MB, far more than a cache holds, so that a small micro-batch waits for memory.</summary>
    public static TrainingBase Of110M { get; } = new("110M", 768, 2048, 12, 12, 12, 32000);

    /// <summary>The shape of stories260K.</summary>
    public static TrainingBase Of260K { get; } = new("260K", 64, 172, 5, 8, 4, 512);

    /// <summary>Its config.json.</summary>
    public string Config => $$"""
        {
          "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "tie_word_embeddings": true, "torch_dtype": "float32",
          "hidden_size": {{Hidden}}, "intermediate_size": {{FeedForward}}, "num_hidden_layers": {{Layers}}, "num_attention_heads": {{Heads}}, "num_key_value_heads": {{KvHeads}},
          "vocab_size": {{Vocabulary}}, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5, "rope_theta": 10000.0
        }
        """;
}

/// <summary>A LoRA step that is measured: r 8 on every linear layer, loss on every token.</summary>
/// <param name="Base">What is trained on.</param>
/// <param name="Sequences">Rows of a job's micro-batch.</param>
/// <param name="Tokens">Tokens of each.</param>
internal sealed record TrainingCase(TrainingBase Base, int Sequences, int Tokens)
{
    /// <summary>Rank of the adapters; alpha is the same.</summary>
    public const int Rank = 8;

    /// <summary>A row's tokens: the same numbers every time, others in each row.</summary>
    public int[] Row(int row)
    {
        Random random = new(row);
        return [.. Enumerable.Range(0, Tokens).Select(_ => random.Next(Base.Vocabulary))];
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Base.Name}, {Sequences} x {Tokens}";
}
