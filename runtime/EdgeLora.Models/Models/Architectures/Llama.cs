using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Llama and what shares its layout: Mistral (sliding window), SmolLM and TinyLlama (both say llama). arXiv:2302.13971, arXiv:2310.06825.</summary>
public class Llama : IArchitecture
{
    private const int Largest = 1 << 24;

    /// <inheritdoc/>
    public virtual IReadOnlyList<string> ModelTypes => ["llama", "mistral"];

    /// <inheritdoc/>
    public virtual ModelConfig ReadConfig(BaseCheckpoint checkpoint)
    {
        HfConfig c = checkpoint.Config;
        c.ValidateDecoder();
        if (c.GetString("hidden_act", "silu") is not ("silu" or "swish"))
            throw c.Refusal("hidden_act", "silu");
        int hidden = c.GetInt("hidden_size", 1, Largest), heads = c.GetInt("num_attention_heads", 1, Largest), layers = c.GetInt("num_hidden_layers", 1, 4096);
        int headSize = c.TryGetInt("head_dim", 1, Largest, out int named) ? named : hidden / heads;
        int context = c.GetInt("max_position_embeddings", 1, int.MaxValue / 2, 2048);
        return new()
        {
            ModelType = c.ModelType,
            HiddenSize = hidden,
            Layers = layers,
            Heads = heads,
            KvHeads = c.GetInt("num_key_value_heads", 1, Largest, heads),
            HeadSize = headSize,
            FeedForward = c.GetInt("intermediate_size", 1, Largest),
            Vocabulary = c.GetInt("vocab_size", 1, Largest),
            ContextLength = context,
            NormEpsilon = c.GetFloat("rms_norm_eps", 0, 1, 1e-6f),
            TiedHead = c.GetBool("tie_word_embeddings", TiedByDefault),
            Windows = ReadWindows(c, layers),
            AttentionScales = Enumerable.Repeat((float)(1 / Math.Sqrt(headSize)), layers).ToArray(),
            Rotates = Enumerable.Repeat(true, layers).ToArray(),
            Rope = RopeFrequencies.Read(c, headSize, context),
            LayerOrder = Enumerable.Range(0, layers).ToArray(),
            BosId = c.TryGetInt("bos_token_id", 0, Largest, out int bos) ? bos : null,
            EndIds = ReadEndIds(c),
        };
    }

    /// <summary>What an absent tie_word_embeddings means.</summary>
    protected virtual bool TiedByDefault => false;

    /// <summary>Whether q, k and v have biases.</summary>
    protected virtual bool QkvBias(HfConfig config) => config.GetBool("attention_bias", false);

    /// <summary>Whether o has a bias.</summary>
    protected virtual bool OutputBias(HfConfig config) => config.GetBool("attention_bias", false);

    /// <summary>Whether every q and k head is normed before rope.</summary>
    protected virtual bool NormsHeads => false;

    /// <summary>Whether a named sliding_window counts at all.</summary>
    protected virtual bool UsesWindow(HfConfig config) => config.ModelType == "mistral";

    /// <inheritdoc/>
    public DecoderWeights Load(ModelConfig config, SiteBuilder build)
    {
        HfConfig c = build.Checkpoint.Config;
        bool qkvBias = QkvBias(c), oBias = OutputBias(c), mlpBias = c.GetBool("mlp_bias", false);
        int d = config.HiddenSize, q = config.Heads * config.HeadSize, kv = config.KvHeads * config.HeadSize, f = config.FeedForward;
        // Checkpoints saved from the bare model lack the prefix.
        string prefix = build.Store.Has("embed_tokens.weight") ? "" : "model.";
        EmbeddingSite tokens = build.Embedding("model.embed_tokens", prefix + "embed_tokens", config.Vocabulary, d);
        DecoderLayer[] layers = new DecoderLayer[config.Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            string name = $"model.layers.{i}.", stored = $"{prefix}layers.{config.LayerOrder[i]}.";
            LinearSite Linear(string part, int outputs, int inputs, bool bias, int heads = 0) => build.Linear(name + part, stored + part, outputs, inputs, bias, rotatedHeads: heads);
            NormSite Norm(string part, int width) => build.Norm(name + part, stored + part, width, config.NormEpsilon);
            layers[i] = new()
            {
                AttentionNorm = Norm("input_layernorm", d),
                Q = Linear("self_attn.q_proj", q, d, qkvBias, config.Heads),
                K = Linear("self_attn.k_proj", kv, d, qkvBias, config.KvHeads),
                V = Linear("self_attn.v_proj", kv, d, qkvBias),
                QNorm = NormsHeads ? Norm("self_attn.q_norm", config.HeadSize) : null,
                KNorm = NormsHeads ? Norm("self_attn.k_norm", config.HeadSize) : null,
                O = Linear("self_attn.o_proj", d, q, oBias),
                FeedForwardNorm = Norm("post_attention_layernorm", d),
                Gate = Linear("mlp.gate_proj", f, d, mlpBias),
                Up = Linear("mlp.up_proj", f, d, mlpBias),
                Down = Linear("mlp.down_proj", d, f, mlpBias),
            };
        }
        NormSite norm = build.Norm("model.norm", prefix + "norm", d, config.NormEpsilon);
        LinearSite head = config.TiedHead ? build.Tied("lm_head", tokens.Table) : build.Linear("lm_head", "lm_head", config.Vocabulary, d, bias: false);
        return new(tokens, null, layers, norm, head, LayerNorm: false, Activation.Gelu);
    }

    /// <summary>eos_token_id as a number or a list.</summary>
    public static IReadOnlyList<int> ReadEndIds(HfConfig config) =>
        config.KindOf("eos_token_id") == System.Text.Json.JsonValueKind.Array && config.TryGetInts("eos_token_id", 0, Largest, out IReadOnlyList<int> many) ? many
        : config.KindOf("eos_token_id") == System.Text.Json.JsonValueKind.Number && config.TryGetInt("eos_token_id", 0, Largest, out int one) ? [one] : [];

    // layer_types decides where it is present; else all layers, or those from max_window_layers on.
    private int[] ReadWindows(HfConfig c, int layers)
    {
        int[] windows = new int[layers];
        if (!UsesWindow(c) || !c.TryGetInt("sliding_window", 1, int.MaxValue, out int window))
            return windows;
        int from = c.GetInt("max_window_layers", 0, int.MaxValue, 0);
        bool typed = c.TryGetStrings("layer_types", out IReadOnlyList<string> types) && types.Count == layers;
        for (int i = 0; i < layers; i++)
            windows[i] = (typed ? types[i] == "sliding_attention" : i >= from) ? window : 0;
        return windows;
    }
}
