using EdgeLora.Core;

namespace EdgeLora.Measuring;

/// <summary>The sizes of a Llama with a tied head whose weights are random: what is measured where no model is at hand.</summary>
/// <param name="Name">As tables and <c>--shape</c> spell it.</param>
/// <param name="Hidden">D.</param>
/// <param name="FeedForward">F.</param>
/// <param name="Layers">Decoder layers.</param>
/// <param name="Heads">H.</param>
/// <param name="KvHeads">K.</param>
/// <param name="Vocabulary">V.</param>
internal sealed record LlamaShape(string Name, int Hidden, int FeedForward, int Layers, int Heads, int KvHeads, int Vocabulary)
{
    /// <summary>Positions of every shape.</summary>
    public const int ContextLength = 2048;

    /// <summary>Epsilon of every norm.</summary>
    public const float NormEpsilon = 1e-5f;

    /// <summary>Base of the rotary angles.</summary>
    public const float RopeTheta = 10000;

    /// <summary>The shape of stories260K.</summary>
    public static LlamaShape Of260K { get; } = new("260k", 64, 172, 5, 8, 4, 512);

    /// <summary>The shape of stories15M: 15.2 million parameters.</summary>
    public static LlamaShape Of15M { get; } = new("15m", 288, 768, 6, 6, 6, 32000);

    /// <summary>The shape of stories110M: 438 MB in F32, far more than a cache holds, so that a small micro-batch waits for memory.</summary>
    public static LlamaShape Of110M { get; } = new("110m", 768, 2048, 12, 12, 12, 32000);

    /// <summary>SmolLM-135M's shape: 134.5 million parameters.</summary>
    public static LlamaShape Of135M { get; } = new("135m", 576, 1536, 30, 9, 3, 49152);

    /// <summary>Qwen2-0.5B's shape, without its biases: 494 million parameters.</summary>
    public static LlamaShape Of0_5B { get; } = new("0.5b", 896, 4864, 24, 14, 2, 151936);

    /// <summary>Llama-3.2-1B's shape: 1.24 billion parameters.</summary>
    public static LlamaShape Of1B { get; } = new("1b", 2048, 8192, 16, 32, 8, 128256);

    /// <summary>Those that <c>edgelora bench --shape</c> takes.</summary>
    public static IReadOnlyList<LlamaShape> Standard { get; } = [Of15M, Of135M, Of0_5B, Of1B];

    /// <summary>Its config.json for weights of <paramref name="type"/>: F32, F16 or BF16.</summary>
    public string Config(DType type) => FormattableString.Invariant($$"""
        {
          "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "tie_word_embeddings": true,
          "torch_dtype": "{{(type == DType.F32 ? "float32" : type == DType.F16 ? "float16" : "bfloat16")}}",
          "hidden_size": {{Hidden}}, "intermediate_size": {{FeedForward}}, "num_hidden_layers": {{Layers}}, "num_attention_heads": {{Heads}}, "num_key_value_heads": {{KvHeads}},
          "vocab_size": {{Vocabulary}}, "max_position_embeddings": {{ContextLength}}, "rms_norm_eps": {{NormEpsilon}}, "rope_theta": {{RopeTheta}}
        }
        """);
}
