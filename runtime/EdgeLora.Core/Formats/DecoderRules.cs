using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>
/// What every decoder's <c>config.json</c> must obey, whatever the family calls its fields. The limits are far above any published model and low
/// enough that no product of two sizes leaves 64 bits. Source of the names: transformers' configuration classes.
/// </summary>
internal sealed class DecoderRules(HfConfig config)
{
    private const int MaxHidden = 1 << 20, MaxFeedForward = 1 << 24, MaxVocabulary = 1 << 26, MaxLayers = 4096, MaxHeads = 1 << 14, MaxHeadSize = 1 << 14;

    private static readonly string[] Activations =
        ["silu", "swish", "gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh", "gelu_accurate", "quick_gelu", "relu", "relu2", "tanh", "sigmoid", "mish"];

    private static readonly string[] RopeTypes = ["default", "linear", "dynamic", "yarn", "longrope", "su", "llama3"];

    private readonly FaultList _faults = new(config.FilePath);

    public void Check(IReadOnlyCollection<string>? modelTypes, TensorFile? weights)
    {
        CheckType(modelTypes);
        int hidden = Size(MaxHidden, true, "hidden_size", "n_embd", "dim", "d_model");
        int layers = Size(MaxLayers, true, "num_hidden_layers", "n_layer", "n_layers", "num_layers");
        Size(MaxVocabulary, true, "vocab_size");
        Size(MaxFeedForward, false, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "hidden_dim");
        Size(int.MaxValue, false, "max_position_embeddings", "n_positions");
        int headSize = CheckHeads(hidden);
        CheckScalars();
        CheckExperts();
        CheckLayerTypes(layers);
        CheckRope(headSize);
        // Heads and layers are only looked for once the numbers are known to be sane.
        if (weights is not null && _faults.Count == 0)
            CheckWeights(layers, weights);
        _faults.ThrowIfAny();
    }

    private void CheckType(IReadOnlyCollection<string>? modelTypes) => Try(() =>
    {
        string type = config.ModelType;
        if (modelTypes is not null && !modelTypes.Contains(type))
            throw config.Refusal("model_type", "one of " + string.Join(", ", modelTypes.Order(StringComparer.Ordinal)));
        config.TryGetStrings("architectures", out _);
    });

    private int CheckHeads(int hidden)
    {
        string headsName = config.FirstOf("num_attention_heads", "n_head", "n_heads") ?? "num_attention_heads";
        int heads = Size(MaxHeads, true, headsName);
        int groups = Size(MaxHeads, false, "num_key_value_heads", "num_kv_heads", "n_head_kv");
        int headSize = Size(MaxHeadSize, false, "head_dim");
        if (heads > 0 && groups > 0 && (groups > heads || heads % groups != 0))
            _faults.Add($"{config.FirstOf("num_key_value_heads", "num_kv_heads", "n_head_kv")}: expected a divisor of {headsName} {heads}, found {groups}");
        if (headSize > 0 || heads <= 0 || hidden <= 0)
            return headSize;
        if (hidden % heads == 0 && hidden / heads <= MaxHeadSize)
            return hidden / heads;
        if (hidden % heads == 0)
        {
            _faults.Add($"{headsName}: expected heads of at most {MaxHeadSize}, found {heads} in the hidden size {hidden}");
            return -1;
        }
        _faults.Add($"{headsName}: expected a divisor of the hidden size {hidden}, or head_dim; found {heads}");
        return -1;
    }

