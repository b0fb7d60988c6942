using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>OPT: learned positions from row 2 on, ReLU, biases; OPT-350m has its norms after the sums, no last one, and narrower embeddings. arXiv:2205.01068.</summary>
public sealed class Opt : IArchitecture
{
    private const int Largest = 1 << 24, FirstPosition = 2;

    /// <inheritdoc/>
    public IReadOnlyList<string> ModelTypes => ["opt"];

    /// <inheritdoc/>
    public ModelConfig ReadConfig(BaseCheckpoint checkpoint)
    {
        HfConfig c = checkpoint.Config;
        c.ValidateDecoder();
        int hidden = c.GetInt("hidden_size", 1, Largest), heads = c.GetInt("num_attention_heads", 1, Largest), layers = c.GetInt("num_hidden_layers", 1, 4096);
        if (hidden % heads != 0)
            throw c.Refusal("num_attention_heads", $"a divisor of hidden_size {hidden}");
        if (!c.GetBool("layer_norm_elementwise_affine", true))
            throw c.Refusal("layer_norm_elementwise_affine", "true");
        return new()
        {
            ModelType = c.ModelType,
            HiddenSize = hidden,
            EmbeddingSize = c.GetInt("word_embed_proj_dim", 1, Largest, hidden),
            Layers = layers,
            Heads = heads,
            KvHeads = heads,
            HeadSize = hidden / heads,
            FeedForward = c.GetInt("ffn_dim", 1, Largest),
            Vocabulary = c.GetInt("vocab_size", 1, Largest),
            ContextLength = c.GetInt("max_position_embeddings", 1, int.MaxValue / 2, 2048),
            // The reference's default for a LayerNorm: no field names it.
            NormEpsilon = 1e-5f,
            TiedHead = c.GetBool("tie_word_embeddings", true),
            Windows = new int[layers],
            AttentionScales = Enumerable.Repeat((float)(1 / Math.Sqrt(hidden / heads)), layers).ToArray(),
            Rotates = new bool[layers],
            LayerOrder = Enumerable.Range(0, layers).ToArray(),
            BosId = c.TryGetInt("bos_token_id", 0, Largest, out int bos) ? bos : null,
            EndIds = Llama.ReadEndIds(c),
        };
    }

    /// <inheritdoc/>
    public DecoderWeights Load(ModelConfig config, SiteBuilder build)
    {
        HfConfig c = build.Checkpoint.Config;
        int d = config.HiddenSize, e = config.EmbeddingSize, f = config.FeedForward;
        bool bias = c.GetBool("enable_bias", true), before = c.GetBool("do_layer_norm_before", true);
        const string Name = "model.decoder.";
        string prefix = build.Store.Has("decoder.embed_tokens.weight") ? "decoder." : Name;
        EmbeddingSite tokens = build.Embedding(Name + "embed_tokens", prefix + "embed_tokens", config.Vocabulary, e);
        EmbeddingSite positions = build.Embedding(Name + "embed_positions", prefix + "embed_positions", config.ContextLength + FirstPosition, d);
        LinearSite? projectIn = e == d ? null : build.Linear(Name + "project_in", prefix + "project_in", d, e, bias: false);
        DecoderLayer[] layers = new DecoderLayer[config.Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            LayerSites sites = new(build, config, $"{Name}layers.{i}.", $"{prefix}layers.{config.LayerOrder[i]}.", config.LayerOrder[i]);
            NormSite attention = sites.Norm("self_attn_layer_norm", d, bias: true), last = sites.Norm("final_layer_norm", d, bias: true);
            layers[i] = new()
            {
                AttentionNorm = before ? attention : null,
                AttentionSumNorm = before ? null : attention,
                Q = sites.Linear("self_attn.q_proj", d, d, bias),
                K = sites.Linear("self_attn.k_proj", d, d, bias),
                V = sites.Linear("self_attn.v_proj", d, d, bias),
                O = sites.Linear("self_attn.out_proj", d, d, bias),
                FeedForwardNorm = before ? last : null,
                FeedForwardSumNorm = before ? null : last,
                Up = sites.Linear("fc1", f, d, bias),
                Down = sites.Linear("fc2", d, f, bias),
            };
        }
        bool final = before && !c.GetBool("_remove_final_layer_norm", false);
        NormSite? norm = final ? build.Norm(Name + "final_layer_norm", prefix + "final_layer_norm", d, config.NormEpsilon, bias: true) : null;
        LinearSite? projectOut = e == d ? null : build.Linear(Name + "project_out", prefix + "project_out", e, d, bias: false);
        LinearSite head = config.TiedHead ? build.Tied("lm_head", tokens.Table) : build.Linear("lm_head", "lm_head", config.Vocabulary, e, bias: false);
        return new(tokens, positions, layers, norm, head, LayerNorm: true, HfActivation.Read(c, "activation_function", "relu"))
        {
            FirstPosition = FirstPosition,
            ProjectIn = projectIn,
            ProjectOut = projectOut,
        };
    }
}
