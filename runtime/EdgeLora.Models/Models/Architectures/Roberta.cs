using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>RoBERTa, and XLM-RoBERTa and CamemBERT, which share its code: BERT's layers, positions that count from the padding id on and pass padding over, a head of its own on the first token. arXiv:1907.11692.</summary>
public sealed class Roberta : Bert
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["roberta", "xlm-roberta", "camembert"];

    /// <inheritdoc/>
    protected override string Root => "roberta.";

    /// <inheritdoc/>
    protected override int UnusedPositions(HfConfig config) => PaddingId(config) + 1;

    /// <inheritdoc/>
    protected override EncoderWeights AddHead(ModelConfig config, HfConfig c, ClassifierHead head, string stored, EncoderWeights weights) => weights with
    {
        PaddingId = PaddingId(c),
        Pooler = head.Linear("classifier.dense", "classifier.dense", config.HiddenSize, config.HiddenSize),
        Classifier = head.Classifier("classifier.out_proj", config.HiddenSize),
    };

    private static int PaddingId(HfConfig c) => c.GetInt("pad_token_id", 0, Largest, 1);
}
