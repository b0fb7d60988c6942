using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Falcon, in three layouts: new_decoder_architecture (40b, 11b: a key/value head follows its group of queries), multi_query (7b: one key/value head behind all queries), neither (rw: q, k, v of a head side by side, with ALiBi
/// and one block after the other). arXiv:2311.16867.
/// </summary>
public sealed class Falcon : IArchitecture
{
    private const int Largest = 1 << 24;

    /// <inheritdoc/>
    public IReadOnlyList<string> ModelTypes => ["falcon"];

    /// <inheritdoc/>
    public ModelConfig ReadConfig(BaseCheckpoint checkpoint)
    {
        HfConfig c = checkpoint.Config;
        c.ValidateDecoder();
        int hidden = c.GetInt("hidden_size", 1, Largest), heads = c.GetInt(c.FirstOf("num_attention_heads", "n_head") ?? "num_attention_heads", 1, Largest);
        int layers = c.GetInt(c.FirstOf("num_hidden_layers", "n_layer") ?? "num_hidden_layers", 1, 4096);
        if (hidden % heads != 0)
            throw c.Refusal("num_attention_heads", $"a divisor of hidden_size {hidden}");
        int headSize = hidden / heads, context = c.GetInt("max_position_embeddings", 1, int.MaxValue / 2, 2048);
        int groups = c.GetInt(c.FirstOf("num_kv_heads", "n_head_kv") ?? "num_kv_heads", 1, heads, heads);
        // Whichever is not the new architecture has one key/value head, or as many as queries.
        int kvHeads = IsNew(c) ? groups : c.GetBool("multi_query", true) ? 1 : heads;
        if (heads % kvHeads != 0)
            throw c.Refusal("num_kv_heads", $"a divisor of {heads} heads");
        bool alibi = c.GetBool("alibi", false);
        return new()
        {
            ModelType = c.ModelType,
            HiddenSize = hidden,
            Layers = layers,
            Heads = heads,
            KvHeads = kvHeads,
            HeadSize = headSize,
            FeedForward = c.GetInt("ffn_hidden_size", 1, Largest, 4 * hidden),
            Vocabulary = c.GetInt("vocab_size", 1, Largest),
            ContextLength = context,
            NormEpsilon = c.GetFloat("layer_norm_epsilon", 0, 1, 1e-5f),
            TiedHead = c.GetBool("tie_word_embeddings", true),
            Windows = new int[layers],
            AttentionScales = Enumerable.Repeat((float)(1 / Math.Sqrt(headSize)), layers).ToArray(),
            Rotates = Enumerable.Repeat(!alibi, layers).ToArray(),
            Alibi = alibi,
            Rope = alibi ? null : RopeFrequencies.Read(c, headSize, context),
            LayerOrder = Enumerable.Range(0, layers).ToArray(),
            BosId = c.TryGetInt("bos_token_id", 0, Largest, out int bos) ? bos : null,
            EndIds = Llama.ReadEndIds(c),
        };
    }

    /// <inheritdoc/>
    public DecoderWeights Load(ModelConfig config, SiteBuilder build)
    {
        HfConfig c = build.Checkpoint.Config;
        int d = config.HiddenSize, f = config.FeedForward;
        bool bias = c.GetBool("bias", false), isNew = IsNew(c), parallel = c.GetBool("parallel_attn", true) || isNew;
        if (isNew && !c.GetBool("parallel_attn", true))
            throw c.Refusal("parallel_attn", "true with new_decoder_architecture");
        bool two = isNew && c.GetInt("num_ln_in_parallel_attn", 1, 2, 2) == 2;
        string prefix = build.Store.Has("word_embeddings.weight") ? "" : "transformer.";
        EmbeddingSite tokens = build.Embedding("transformer.word_embeddings", prefix + "word_embeddings", config.Vocabulary, d);
        DecoderLayer[] layers = new DecoderLayer[config.Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            LayerSites sites = new(build, config, $"transformer.h.{i}.", $"{prefix}h.{config.LayerOrder[i]}.", config.LayerOrder[i]);
            NormSite before = sites.Norm(two ? "ln_attn" : "input_layernorm", d, bias: true);
            // One key/value head: all queries stand before it, which is one piece.
            (LinearSite qkv, int pieces) = sites.Qkv("self_attention.query_key_value", bias, config.KvHeads);
            layers[i] = new()
            {
                AttentionNorm = before,
                Qkv = qkv,
                QkvPieces = pieces,
                O = sites.Linear("self_attention.dense", d, sites.Query, bias),
                Parallel = parallel,
                FeedForwardNorm = two ? sites.Norm("ln_mlp", d, bias: true) : parallel ? null : sites.Norm("post_attention_layernorm", d, bias: true),
                Up = sites.Linear("mlp.dense_h_to_4h", f, d, bias),
                Down = sites.Linear("mlp.dense_4h_to_h", d, f, bias),
            };
        }
        NormSite norm = build.Norm("transformer.ln_f", prefix + "ln_f", d, config.NormEpsilon, bias: true);
        LinearSite head = config.TiedHead ? build.Tied("lm_head", tokens.Table) : build.Linear("lm_head", "lm_head", config.Vocabulary, d, bias: false);
        return new(tokens, null, layers, norm, head, LayerNorm: true, HfActivation.Read(c, "activation", "gelu"))
        {
            Slopes = config.Alibi ? build.Computed("alibi slopes", Alibi.Slopes(config.Heads)) : null,
        };
    }

    private static bool IsNew(HfConfig c) => c.GetBool("new_decoder_architecture", false);
}
