using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>An opened base: its config and its tensors under Hugging Face names, mapped, whatever the container.</summary>
/// <param name="Path">Folder or file.</param>
/// <param name="Config">The config, in Hugging Face spelling.</param>
/// <param name="Weights">Tensors under Hugging Face names; owned.</param>
/// <param name="Pairs">How rotary pairs lie in q and k.</param>
/// <param name="TransposedConv1D">True where GPT-2's Conv1D weights are stored [out, in] already (GGUF).</param>
/// <param name="Container">What else must live as long (the GGUF file, for its vocabulary), or null.</param>
/// <param name="Quantization">How the safetensors are quantised, or null.</param>
public sealed record BaseCheckpoint(string Path, HfConfig Config, TensorFile Weights, RopePairs Pairs = RopePairs.Halves, bool TransposedConv1D = false, IDisposable? Container = null, QuantizationSummary? Quantization = null) : IDisposable
{
    /// <summary>True where fused q, k and v lie as all q, all k, all v, not head by head (GGUF).</summary>
    public bool SplitsQueryKeyValue { get; init; }

    /// <summary>True where gains are stored with the offset that their norm adds (GGUF).</summary>
    public bool ShiftsGains { get; init; }

    /// <summary>Opens a Hugging Face folder (config.json with safetensors, single or sharded, plain or quantised: <see cref="QuantizedWeights"/>).</summary>
    public static BaseCheckpoint OpenFolder(string folder)
    {
        HfConfig config = HfConfig.Read(System.IO.Path.Combine(folder, "config.json"));
        string single = System.IO.Path.Combine(folder, "model.safetensors"), index = single + ".index.json";
        if (!File.Exists(single) && !File.Exists(index))
            throw new ModelFileException(folder, "no weights: expected model.safetensors or model.safetensors.index.json");
        TensorFile weights = QuantizedWeights.Open(Safetensors.Open(File.Exists(single) ? single : index), config, out QuantizationSummary? quantization);
        return new(folder, config, weights, Quantization: quantization);
    }

    /// <summary>Opens a Hugging Face folder or a .gguf file. Throws <see cref="ModelFileException"/>.</summary>
    public static BaseCheckpoint Open(string path)
    {
        if (Directory.Exists(path))
            return OpenFolder(path);
        if (!File.Exists(path))
            throw new ModelFileException(path, "no such file or folder");
        return path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase)
            ? GgufCheckpoint.Open(path)
            : throw new ModelFileException(path, "is no model: expected a folder with config.json, a tree, or a .gguf file");
    }

    // No architecture's layer has fewer weights; a config that promises more layers is refused before sites are made for them.
    private const int FewestWeightsOfLayer = 4;

    /// <summary>Refuses a config with more layers than the weights can hold, before a name is made for each.</summary>
    internal void RequireLayers(int layers)
    {
        if (FewestWeightsOfLayer * (long)layers > Weights.Tensors.Count)
            throw new ModelFileException(Path, $"num_hidden_layers: {layers} layers, but there are only {Weights.Tensors.Count} tensors");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Weights.Dispose();
        Container?.Dispose();
    }
}
