using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>ViT: an image's patches as tokens behind a class token, learned positions, pre-norm, a final norm, a classifier on the class token. arXiv:2010.11929.</summary>
public sealed class Vit : IEncoderArchitecture
{
    private const string Root = "vit.";

    /// <inheritdoc/>
    public IReadOnlyList<string> ModelTypes => ["vit"];

    /// <inheritdoc/>
    public string ClassifierSuffix => "ForImageClassification";

    /// <inheritdoc/>
    public ModelConfig ReadConfig(HfConfig c)
    {
        int image = c.GetInt("image_size", 1, 1 << 14, 224), patch = c.GetInt("patch_size", 1, 1 << 14, 16);
        if (image % patch != 0)
            throw c.Refusal("patch_size", $"a divisor of image_size {image}");
        int across = image / patch;
        return Bert.Numbers(c, "hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", vocabulary: 0, across * across + 1, c.GetFloat("layer_norm_eps", 0, 1, 1e-12f));
    }

    /// <inheritdoc/>
    public EncoderWeights Load(ModelConfig config, SiteBuilder build, ClassifierHead head)
    {
        HfConfig c = build.Checkpoint.Config;
        int d = config.HiddenSize, f = config.FeedForward, channels = c.GetInt("num_channels", 1, 1 << 10, 3), patch = c.GetInt("patch_size", 1, 1 << 14, 16);
        bool qkvBias = c.GetBool("qkv_bias", true);
        string stored = build.Store.Has("embeddings.cls_token") ? "" : Root;
        LinearSite Linear(string name, int outputs, int inputs, bool bias = true) => build.Linear(Root + name, stored + name, outputs, inputs, bias);
        NormSite Norm(string name) => build.Norm(Root + name, stored + name, d, config.NormEpsilon, bias: true);
        Tensor? token = build.Store.Take(stored + "embeddings.cls_token", 1, 1, d);
        LinearSite projection = build.Convolution(Root + "embeddings.patch_embeddings.projection", stored + "embeddings.patch_embeddings.projection", d, new Shape(channels, patch, patch));
        EmbeddingSite positions = build.Parameter(Root + "embeddings.position_embeddings", stored + "embeddings.position_embeddings", new Shape(1, config.ContextLength, d));
        EncoderLayer[] layers = new EncoderLayer[config.Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            string at = $"encoder.layer.{i}.";
            layers[i] = new(
                Linear(at + "attention.attention.query", d, d, qkvBias), Linear(at + "attention.attention.key", d, d, qkvBias), Linear(at + "attention.attention.value", d, d, qkvBias), Linear(at + "attention.output.dense", d, d),
                Norm(at + "layernorm_before"), Linear(at + "intermediate.dense", f, d), Linear(at + "output.dense", d, f), Norm(at + "layernorm_after"));
        }
        return new()
        {
            Patches = new(projection, token?.ToFloats() ?? [], channels, c.GetInt("image_size", 1, 1 << 14, 224), patch),
            Positions = positions,
            Layers = layers,
            NormsFirst = true,
            Activation = Bert.ReadActivation(c, "hidden_act", "gelu"),
            FinalNorm = Norm("layernorm"),
            Classifier = head.Classifier("classifier", d),
        };
    }
}
