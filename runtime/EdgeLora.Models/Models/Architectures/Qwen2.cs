using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Qwen2 and 2.5: Llama with biases on q, k, v and a window only where use_sliding_window says so. arXiv:2407.10671.</summary>
public class Qwen2 : Llama
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["qwen2"];

    /// <inheritdoc/>
    protected override bool QkvBias(HfConfig config) => true;

    /// <inheritdoc/>
    protected override bool OutputBias(HfConfig config) => false;

    /// <inheritdoc/>
    protected override bool UsesWindow(HfConfig config) => config.GetBool("use_sliding_window", false);
}
