using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Llama and what shares its layout: Mistral (sliding window), SmolLM and TinyLlama (both say llama). arXiv:2302.13971, arXiv:2310.06825.</summary>
public class Llama : IArchitecture
{
    /// <summary>The largest size that is read.</summary>
    protected const int Largest = 1 << 24;

    /// <inheritdoc/>
    public virtual IReadOnlyList<string> ModelTypes => ["llama", "mistral"];

    /// <inheritdoc/>
    public virtual ModelConfig ReadConfig(BaseCheckpoint checkpoint)
    {
        HfConfig c = checkpoint.Config;
        c.ValidateDecoder();
        int hidden = c.GetInt("hidden_size", 1, Largest), heads = c.GetInt("num_attention_heads", 1, Largest), layers = c.GetInt("num_hidden_layers", 1, 4096);
        int headSize = c.TryGetInt("head_dim", 1, Largest, out int named) ? named : hidden / heads;
        int context = c.GetInt("max_position_embeddings", 1, int.MaxValue / 2, DefaultContext);
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
            NormEpsilon = c.GetFloat(NormEpsilon.Field, 0, 1, NormEpsilon.Absent),
            TiedHead = c.GetBool("tie_word_embeddings", TiedByDefault),
            Windows = ReadWindows(c, layers),
            AttentionScales = Enumerable.Repeat((float)(1 / Math.Sqrt(headSize)), layers).ToArray(),
            Rotates = Enumerable.Repeat(true, layers).ToArray(),
            Rope = ReadRope(c, headSize, context),
            LayerOrder = Enumerable.Range(0, layers).ToArray(),
            BosId = c.TryGetInt("bos_token_id", 0, Largest, out int bos) ? bos : null,
            EndIds = ReadEndIds(c),
        };
    }

    /// <summary>What an absent tie_word_embeddings means.</summary>
    protected virtual bool TiedByDefault => false;

    /// <summary>What an absent max_position_embeddings means.</summary>
    protected virtual int DefaultContext => 2048;

    /// <summary>Where the norms' epsilon stands and what it is when it does not.</summary>
    protected virtual (string Field, float Absent) NormEpsilon => ("rms_norm_eps", 1e-6f);

    /// <summary>LayerNorm instead of RMSNorm.</summary>
    protected virtual bool LayerNorms => false;

    /// <summary>Whether the norms of the stream have biases.</summary>
    protected virtual bool NormBias => false;

    /// <summary>Added to every norm's gain.</summary>
    protected virtual float NormOffset => 0;

    /// <summary>Whether q, k and v have biases.</summary>
    protected virtual bool QkvBias(HfConfig config) => config.GetBool("attention_bias", false);

    /// <summary>Whether o has a bias.</summary>
    protected virtual bool OutputBias(HfConfig config) => config.GetBool("attention_bias", false);

    /// <summary>Whether every q and k head is normed before rope.</summary>
    protected virtual bool NormsHeads => false;

    /// <summary>Whether a named sliding_window counts at all.</summary>
    protected virtual bool UsesWindow(HfConfig config) => config.ModelType == "mistral";

    /// <summary>The nonlinearity of the feed-forward.</summary>
    protected virtual Activation ReadActivation(HfConfig config) => HfActivation.Read(config, "hidden_act", "silu");

    /// <summary>Rotary frequencies.</summary>
    protected virtual RopeFrequencies ReadRope(HfConfig config, int headSize, int context) => RopeFrequencies.Read(config, headSize, context);

    /// <inheritdoc/>
    public DecoderWeights Load(ModelConfig config, SiteBuilder build)
    {
        int d = config.HiddenSize;
        // Checkpoints saved from the bare model lack the prefix.
        string prefix = build.Store.Has("embed_tokens.weight") ? "" : "model.";
        EmbeddingSite tokens = build.Embedding("model.embed_tokens", prefix + "embed_tokens", config.Vocabulary, d);
        DecoderLayer[] layers = new DecoderLayer[config.Layers];
        for (int i = 0; i < layers.Length; i++)
            layers[i] = LoadLayer(new(build, config, $"model.layers.{i}.", $"{prefix}layers.{config.LayerOrder[i]}.", config.LayerOrder[i]));
        NormSite norm = build.Norm("model.norm", prefix + "norm", d, config.NormEpsilon, NormBias, offset: NormOffset);
        LinearSite head = config.TiedHead ? build.Tied("lm_head", tokens.Table) : build.Linear("lm_head", "lm_head", config.Vocabulary, d, bias: false);
        return new(tokens, null, layers, norm, head, LayerNorms, ReadActivation(build.Checkpoint.Config));
    }

    /// <summary>Takes one layer.</summary>
    protected virtual DecoderLayer LoadLayer(LayerSites sites)
    {
        NormSite before = StreamNorm(sites, "input_layernorm");
        return LoadFeedForward(sites, LoadAttention(sites) with { AttentionNorm = before, FeedForwardNorm = StreamNorm(sites, "post_attention_layernorm") });
    }

    /// <summary>A norm of the stream, [D].</summary>
    protected NormSite StreamNorm(LayerSites sites, string part) => sites.Norm(part, sites.Config.HiddenSize, NormBias, offset: NormOffset);

    /// <summary>Takes q, k, v, their norms and o.</summary>
    protected DecoderLayer LoadAttention(LayerSites sites)
    {
        int d = sites.Config.HiddenSize, size = sites.Config.HeadSize;
        bool bias = QkvBias(sites.Hf);
        // A GGUF permutes rows only where a checkpoint's halves are rotated.
        bool halves = sites.Config.Pairs is null;
        return new()
        {
            Q = sites.Linear("self_attn.q_proj", sites.Query, d, bias, halves ? sites.Config.Heads : 0),
            K = sites.Linear("self_attn.k_proj", sites.KeyValue, d, bias, halves ? sites.Config.KvHeads : 0),
            V = sites.Linear("self_attn.v_proj", sites.KeyValue, d, bias),
            QNorm = NormsHeads ? sites.Norm("self_attn.q_norm", size, offset: NormOffset) : null,
            KNorm = NormsHeads ? sites.Norm("self_attn.k_norm", size, offset: NormOffset) : null,
            O = sites.Linear("self_attn.o_proj", d, sites.Query, OutputBias(sites.Hf)),
        };
    }

    /// <summary>Takes gate, up and down.</summary>
    protected virtual DecoderLayer LoadFeedForward(LayerSites sites, DecoderLayer layer)
    {
        int d = sites.Config.HiddenSize, f = sites.Config.FeedForward;
        bool bias = sites.Hf.GetBool("mlp_bias", false);
        return layer with
        {
            Gate = sites.Linear("mlp.gate_proj", f, d, bias),
            Up = sites.Linear("mlp.up_proj", f, d, bias),
            Down = sites.Linear("mlp.down_proj", d, f, bias),
        };
    }

    /// <summary>eos_token_id as a number or a list.</summary>
    public static IReadOnlyList<int> ReadEndIds(HfConfig config) =>
        config.KindOf("eos_token_id") == System.Text.Json.JsonValueKind.Array && config.TryGetInts("eos_token_id", 0, Largest, out IReadOnlyList<int> many) ? many
        : config.KindOf("eos_token_id") == System.Text.Json.JsonValueKind.Number && config.TryGetInt("eos_token_id", 0, Largest, out int one) ? [one] : [];

    /// <summary>Each layer's window: layer_types decides where it is present; else all layers, or those from max_window_layers on.</summary>
    protected virtual int[] ReadWindows(HfConfig c, int layers)
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
