using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>A Hugging Face config as the keys of a GGUF file: what <see cref="GgufConfig"/> reads back, and llama.cpp's converter writes.</summary>
internal sealed partial class GgufMetadata
{
    private readonly List<KeyValuePair<string, object>> _pairs = [];
    private readonly List<Tensor> _tensors = [];
    private readonly List<string> _notes;
    private readonly HfConfig _config;
    private readonly ModelConfig _numbers;
    private readonly string _architecture;

    private GgufMetadata(HfConfig config, ModelConfig numbers, string architecture, List<string> notes) => (_config, _numbers, _architecture, _notes) = (config, numbers, architecture, notes);

    /// <summary>
    /// The keys without the vocabulary, and the tensors of frequencies that they need. Throws <see cref="ModelFileException"/> naming the field that GGUF, or llama.cpp's loader of this architecture, cannot say.
    /// </summary>
    /// <param name="config">The config.</param>
    /// <param name="numbers">What it means.</param>
    /// <param name="architecture"><c>general.architecture</c>.</param>
    /// <param name="name"><c>general.name</c>.</param>
    /// <param name="type">The type of most tensors.</param>
    /// <param name="fold">Whether a factor on scores that the architecture does not have may go into q.</param>
    /// <param name="notes">Told what a reader may compute otherwise.</param>
    public static (List<KeyValuePair<string, object>> Pairs, List<Tensor> Tensors, float QueryFactor) Of(HfConfig config, ModelConfig numbers, string architecture, string name, DType type, bool fold, List<string> notes)
    {
        GgufMetadata metadata = new(config, numbers, architecture, notes);
        metadata._pairs.AddRange([new("general.architecture", architecture), new("general.type", "model"), new("general.name", name),
            new("general.quantization_version", 2u), new("general.file_type", GgufWeightTypes.FileType(type))]);
        metadata.Numbers();
        metadata.Own();
        metadata.Windows();
        if (numbers.Rope is { } rope)
            metadata.Rope(rope);
        return (metadata._pairs, metadata._tensors, metadata.QueryFactor(fold));
    }

