using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Takes the weights of one layer by the names of its parts.</summary>
/// <param name="build">Where they come from.</param>
/// <param name="config">The model's numbers.</param>
/// <param name="name">The layer's module name for adapters, with its last dot: <c>model.layers.0.</c></param>
/// <param name="stored">The same in the checkpoint.</param>
/// <param name="index">Its number in the checkpoint.</param>
public sealed class LayerSites(SiteBuilder build, ModelConfig config, string name, string stored, int index)
{
    /// <summary>The layer's number in the checkpoint.</summary>
    public int Index => index;

    /// <summary>The model's config file.</summary>
    public HfConfig Hf => build.Checkpoint.Config;

    /// <summary>The model's numbers.</summary>
    public ModelConfig Config => config;

    /// <summary>H·Hd.</summary>
    public int Query => config.Heads * config.HeadSize;

    /// <summary>K·Hd.</summary>
    public int KeyValue => config.KvHeads * config.HeadSize;

    /// <summary>A linear layer [O, I].</summary>
    /// <param name="part">Its name within the layer.</param>
    /// <param name="outputs">O.</param>
    /// <param name="inputs">I.</param>
    /// <param name="bias">Whether it has a bias.</param>
    /// <param name="rotatedHeads">For q and k of an architecture that rotates halves: their heads; else 0.</param>
    public LinearSite Linear(string part, int outputs, int inputs, bool bias, int rotatedHeads = 0) => build.Linear(name + part, stored + part, outputs, inputs, bias, rotatedHeads: rotatedHeads);

    /// <summary>A norm.</summary>
    /// <param name="part">Its name within the layer.</param>
    /// <param name="width">What is normalised.</param>
    /// <param name="bias">Whether it has a bias.</param>
    /// <param name="heads">Heads with gains of their own, stored [heads, width]; 1: one row of gains [width].</param>
    /// <param name="offset">Added to every gain.</param>
    public NormSite Norm(string part, int width, bool bias = false, int heads = 1, float offset = 0) =>
        build.Norm(name + part, stored + part, width, config.NormEpsilon, bias, heads, offset);

    /// <summary>Fused q, k and v [H·Hd + 2·K·Hd, D], which a checkpoint has in pieces of heads and a GGUF one behind the other: the layer, and the pieces of what is stored.</summary>
    /// <param name="part">Its name within the layer.</param>
    /// <param name="bias">Whether it has a bias.</param>
    /// <param name="pieces">Pieces in a checkpoint.</param>
    public (LinearSite Site, int Pieces) Qkv(string part, bool bias, int pieces)
    {
        bool split = build.Checkpoint.SplitsQueryKeyValue;
        return (build.Linear(name + part, stored + part, Query + 2 * KeyValue, config.HiddenSize, bias, fusedHeads: new HeadRows(config.Heads, pieces)), split ? 1 : pieces);
    }

    /// <summary>A norm whose heads' gains are tensors of their own, <c>{part}.norms.0.weight</c> and on: one site.</summary>
    public NormSite HeadNorms(string part, int width, int heads) => build.HeadNorms(name + part, stored + part, width, heads, config.NormEpsilon);
}
