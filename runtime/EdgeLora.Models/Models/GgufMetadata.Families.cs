using EdgeLora.Core;

namespace EdgeLora.Models;

// What single architectures have of their own, and what llama.cpp's loader of each takes for granted: src/models/*.cpp, conversion/*.py of llama.cpp.
internal sealed partial class GgufMetadata
{
    /// <summary>Whether a file of this architecture has to hold a head: llama.cpp does not tie these.</summary>
    public static bool NeedsHead(string architecture) => architecture is "gptneox" or "stablelm" or "olmo2" or "qwen2moe";

    private void Own()
    {
        bool outputBias = _architecture is "llama" or "granite" or "qwen2" or "qwen2moe";
        if (!outputBias && _architecture is not ("gptneox" or "gpt2" or "falcon") && _config.GetBool("attention_bias", false))
            throw Refused("attention_bias", "false");
        if (_architecture is not ("llama" or "granite") && _config.GetBool("mlp_bias", false))
            throw Refused("mlp_bias", "false");
        if (_architecture is "qwen2" or "qwen2moe" or "phi3" or "starcoder2" or "stablelm" or "olmo2" or "command-r" && _numbers.HeadSize * _numbers.Heads != _numbers.HiddenSize)
            throw Refused("head_dim", $"hidden_size over num_attention_heads, {_numbers.HiddenSize / _numbers.Heads}");
        switch (_architecture)
        {
            case "gpt2":
                if (_config.GetString("activation_function", "gelu_new") is not ("gelu_new" or "gelu_pytorch_tanh"))
                    throw Refused("activation_function", "gelu_new");
                if (_config.GetBool("scale_attn_by_inverse_layer_idx", false) || !_config.GetBool("scale_attn_weights", true))
                    throw Refused("scale_attn_weights", "true, and scale_attn_by_inverse_layer_idx false");
                return;
            case "gptneox":
                Gelu("hidden_act", "gelu", Activation.Gelu);
                if (!_config.GetBool("attention_bias", true))
                    throw Refused("attention_bias", "true");
                Put("use_parallel_residual", _config.GetBool("use_parallel_residual", true));
                return;
            case "falcon":
                Falcon();
                return;
            case "starcoder2":
                Gelu("hidden_act", "gelu_pytorch_tanh", Activation.GeluTanh);
                if (!_config.GetBool("use_bias", true))
                    throw Refused("use_bias", "true");
                return;
            case "gemma2" or "gemma3":
                Gemma();
                return;
        }
        if (HfActivation.Read(_config, "hidden_act", "silu") != Activation.Silu)
            throw Refused("hidden_act", "silu");
        switch (_architecture)
        {
            case "granite":
                Granite();
                break;
            case "stablelm":
                Put("use_parallel_residual", _config.GetBool("use_parallel_residual", false));
                break;
            case "command-r":
                if (!_numbers.TiedHead)
                    throw Refused("tie_word_embeddings", "true");
                // Norms of heads go by the depth there: Command R+ has them.
                if (_config.GetBool("use_qk_norm", false) != _numbers.Layers >= 64)
                    throw Refused("use_qk_norm", $"{(_numbers.Layers >= 64 ? "true" : "false")} for {_numbers.Layers} layers");
                Put("logit_scale", _numbers.LogitScale);
                Put("rope.scaling.type", "none");
                break;
            case "smollm3":
                if (Enumerable.Range(0, _numbers.Layers).Any(i => _numbers.Rotates[i] == ((i + 1) % 4 == 0)))
                    throw Refused(_config.Has("no_rope_layers") ? "no_rope_layers" : "no_rope_layer_interval", "every fourth layer without rotation");
                break;
            case "qwen2moe" or "qwen3moe":
                QwenMoe();
                break;
            case "llama" when _config.ModelType == "mixtral":
                int experts = _config.GetInt("num_local_experts", 1, 1 << 12, 8);
                Number("expert_count", experts);
                Number("expert_used_count", _config.GetInt("num_experts_per_tok", 1, experts, Math.Min(2, experts)));
                break;
        }
    }

    private void Granite()
    {
        // Zero stands for an absent one there.
        foreach ((string key, string field, float value) in (ReadOnlySpan<(string, string, float)>)[
            ("attention.scale", "attention_multiplier", _numbers.AttentionScales[0]), ("embedding_scale", "embedding_multiplier", _numbers.EmbeddingScale),
            ("residual_scale", "residual_multiplier", _numbers.ResidualScale), ("logit_scale", "logits_scaling", _config.GetFloat("logits_scaling", 1e-12f, 1e12f, 1))])
        {
            if (value == 0)
                throw Refused(field, "another number than 0");
            Put(key, value);
        }
    }

    private void Falcon()
    {
        bool isNew = _config.GetBool("new_decoder_architecture", false);
        if (_config.GetBool("alibi", false))
            throw Refused("alibi", "false");
        if (_config.GetBool("bias", false))
            throw Refused("bias", "false");
        if (!isNew && !_config.GetBool("parallel_attn", true))
            throw Refused("parallel_attn", "true");
        Gelu("activation", "gelu", Activation.Gelu);
        Put("tensor_data_layout", "jploski");
    }

