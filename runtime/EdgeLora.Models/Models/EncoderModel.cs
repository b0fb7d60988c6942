using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>BERT with a classifier (BertForSequenceClassification): learned positions, post-norm, every position sees all others. arXiv:1810.04805.</summary>
public sealed class EncoderModel : ITrainableModel, IDisposable
{
    /// <summary>The model_type it reads.</summary>
    public const string ModelType = "bert";

    private const int Largest = 1 << 24;

    private readonly BaseCheckpoint _checkpoint;
    private readonly EncoderWeights _weights;

    private EncoderModel(BaseCheckpoint checkpoint, IComputeBackend backend, ModelConfig config, EncoderWeights weights, SiteBuilder build)
    {
        (_checkpoint, Backend, Config, _weights) = (checkpoint, backend, config, weights);
        Sites = new(build.Sites, weights.Classifier.Name, weights.Tokens.Name, tiedHead: false, config.Layers);
    }

    /// <inheritdoc/>
    public IComputeBackend Backend { get; }

    /// <inheritdoc/>
    public ModelConfig Config { get; }

    /// <inheritdoc/>
    public SiteCatalog Sites { get; }

    /// <inheritdoc/>
    public bool Classifies => true;

    /// <summary>Instantiates an encoder. Takes ownership of <paramref name="checkpoint"/> also when it throws <see cref="ModelFileException"/> with every fault.</summary>
    public static EncoderModel Load(BaseCheckpoint checkpoint, IComputeBackend backend)
    {
        try
        {
            ModelConfig config = ReadConfig(checkpoint.Config);
            SiteBuilder build = new(checkpoint, backend);
            EncoderWeights weights = ReadWeights(config, build, checkpoint.Config);
            build.Store.ThrowIfFaulty();
            return new(checkpoint, backend, config, weights, build);
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public IForwardPass CreatePass(IComputeBackend backend, int rows) => new EncoderPass(_weights, Config, backend, rows);

    /// <inheritdoc/>
    public KvBuffer CreateCache(int capacity) => new(Backend, Config.Layers, Config.HiddenSize, capacity);

    /// <inheritdoc/>
    public void Dispose() => _checkpoint.Dispose();

    private static ModelConfig ReadConfig(HfConfig c)
    {
        if (c.ModelType != ModelType)
            throw c.Refusal("model_type", ModelType);
        if (c.GetBool("is_decoder", false))
            throw c.Refusal("is_decoder", "false");
        if (c.GetString("position_embedding_type", "absolute") != "absolute")
            throw c.Refusal("position_embedding_type", "absolute");
        int hidden = c.GetInt("hidden_size", 1, Largest), heads = c.GetInt("num_attention_heads", 1, Largest), layers = c.GetInt("num_hidden_layers", 1, 4096);
        if (hidden % heads != 0)
            throw c.Refusal("num_attention_heads", $"a divisor of hidden_size {hidden}");
        return new()
        {
            ModelType = ModelType,
            HiddenSize = hidden,
            Layers = layers,
            Heads = heads,
            KvHeads = heads,
            HeadSize = hidden / heads,
            FeedForward = c.GetInt("intermediate_size", 1, Largest),
            Vocabulary = c.GetInt("vocab_size", 1, Largest),
            ContextLength = c.GetInt("max_position_embeddings", 1, Largest),
            NormEpsilon = c.GetFloat("layer_norm_eps", 0, 1, 1e-12f),
            TiedHead = false,
            Windows = new int[layers],
            AttentionScales = Enumerable.Repeat((float)(1 / Math.Sqrt(hidden / heads)), layers).ToArray(),
            Rotates = new bool[layers],
            LayerOrder = Enumerable.Range(0, layers).ToArray(),
        };
    }

    private static EncoderWeights ReadWeights(ModelConfig config, SiteBuilder build, HfConfig c)
    {
        int d = config.HiddenSize, f = config.FeedForward;
        LinearSite Linear(string name, int outputs, int inputs) => build.Linear(name, name, outputs, inputs, bias: true);
        NormSite Norm(string name) => build.Norm(name, name, d, config.NormEpsilon, bias: true);
        EmbeddingSite Table(string part, int rows) => build.Embedding("bert.embeddings." + part, "bert.embeddings." + part, rows, d);
        EmbeddingSite tokens = Table("word_embeddings", config.Vocabulary), positions = Table("position_embeddings", config.ContextLength), types = Table("token_type_embeddings", c.GetInt("type_vocab_size", 1, Largest, 2));
        NormSite embeddingNorm = Norm("bert.embeddings.LayerNorm");
        EncoderLayer[] layers = new EncoderLayer[config.Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            string at = $"bert.encoder.layer.{i}.";
            layers[i] = new(
                Linear(at + "attention.self.query", d, d), Linear(at + "attention.self.key", d, d), Linear(at + "attention.self.value", d, d), Linear(at + "attention.output.dense", d, d),
                Norm(at + "attention.output.LayerNorm"), Linear(at + "intermediate.dense", f, d), Linear(at + "output.dense", d, f), Norm(at + "output.LayerNorm"));
        }
        LinearSite pooler = Linear("bert.pooler.dense", d, d);
        // The number of classes is the classifier's own: config.json names it in id2label or num_labels, or not at all.
        int classes = build.Checkpoint.Weights.Tensors.TryGetValue("classifier.weight", out Tensor? weight) && weight.Shape.Rank == 2 ? (int)weight.Shape[0] : 2;
        LinearSite classifier = Linear("classifier", classes, d);
        string activation = c.GetString("hidden_act", "gelu");
        return new(tokens, positions, types, embeddingNorm, layers, pooler, classifier, PeftConfig.ActivationNames.TryGetValue(activation, out Activation known) ? known : throw c.Refusal("hidden_act", string.Join(", ", PeftConfig.ActivationNames.Keys)));
    }
}
