using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>SmolLM3: Llama with some layers left unrotated (NoPE).</summary>
public sealed class SmolLM3 : Llama
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> ModelTypes => ["smollm3"];

    /// <inheritdoc/>
    protected override bool TiedByDefault => true;

    /// <inheritdoc/>
    protected override bool UsesWindow(HfConfig config) => config.GetBool("use_sliding_window", false);

    /// <inheritdoc/>
    public override ModelConfig ReadConfig(BaseCheckpoint checkpoint)
    {
        ModelConfig config = base.ReadConfig(checkpoint);
        HfConfig c = checkpoint.Config;
        int interval = c.GetInt("no_rope_layer_interval", 1, int.MaxValue, 4);
        bool[] rotates = new bool[config.Layers];
        bool listed = c.TryGetInts("no_rope_layers", 0, 1, out IReadOnlyList<int> list) && list.Count == config.Layers;
        for (int i = 0; i < rotates.Length; i++)
            rotates[i] = listed ? list[i] == 1 : (i + 1) % interval != 0;
        return config with { Rotates = rotates };
    }
}