    private void Gemma()
    {
        if (HfActivation.Read(_config, "hidden_activation", "gelu_pytorch_tanh") != Activation.GeluTanh)
            throw Refused("hidden_activation", "gelu_pytorch_tanh");
        if (_architecture == "gemma2")
        {
            if (!_numbers.TiedHead)
                throw Refused("tie_word_embeddings", "true");
            if (_numbers.ScoreCap == 0 || _numbers.LogitCap == 0)
                throw Refused(_numbers.ScoreCap == 0 ? "attn_logit_softcapping" : "final_logit_softcapping", "a number");
            Put("attn_logit_softcapping", _numbers.ScoreCap);
            Put("final_logit_softcapping", _numbers.LogitCap);
            return;
        }
        if (_numbers.ScoreCap != 0)
            throw Refused("attn_logit_softcapping", "null");
        if (_numbers.LogitCap != 0)
            Put("final_logit_softcapping", _numbers.LogitCap);
        if (_numbers.WindowRope is not { } local)
            return;
        double theta = LocalTheta();
        if (local.AttentionFactor != 1 || !local.Frequencies.SequenceEqual(RopeFrequencies.Powers(theta, _numbers.HeadSize)))
            throw Refused("rope_parameters.sliding_attention", "rope_type default");
        Put("rope.freq_base_swa", (float)theta);
    }

    // Gemma's scores are scaled by a number that files do not hold: llama.cpp goes by the depth.
    private float QueryFactor(bool fold)
    {
        if (_architecture is not ("gemma2" or "gemma3"))
            return 1;
        const string Field = "query_pre_attn_scalar";
        double scalar = _config.GetDouble(Field, 1e-6, 1e12, 256), usual = GgufConfig.ScoreScalar(_architecture, _numbers.Layers, _numbers.HiddenSize, _numbers.Heads, _numbers.HeadSize);
        if (scalar == usual)
            return 1;
        if (!fold)
            throw _config.Refusal(Field, $"{usual}, which GGUF's {_architecture} means; --fold multiplies the difference into {(_architecture == "gemma3" ? "q's norms" : "q")}, which rounds every number there once");
        _notes.Add($"{Field} {scalar} is multiplied into {(_architecture == "gemma3" ? "q's norms" : "q, and adapters on q_proj no longer fit")}: GGUF's {_architecture} means {usual}");
        return (float)Math.Sqrt(usual / scalar);
    }

    private double LocalTheta()
    {
        const double Absent = 1e4;
        return !_config.TryGetObject("rope_parameters", out HfConfig? sets) || !sets.TryGetObject("sliding_attention", out HfConfig? section) ? _config.GetDouble("rope_local_base_freq", 1, 1e12, Absent)
            : section.TryGetDouble("rope_theta", 1, 1e12, out double inner) ? inner : _config.GetDouble("rope_theta", 1, 1e12, Absent);
    }

    private void QwenMoe()
    {
        string field = _config.FirstOf("num_experts", "num_local_experts") ?? "num_experts";
        int experts = _config.GetInt(field, 0, 1 << 12);
        if (experts == 0)
            throw Refused(field, "1 or more");
        // There every layer is a mixture, and the sum of weights goes by the architecture.
        if (_config.TryGetInts("mlp_only_layers", 0, int.MaxValue, out IReadOnlyList<int> dense) && dense.Any(i => i < _numbers.Layers))
            throw Refused("mlp_only_layers", "[]");
        if (_config.GetInt("decoder_sparse_step", 1, int.MaxValue, 1) != 1)
            throw Refused("decoder_sparse_step", "1");
        bool normalised = _architecture == "qwen3moe";
        if (_config.GetBool("norm_topk_prob", false) != normalised)
            throw Refused("norm_topk_prob", normalised ? "true" : "false");
        Number("expert_count", experts);
        Number("expert_used_count", _config.GetInt("num_experts_per_tok", 1, experts));
        Number("expert_feed_forward_length", _config.GetInt("moe_intermediate_size", 1, int.MaxValue));
        if (!normalised)
            Number("expert_shared_feed_forward_length", _config.GetInt("shared_expert_intermediate_size", 1, int.MaxValue, 5632));
    }

    // The files do not say which of two GELUs they are for: they differ by about 2e-4.
    private void Gelu(string field, string absent, Activation readBack)
    {
        Activation found = HfActivation.Read(_config, field, absent);
        if (found is not (Activation.Gelu or Activation.GeluTanh))
            throw Refused(field, "a GELU");
        if (found != readBack)
            _notes.Add($"{field} is {_config.GetString(field, absent)}, which GGUF's {_architecture} has no key for: readers may compute the other GELU");
    }

    private ModelFileException Refused(string field, string expected) => _config.Refusal(field, $"{expected}, which GGUF's {_architecture} means");
}
