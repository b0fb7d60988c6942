using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Qwen3: Qwen2 with an RMSNorm on every q and k head instead of biases. arXiv:2505.09388.</summary>
public class Qwen3 : Qwen2
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["qwen3"];

    /// <inheritdoc/>
    protected override bool QkvBias(HfConfig config) => config.GetBool("attention_bias", false);

    /// <inheritdoc/>
    protected override bool OutputBias(HfConfig config) => config.GetBool("attention_bias", false);

    /// <inheritdoc/>
    protected override bool NormsHeads => true;
}
