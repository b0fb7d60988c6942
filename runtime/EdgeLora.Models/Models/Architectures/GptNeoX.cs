using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>GPT-NeoX and Pythia: q, k, v of a head side by side, a part of each head rotated, two norms of one input in parallel, GELU. arXiv:2204.06745.</summary>
public sealed class GptNeoX : IArchitecture
{
    private const int Largest = 1 << 24;

    /// <inheritdoc/>
    public IReadOnlyList<string> ModelTypes => ["gpt_neox"];

    /// <inheritdoc/>
    public ModelConfig ReadConfig(BaseCheckpoint checkpoint)
    {
        HfConfig c = checkpoint.Config;
        c.ValidateDecoder();
        int hidden = c.GetInt("hidden_size", 1, Largest), heads = c.GetInt("num_attention_heads", 1, Largest), layers = c.GetInt("num_hidden_layers", 1, 4096);
        if (hidden % heads != 0)
            throw c.Refusal("num_attention_heads", $"a divisor of hidden_size {hidden}");
        int headSize = hidden / heads, context = c.GetInt("max_position_embeddings", 1, int.MaxValue / 2, 2048);
        return new()
        {
            ModelType = c.ModelType,
            HiddenSize = hidden,
            Layers = layers,
            Heads = heads,
            KvHeads = heads,
            HeadSize = headSize,
            FeedForward = c.GetInt("intermediate_size", 1, Largest),
            Vocabulary = c.GetInt("vocab_size", 1, Largest),
            ContextLength = context,
            NormEpsilon = c.GetFloat("layer_norm_eps", 0, 1, 1e-5f),
            TiedHead = c.GetBool("tie_word_embeddings", false),
            Windows = new int[layers],
            AttentionScales = Enumerable.Repeat((float)(1 / Math.Sqrt(headSize)), layers).ToArray(),
            Rotates = Enumerable.Repeat(true, layers).ToArray(),
            Rope = RopeFrequencies.Read(c, RopeFrequencies.RotatedSize(c, headSize, 0.25), context),
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
        bool bias = c.GetBool("attention_bias", true), parallel = c.GetBool("use_parallel_residual", true);
        string prefix = build.Store.Has("embed_in.weight") ? "" : "gpt_neox.";
        EmbeddingSite tokens = build.Embedding("gpt_neox.embed_in", prefix + "embed_in", config.Vocabulary, d);
        DecoderLayer[] layers = new DecoderLayer[config.Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            LayerSites sites = new(build, config, $"gpt_neox.layers.{i}.", $"{prefix}layers.{config.LayerOrder[i]}.", config.LayerOrder[i]);
            NormSite before = sites.Norm("input_layernorm", d, bias: true);
            (LinearSite qkv, int pieces) = sites.Qkv("attention.query_key_value", bias, config.Heads);
            layers[i] = new()
            {
                AttentionNorm = before,
                Qkv = qkv,
                QkvPieces = pieces,
                O = sites.Linear("attention.dense", d, d, bias),
                Parallel = parallel,
                FeedForwardNorm = sites.Norm("post_attention_layernorm", d, bias: true),
                Up = sites.Linear("mlp.dense_h_to_4h", f, d, bias: true),
                Down = sites.Linear("mlp.dense_4h_to_h", d, f, bias: true),
            };
        }
        NormSite norm = build.Norm("gpt_neox.final_layer_norm", prefix + "final_layer_norm", d, config.NormEpsilon, bias: true);
        LinearSite head = config.TiedHead ? build.Tied("embed_out", tokens.Table) : build.Linear("embed_out", "embed_out", config.Vocabulary, d, bias: false);
        return new(tokens, null, layers, norm, head, LayerNorm: true, HfActivation.Read(c, "hidden_act", "gelu"));
    }
}