    private void Numbers()
    {
        // Command R's config names a shorter one for its table of angles.
        Number("context_length", _architecture == "command-r" ? _config.GetInt("model_max_length", 1, int.MaxValue, _numbers.ContextLength) : _numbers.ContextLength);
        Number("embedding_length", _numbers.HiddenSize);
        Number("block_count", _numbers.Layers);
        Number("feed_forward_length", _numbers.FeedForward);
        Number("attention.head_count", _numbers.Heads);
        Put(NormsByLayer ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", _numbers.NormEpsilon);
        Number("vocab_size", _numbers.Vocabulary);
        if (_architecture is "gpt2" or "gptneox")
            return;
        Number("attention.head_count_kv", _numbers.KvHeads);
        if (_config.Has("head_dim") || _numbers.HeadSize * _numbers.Heads != _numbers.HiddenSize || _architecture is "qwen3" or "qwen3moe" or "gemma2" or "gemma3")
        {
            Number("attention.key_length", _numbers.HeadSize);
            Number("attention.value_length", _numbers.HeadSize);
        }
        if (_architecture is "llama" or "granite" or "smollm3")
            Number("rope.dimension_count", _numbers.HeadSize);
    }

    // Which layers have a window; where all or none do, or as the architecture has them anyway, its size says enough.
    private void Windows()
    {
        int window = _numbers.Windows.Max();
        bool gemma = _architecture is "gemma2" or "gemma3";
        if (window == 0)
        {
            // Phi-4 is told by it; Gemma 2 would get one.
            if (_architecture is "phi3" or "gemma2")
                Number("attention.sliding_window", gemma ? _numbers.ContextLength : 0);
            return;
        }
        Number("attention.sliding_window", window);
        bool[] windowed = Array.ConvertAll(_numbers.Windows, w => w > 0);
        if (!windowed.SequenceEqual(GgufConfig.UsualWindows(_architecture, windowed.Length)))
            Put("attention.sliding_window_pattern", windowed);
        if (!gemma && window < _numbers.ContextLength)
            _notes.Add($"llama.cpp computes {_architecture} without the window of {window} tokens that its attention has here: up to {window} tokens (-c {window}) the numbers are the same");
    }

    private void Rope(RopeFrequencies frequencies)
    {
        HfConfig rope = _config;
        foreach (string field in (ReadOnlySpan<string>)["rope_parameters", "rope_scaling"])
            if (ReferenceEquals(rope, _config) && _config.TryGetObject(field, out HfConfig? section))
                rope = section.TryGetObject("full_attention", out HfConfig? full) ? full : section;
        double absent = _architecture == "gemma3" ? 1e6 : 10000;
        double theta = rope.TryGetDouble("rope_theta", 1, 1e12, out double inner) || _config.TryGetDouble("rope_theta", 1, 1e12, out inner) ? inner : _config.GetDouble("rotary_emb_base", 1, 1e12, absent);
        string type = ReferenceEquals(rope, _config) ? "default" : rope.GetString("rope_type", rope.GetString("type", "default"));
        // Phi-3's first files call longrope by other names.
        if (type == "su" || (type == "yarn" && rope.Has("short_factor")))
            type = "longrope";
        string[] sayable = [.. new[] { "default", "linear", "yarn", "llama3", "longrope" }.Where(IsSayable)];
        if (!sayable.Contains(type))
            throw rope.Refusal(rope.Has("rope_type") ? "rope_type" : "type", $"one that GGUF's {_architecture} has: {string.Join(", ", sayable)}");
        Put("rope.freq_base", (float)theta);
        if (_architecture is "phi3" or "stablelm" or "gptneox")
            Number("rope.dimension_count", 2 * frequencies.Pairs);
        if (_architecture == "phi3")
            Number("rope.scaling.original_context_length", frequencies.Long is not null ? frequencies.Original : _config.GetInt("original_max_position_embeddings", 1, int.MaxValue, _numbers.ContextLength));
        switch (type)
        {
            case "linear":
                Put("rope.scaling.type", "linear");
                Put("rope.scaling.factor", rope.GetFloat("factor", 1e-6f, 1e9f));
                break;
            case "llama3":
                // One divisor a frequency says the same.
                int pairs = frequencies.Pairs;
                Add("rope_freqs.weight", frequencies.Frequencies.Select((f, i) => Math.Pow(theta, -(double)i / pairs) / f));
                break;
            case "yarn":
                Yarn(rope, frequencies);
                break;
            case "longrope":
                Put("rope.scaling.attn_factor", (float)frequencies.AttentionFactor);
                foreach (string kind in (ReadOnlySpan<string>)["long", "short"])
                    Add($"rope_factors_{kind}.weight", rope.TryGetDoubles(kind + "_factor", 1e-9, 1e9, out IReadOnlyList<double> factors) ? factors : throw rope.Refusal(kind + "_factor", "a number for each rotated pair"));
                break;
        }
    }

    // Whether llama.cpp's loader of the architecture takes the tensors, or its layers the factors.
    private bool IsSayable(string type) => type switch
    {
        "llama3" => _architecture is "llama" or "granite",
        "longrope" => _architecture == "phi3",
        "yarn" => _architecture is not ("gemma3" or "phi3"),
        _ => true,
    } && (type == "default" || _architecture != "command-r");

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

    private bool NormsByLayer => _architecture is "gpt2" or "gptneox" or "falcon" or "stablelm" or "starcoder2" or "command-r";

    private void Add(string name, IEnumerable<double> values)
    {
        float[] numbers = [.. values.Select(v => (float)v)];
        _tensors.Add(Tensor.FromFloats(name, new Shape(numbers.Length), numbers));
    }

    private void Number(string key, int value) => Put(key, (uint)value);

    private void Put(string key, object value) => _pairs.Add(new($"{_architecture}.{key}", value));
}
