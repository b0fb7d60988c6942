using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>A Hugging Face config as the keys of a GGUF file: what <see cref="GgufConfig"/> reads back, and llama.cpp's converter writes.</summary>
internal sealed class GgufMetadata
{
    private readonly List<KeyValuePair<string, object>> _pairs = [];
    private readonly HfConfig _config;
    private readonly ModelConfig _numbers;
    private readonly string _architecture;

    private GgufMetadata(HfConfig config, ModelConfig numbers, string architecture) => (_config, _numbers, _architecture) = (config, numbers, architecture);

    /// <summary>The keys without the vocabulary, and <c>rope_freqs.weight</c> where the frequencies need it. Throws <see cref="ModelFileException"/> naming the field that GGUF cannot say.</summary>
    public static (List<KeyValuePair<string, object>> Pairs, Tensor? RopeFrequencies) Of(HfConfig config, ModelConfig numbers, string architecture, string name, DType type, List<string> notes)
    {
        GgufMetadata metadata = new(config, numbers, architecture);
        metadata._pairs.AddRange([new("general.architecture", architecture), new("general.type", "model"), new("general.name", name),
            new("general.quantization_version", 2u), new("general.file_type", GgufWeightTypes.FileType(type))]);
        metadata.Numbers(notes);
        return (metadata._pairs, numbers.Rope is { } rope ? metadata.Rope(rope) : null);
    }

    private void Numbers(List<string> notes)
    {
        int context = _numbers.ContextLength, window = _numbers.Windows.Where(w => w > 0).DefaultIfEmpty(context).Min();
        if (window < context)
            notes.Add($"context_length is {window}, the attention window, instead of {context}: GGUF's {_architecture} has no window, and none shows within it");
        Number("context_length", Math.Min(context, window));
        Number("embedding_length", _numbers.HiddenSize);
        Number("block_count", _numbers.Layers);
        Number("feed_forward_length", _numbers.FeedForward);
        Number("attention.head_count", _numbers.Heads);
        if (_architecture == "gpt2")
        {
            if (_config.GetString("activation_function", "gelu_new") is not ("gelu_new" or "gelu_pytorch_tanh"))
                throw _config.Refusal("activation_function", "gelu_new, which GGUF's gpt2 means");
            if (_config.GetBool("scale_attn_by_inverse_layer_idx", false) || !_config.GetBool("scale_attn_weights", true))
                throw _config.Refusal("scale_attn_weights", "true, and scale_attn_by_inverse_layer_idx false, which GGUF's gpt2 means");
            Put("attention.layer_norm_epsilon", _numbers.NormEpsilon);
            return;
        }
        Number("attention.head_count_kv", _numbers.KvHeads);
        Put("attention.layer_norm_rms_epsilon", _numbers.NormEpsilon);
        if (_numbers.HeadSize * _numbers.Heads != _numbers.HiddenSize || _architecture == "qwen3")
        {
            Number("attention.key_length", _numbers.HeadSize);
            Number("attention.value_length", _numbers.HeadSize);
        }
        Number("vocab_size", _numbers.Vocabulary);
        if (_architecture == "llama")
            Number("rope.dimension_count", _numbers.HeadSize);
    }

    private Tensor? Rope(RopeFrequencies frequencies)
    {
        HfConfig rope = _config;
        foreach (string field in (ReadOnlySpan<string>)["rope_parameters", "rope_scaling"])
            if (ReferenceEquals(rope, _config) && _config.TryGetObject(field, out HfConfig? section))
                rope = section;
        double theta = rope.TryGetDouble("rope_theta", 1, 1e12, out double inner) ? inner : _config.GetDouble("rope_theta", 1, 1e12, 10000);
        string type = ReferenceEquals(rope, _config) ? "default" : rope.GetString("rope_type", rope.GetString("type", "default"));
        Put("rope.freq_base", (float)theta);
        switch (type)
        {
            case "default":
                return null;
            case "linear":
                Put("rope.scaling.type", "linear");
                Put("rope.scaling.factor", rope.GetFloat("factor", 1e-6f, 1e9f));
                return null;
            case "llama3":
                // One divisor a frequency says the same.
                int pairs = frequencies.Frequencies.Length;
                float[] divisors = [.. frequencies.Frequencies.Select((f, i) => (float)(Math.Pow(theta, -(double)i / pairs) / f))];
                return Tensor.FromFloats("rope_freqs.weight", new Shape(pairs), divisors);
            case "yarn":
                Yarn(rope, frequencies);
                return null;
            default:
                throw rope.Refusal(rope.Has("rope_type") ? "rope_type" : "type", "default, linear, llama3 or yarn");
        }
    }

    private void Yarn(HfConfig rope, RopeFrequencies frequencies)
    {
        if (!rope.GetBool("truncate", true))
            throw rope.Refusal("truncate", "true, which GGUF's yarn means");
        double original = _config.TryGetDouble("original_max_position_embeddings", 1, 1e9, out double beside) ? beside
            : rope.GetDouble("original_max_position_embeddings", 1, 1e9, _numbers.ContextLength);
        double factor = rope.TryGetDouble("factor", 1e-6, 1e9, out double given) ? given : _numbers.ContextLength / original;
        Put("rope.scaling.type", "yarn");
        Put("rope.scaling.factor", (float)factor);
        Number("rope.scaling.original_context_length", checked((int)original));
        Put("rope.scaling.yarn_beta_fast", rope.GetFloat("beta_fast", 1e-9f, 1e9f, 32));
        Put("rope.scaling.yarn_beta_slow", rope.GetFloat("beta_slow", 1e-9f, 1e9f, 1));
        // The reader multiplies by yarn's own factor.
        double attention = frequencies.AttentionFactor / (0.1 * Math.Log(factor) + 1);
        if (Math.Abs(attention - 1) > 1e-7)
            Put("rope.scaling.attn_factor", (float)attention);
    }

    private void Number(string key, int value) => Put(key, (uint)value);

    private void Put(string key, object value) => _pairs.Add(new($"{_architecture}.{key}", value));
}
