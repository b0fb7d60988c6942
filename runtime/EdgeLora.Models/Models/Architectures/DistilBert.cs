using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>DistilBERT: BERT's layers without token types; before the classifier the first token goes through pre_classifier and relu. arXiv:1910.01108.</summary>
public sealed class DistilBert : IEncoderArchitecture
{
    private const string Root = "distilbert.";

    // Fixed in the reference library's code, not in its config.
    private const float Epsilon = 1e-12f;

    /// <inheritdoc/>
    public IReadOnlyList<string> ModelTypes => ["distilbert"];

    /// <inheritdoc/>
    public string ClassifierSuffix => "ForSequenceClassification";

    /// <inheritdoc/>
    public ModelConfig ReadConfig(HfConfig c) =>
        Bert.Numbers(c, "dim", "n_heads", "n_layers", "hidden_dim", c.GetInt("vocab_size", 1, Bert.Largest), c.GetInt("max_position_embeddings", 1, Bert.Largest), Epsilon);

    /// <inheritdoc/>
    public EncoderWeights Load(ModelConfig config, SiteBuilder build, ClassifierHead head)
    {
        int d = config.HiddenSize, f = config.FeedForward;
        string stored = build.Store.Has("embeddings.word_embeddings.weight") ? "" : Root;
        LinearSite Linear(string name, int outputs, int inputs) => build.Linear(Root + name, stored + name, outputs, inputs, bias: true);
        NormSite Norm(string name) => build.Norm(Root + name, stored + name, d, Epsilon, bias: true);
        EmbeddingSite Table(string part, int rows) => build.Embedding($"{Root}embeddings.{part}", $"{stored}embeddings.{part}", rows, d);
        EmbeddingSite tokens = Table("word_embeddings", config.Vocabulary), positions = Table("position_embeddings", config.ContextLength);
        NormSite embeddingNorm = Norm("embeddings.LayerNorm");
        EncoderLayer[] layers = new EncoderLayer[config.Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            string at = $"transformer.layer.{i}.";
            layers[i] = new(
                Linear(at + "attention.q_lin", d, d), Linear(at + "attention.k_lin", d, d), Linear(at + "attention.v_lin", d, d), Linear(at + "attention.out_lin", d, d),
                Norm(at + "sa_layer_norm"), Linear(at + "ffn.lin1", f, d), Linear(at + "ffn.lin2", d, f), Norm(at + "output_layer_norm"));
        }
        return new()
        {
            Tokens = tokens,
            Positions = positions,
            EmbeddingNorm = embeddingNorm,
            Layers = layers,
            Activation = Bert.ReadActivation(build.Checkpoint.Config, "activation", "gelu"),
            Pooler = head.Linear("pre_classifier", "pre_classifier", d, d),
            PoolerActivation = Activation.Relu,
            Classifier = head.Classifier("classifier", d),
        };
    }
}