    private void CheckScalars()
    {
        foreach (string field in (ReadOnlySpan<string>)["rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"])
            Real(config, field, double.Epsilon, 1);
        foreach (string field in (ReadOnlySpan<string>)["logits_scaling", "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping", "rope_local_base_freq", "rotary_emb_base"])
            Real(config, field, double.Epsilon, 1e12);
        foreach (string field in (ReadOnlySpan<string>)["embedding_multiplier", "residual_multiplier", "attention_multiplier", "logit_scale"])
            Real(config, field, -1e12, 1e12);
        foreach (string field in (ReadOnlySpan<string>)["partial_rotary_factor", "rotary_pct"])
            Real(config, field, double.Epsilon, 1);
        foreach (string field in (ReadOnlySpan<string>)["hidden_act", "hidden_activation", "activation_function", "activation"])
            Try(() =>
            {
                if (config.TryGetString(field, out string name) && !Activations.Contains(name))
                    throw config.Refusal(field, "one of " + string.Join(", ", Activations));
            });
        foreach (string field in (ReadOnlySpan<string>)["tie_word_embeddings", "attention_bias", "mlp_bias", "use_sliding_window", "use_parallel_residual", "alibi", "multi_query"])
            Try(() => config.TryGetBool(field, out _));
        foreach (string field in (ReadOnlySpan<string>)["sliding_window", "max_window_layers", "sliding_window_pattern"])
            Try(() => config.TryGetInt(field, 0, int.MaxValue, out _));
    }

    private void CheckExperts()
    {
        Size(MaxFeedForward, false, "moe_intermediate_size");
        int experts = 0, used = 0;
        Try(() => config.TryGetInt(config.FirstOf("num_local_experts", "num_experts") ?? "num_experts", 0, 1 << 16, out experts));
        Try(() => config.TryGetInt("num_experts_per_tok", 0, 1 << 16, out used));
        if (experts > 0 && (used > experts || (used == 0 && config.Has("num_experts_per_tok"))))
            _faults.Add($"num_experts_per_tok: expected 1 to {experts}, found {used}");
    }

    private void CheckLayerTypes(int layers) => Try(() =>
    {
        if (!config.TryGetStrings("layer_types", out IReadOnlyList<string> types))
            return;
        if (layers > 0 && types.Count != layers)
            _faults.Add($"layer_types: expected {layers} entries, one a layer, found {types.Count}");
        foreach (string type in types.Distinct())
            if (type is not ("full_attention" or "sliding_attention"))
                _faults.Add($"layer_types: expected full_attention or sliding_attention, found {type}");
    });

    private void CheckRope(int headSize)
    {
        Real(config, "rope_theta", double.Epsilon, 1e12);
        double part = Share(config) ?? 1;
        foreach (string field in (ReadOnlySpan<string>)["rope_parameters", "rope_scaling"])
            Try(() =>
            {
                if (!config.TryGetObject(field, out HfConfig? rope))
                    return;
                // transformers 5 writes one set of parameters per layer type where they differ.
                string[] sets = [.. rope.Fields.Where(f => rope.KindOf(f) == JsonValueKind.Object)];
                foreach (string set in sets)
                    CheckRopeSet(rope.GetObject(set), headSize, Share(rope.GetObject(set)) ?? part);
                if (sets.Length == 0)
                {
                    part = Share(rope) ?? part;
                    CheckRopeSet(rope, headSize, part);
                }
            });
        // GPT-2, OPT and BERT turn nothing: an odd head is theirs to have.
        bool turns = config.Has("head_dim") || config.Has("rope_theta") || config.Has("rope_parameters") || config.Has("rope_scaling");
        if (turns && headSize > 0 && (int)(headSize * part) % 2 != 0)
            _faults.Add($"head_dim: RoPE turns pairs: expected an even number of turned elements, found {(int)(headSize * part)} of {headSize}");
    }

