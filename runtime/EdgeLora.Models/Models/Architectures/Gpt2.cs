using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>GPT-2: learned positions, LayerNorm, q|k|v side by side in a Conv1D ([in, out]), plain GELU feed-forward, tied head.</summary>
public sealed class Gpt2 : IArchitecture
{
    private const int Largest = 1 << 24;

    /// <inheritdoc/>
    public IReadOnlyList<string> ModelTypes => ["gpt2"];

    /// <inheritdoc/>
    public bool ScalesResidualStart => true;

    /// <inheritdoc/>
    public ModelConfig ReadConfig(BaseCheckpoint checkpoint)
    {
        HfConfig c = checkpoint.Config;
        c.ValidateDecoder();
        if (c.GetBool("add_cross_attention", false))
            throw c.Refusal("add_cross_attention", "false");
        int hidden = c.GetInt("n_embd", 1, Largest), heads = c.GetInt("n_head", 1, Largest), layers = c.GetInt("n_layer", 1, 4096);
        if (hidden % heads != 0)
            throw c.Refusal("n_head", $"a divisor of n_embd {hidden}");
        bool byLayer = c.GetBool("scale_attn_by_inverse_layer_idx", false), scaled = c.GetBool("scale_attn_weights", true);
        return new()
        {
            ModelType = c.ModelType,
            HiddenSize = hidden,
            Layers = layers,
            Heads = heads,
            KvHeads = heads,
            HeadSize = hidden / heads,
            FeedForward = c.GetInt("n_inner", 1, Largest, 4 * hidden),
            Vocabulary = c.GetInt("vocab_size", 1, Largest),
            ContextLength = c.GetInt("n_positions", 1, int.MaxValue / 2, c.GetInt("n_ctx", 1, int.MaxValue / 2, 1024)),
            NormEpsilon = c.GetFloat("layer_norm_epsilon", 0, 1, 1e-5f),
            TiedHead = c.GetBool("tie_word_embeddings", true),
            Windows = new int[layers],
            AttentionScales = Enumerable.Range(0, layers).Select(i => (float)((scaled ? 1 / Math.Sqrt(hidden / heads) : 1) / (byLayer ? i + 1 : 1))).ToArray(),
            Rotates = new bool[layers],
            LayerOrder = Enumerable.Range(0, layers).ToArray(),
            BosId = c.TryGetInt("bos_token_id", 0, Largest, out int bos) ? bos : null,
            EndIds = Llama.ReadEndIds(c),
        };
    }

    /// <inheritdoc/>
    public DecoderWeights Load(ModelConfig config, SiteBuilder build)
    {
        int d = config.HiddenSize, f = config.FeedForward;
        string stored = build.Store.Has("wte.weight") ? "" : "transformer.";
        EmbeddingSite tokens = build.Embedding("transformer.wte", stored + "wte", config.Vocabulary, d);
        EmbeddingSite positions = build.Embedding("transformer.wpe", stored + "wpe", config.ContextLength, d);
        DecoderLayer[] layers = new DecoderLayer[config.Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            string name = $"transformer.h.{i}.", at = $"{stored}h.{config.LayerOrder[i]}.";
            LinearSite Linear(string part, int outputs, int inputs) => build.Linear(name + part, at + part, outputs, inputs, bias: true, conv1D: true);
            NormSite Norm(string part) => build.Norm(name + part, at + part, d, config.NormEpsilon, bias: true);
            layers[i] = new()
            {
                AttentionNorm = Norm("ln_1"),
                Qkv = Linear("attn.c_attn", 3 * d, d),
                O = Linear("attn.c_proj", d, d),
                FeedForwardNorm = Norm("ln_2"),
                Up = Linear("mlp.c_fc", f, d),
                Down = Linear("mlp.c_proj", d, f),
            };
        }
        NormSite norm = build.Norm("transformer.ln_f", stored + "ln_f", d, config.NormEpsilon, bias: true);
        LinearSite head = config.TiedHead ? build.Tied("lm_head", tokens.Table) : build.Linear("lm_head", "lm_head", config.Vocabulary, d, bias: false);
        string activation = build.Checkpoint.Config.GetString("activation_function", "gelu_new");
        if (activation is not ("gelu_new" or "gelu_pytorch_tanh" or "gelu"))
            throw build.Checkpoint.Config.Refusal("activation_function", "gelu_new, gelu_pytorch_tanh or gelu");
        return new(tokens, positions, layers, norm, head, LayerNorm: true, activation == "gelu" ? Activation.Gelu : Activation.GeluTanh);
    }
}
