using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>BERT: learned positions and token types, post-norm, a classifier on tanh of the pooled first token. arXiv:1810.04805.</summary>
public class Bert : IEncoderArchitecture
{
    /// <summary>Bound of every size.</summary>
    internal const int Largest = 1 << 24;

    /// <inheritdoc/>
    public virtual IReadOnlyList<string> ModelTypes => ["bert"];

    /// <inheritdoc/>
    public string ClassifierSuffix => "ForSequenceClassification";

    /// <summary>The module around the model in a checkpoint with a head.</summary>
    protected virtual string Root => "bert.";

    /// <summary>Rows of the table of positions that no token reaches.</summary>
    protected virtual int UnusedPositions(HfConfig config) => 0;

    /// <inheritdoc/>
    public ModelConfig ReadConfig(HfConfig c)
    {
        if (c.GetBool("is_decoder", false))
            throw c.Refusal("is_decoder", "false");
        if (c.GetBool("add_cross_attention", false))
            throw c.Refusal("add_cross_attention", "false");
        if (c.GetString("position_embedding_type", "absolute") != "absolute")
            throw c.Refusal("position_embedding_type", "absolute");
        int context = c.GetInt("max_position_embeddings", 1, Largest) - UnusedPositions(c);
        if (context < 1)
            throw c.Refusal("max_position_embeddings", $"more than {UnusedPositions(c)}, the positions that are not used");
        return Numbers(c, "hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", c.GetInt("vocab_size", 1, Largest), context, c.GetFloat("layer_norm_eps", 0, 1, 1e-12f));
    }

    /// <inheritdoc/>
    public EncoderWeights Load(ModelConfig config, SiteBuilder build, ClassifierHead head)
    {
        HfConfig c = build.Checkpoint.Config;
        int d = config.HiddenSize, f = config.FeedForward;
        // Checkpoints saved from the bare model lack the prefix.
        string stored = build.Store.Has("embeddings.word_embeddings.weight") ? "" : Root;
        LinearSite Linear(string name, int outputs, int inputs) => build.Linear(Root + name, stored + name, outputs, inputs, bias: true);
        NormSite Norm(string name) => build.Norm(Root + name, stored + name, d, config.NormEpsilon, bias: true);
        EmbeddingSite Table(string part, int rows) => build.Embedding($"{Root}embeddings.{part}", $"{stored}embeddings.{part}", rows, d);
        EmbeddingSite tokens = Table("word_embeddings", config.Vocabulary), positions = Table("position_embeddings", c.GetInt("max_position_embeddings", 1, Largest)), types = Table("token_type_embeddings", c.GetInt("type_vocab_size", 1, Largest, 2));
        NormSite embeddingNorm = Norm("embeddings.LayerNorm");
        EncoderLayer[] layers = new EncoderLayer[config.Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            string at = $"encoder.layer.{i}.";
            layers[i] = new(
                Linear(at + "attention.self.query", d, d), Linear(at + "attention.self.key", d, d), Linear(at + "attention.self.value", d, d), Linear(at + "attention.output.dense", d, d),
                Norm(at + "attention.output.LayerNorm"), Linear(at + "intermediate.dense", f, d), Linear(at + "output.dense", d, f), Norm(at + "output.LayerNorm"));
        }
        return AddHead(config, c, head, stored, new()
        {
            Tokens = tokens,
            Positions = positions,
            Types = types,
            EmbeddingNorm = embeddingNorm,
            Layers = layers,
            Activation = ReadActivation(c, "hidden_act", "gelu"),
            PoolerActivation = Activation.Tanh,
            Classifier = null!,
        });
    }

    /// <summary>The weights with the head, which is taken last.</summary>
    protected virtual EncoderWeights AddHead(ModelConfig config, HfConfig c, ClassifierHead head, string stored, EncoderWeights weights) => weights with
    {
        Pooler = head.Linear(Root + "pooler.dense", stored + "pooler.dense", config.HiddenSize, config.HiddenSize),
        Classifier = head.Classifier("classifier", config.HiddenSize),
    };

    /// <summary>The nonlinearity that a field names. Throws <see cref="ModelFileException"/> naming those that are known.</summary>
    internal static Activation ReadActivation(HfConfig c, string field, string otherwise) => c.GetString(field, otherwise) switch
    {
        "gelu" or "gelu_python" => Activation.Gelu,
        "gelu_new" or "gelu_pytorch_tanh" => Activation.GeluTanh,
        "relu" => Activation.Relu,
        "silu" or "swish" => Activation.Silu,
        "tanh" => Activation.Tanh,
        _ => throw c.Refusal(field, "one of gelu, gelu_new, gelu_pytorch_tanh, relu, silu, tanh"),
    };

    /// <summary>The numbers of an encoder, whatever its family calls the fields.</summary>
    internal static ModelConfig Numbers(HfConfig c, string hiddenField, string headsField, string layersField, string innerField, int vocabulary, int context, float epsilon)
    {
        int hidden = c.GetInt(hiddenField, 1, Largest), heads = c.GetInt(headsField, 1, Largest), layers = c.GetInt(layersField, 1, 4096);
        if (hidden % heads != 0)
            throw c.Refusal(headsField, $"a divisor of {hiddenField} {hidden}");
        return new()
        {
            ModelType = c.ModelType,
            HiddenSize = hidden,
            Layers = layers,
            Heads = heads,
            KvHeads = heads,
            HeadSize = hidden / heads,
            FeedForward = c.GetInt(innerField, 1, Largest),
            Vocabulary = vocabulary,
            ContextLength = context,
            NormEpsilon = epsilon,
            TiedHead = false,
            Windows = new int[layers],
            AttentionScales = Enumerable.Repeat((float)(1 / Math.Sqrt(hidden / heads)), layers).ToArray(),
            Rotates = new bool[layers],
            LayerOrder = Enumerable.Range(0, layers).ToArray(),
        };
    }
}