    private void CheckRopeSet(HfConfig rope, int headSize, double part)
    {
        string field = rope.FirstOf("rope_type", "type") ?? "rope_type", type = "default";
        Try(() =>
        {
            if (rope.TryGetString(field, out type) && !RopeTypes.Contains(type))
                throw rope.Refusal(field, "one of " + string.Join(", ", RopeTypes));
        });
        Real(rope, "rope_theta", double.Epsilon, 1e12);
        Real(rope, "partial_rotary_factor", double.Epsilon, 1);
        Real(rope, "factor", double.Epsilon, 1e6, type is "linear" or "dynamic" or "yarn" or "llama3");
        Real(rope, "attention_factor", double.Epsilon, 1e6);
        Real(rope, "beta_fast", double.Epsilon, 1e6);
        Real(rope, "beta_slow", double.Epsilon, 1e6);
        Try(() => rope.TryGetInt("original_max_position_embeddings", 1, int.MaxValue, out _));
        double low = Real(rope, "low_freq_factor", double.Epsilon, 1e6, type == "llama3"), high = Real(rope, "high_freq_factor", double.Epsilon, 1e6, type == "llama3");
        if (low > 0 && high > 0 && high <= low)
            _faults.Add($"{rope.NameOf("high_freq_factor")}: expected more than low_freq_factor {low}, found {high}");
        if (type is not ("longrope" or "su"))
            return;
        int pairs = headSize > 0 && part is > 0 and <= 1 ? (int)(headSize * part) / 2 : -1;
        foreach (string list in (ReadOnlySpan<string>)["long_factor", "short_factor"])
            Try(() =>
            {
                if (!rope.TryGetDoubles(list, double.Epsilon, 1e9, out IReadOnlyList<double> factors))
                    throw rope.Refusal(list, "a list of numbers");
                if (pairs > 0 && factors.Count != pairs)
                    _faults.Add($"{rope.NameOf(list)}: expected {pairs} numbers, one a turned pair, found {factors.Count}");
            });
    }

    private void CheckWeights(int layers, TensorFile weights)
    {
        int held = 0;
        foreach (string name in weights.Tensors.Keys)
            if (LayerOf(name) is int layer)
                held = Math.Max(held, layer + 1);
        if (held > 0 && held < layers)
            _faults.Add($"num_hidden_layers: expected {held}, the layers in {weights.FilePath}, found {layers}: layers.{held} is missing");
        bool hasHead = config.TryGetStrings("architectures", out IReadOnlyList<string> names)
            && names.Any(n => n.EndsWith("ForCausalLM", StringComparison.Ordinal) || n.EndsWith("LMHeadModel", StringComparison.Ordinal));
        if (hasHead && config.TryGetBool("tie_word_embeddings", out bool tied) && !tied
            && !weights.Tensors.Keys.Any(n => n.Contains("lm_head") || n.Contains("embed_out") || n.EndsWith("output.weight", StringComparison.Ordinal)))
            _faults.Add($"tie_word_embeddings: is false, but {weights.FilePath} has no lm_head.weight");
    }

    private static int? LayerOf(string name)
    {
        string[] parts = name.Split('.');
        for (int i = 0; i + 1 < parts.Length; i++)
            if (parts[i] is "layers" or "h" or "layer" && int.TryParse(parts[i + 1], out int layer) && layer < int.MaxValue)
                return layer;
        return null;
    }

    private double? Share(HfConfig from)
    {
        try
        {
            return from.FirstOf("partial_rotary_factor", "rotary_pct") is string field ? from.GetDouble(field, double.Epsilon, 1) : null;
        }
        catch (ModelFileException)
        {
            // The fault is told where the field itself is checked.
            return null;
        }
    }

    // 0 when absent, -1 when wrong: a rule over several fields speaks only when each of them is right.
    private int Size(int max, bool required, params ReadOnlySpan<string> names)
    {
        string field = config.FirstOf(names) ?? names[0];
        int value = -1;
        bool there = Try(() => value = required ? config.GetInt(field, 1, max) : config.GetInt(field, 1, max, 0));
        return there ? value : -1;
    }

    private double Real(HfConfig from, string field, double min, double max, bool required = false)
    {
        double value = 0;
        Try(() => value = required ? from.GetDouble(field, min, max) : from.GetDouble(field, min, max, 0));
        return value;
    }

    private bool Try(Action check)
    {
        try
        {
            check();
            return true;
        }
        catch (ModelFileException e)
        {
            foreach (string fault in e.Faults)
                _faults.Add(fault);
            return false;
        }
    }
}
