using System.Diagnostics.CodeAnalysis;

namespace EdgeLora.Core;

/// <summary>What a checkpoint says of its quantised weights.</summary>
/// <param name="Method">GPTQ, AWQ, …</param>
/// <param name="Modules">Modules whose weight is quantised.</param>
/// <param name="Facts">Bits, group sizes, formats, by name.</param>
public sealed record QuantizationSummary(string Method, int Modules, IReadOnlyList<(string Name, object Value)> Facts);

/// <summary>
/// safetensors checkpoints whose weights are quantised: each quantised module <c>X</c> gets a tensor <c>X.weight</c>, computed on several threads when it is taken, in place of the tensors that it is packed in. It means
/// exactly the numbers that the format defines, as F32, or in blocks of Q8_0 or Q4_0, or F16, where these hold the same bits. What is taken costs that many bytes of memory; the packed bytes stay mapped.
/// </summary>
public static class QuantizedWeights
{
    private const string Methods = "gptq, awq, compressed-tensors, fp8, fbgemm_fp8, modelopt (FP8) or bitsandbytes";

    /// <summary>The checkpoint with its weights readable; the same file, and no summary, where nothing is quantised. Takes ownership of <paramref name="file"/>, also when it throws.</summary>
    /// <param name="file">The opened tensors.</param>
    /// <param name="config">The model's config: <c>quantization_config</c> or <c>quantization</c> (MLX); beside it AutoGPTQ's quantize_config.json and ModelOpt's hf_quant_config.json.</param>
    /// <param name="summary">What was found, or null.</param>
    /// <exception cref="ModelFileException">A method or a form of it that is not read, or modules whose tensors do not fit: every one of them.</exception>
    public static TensorFile Open(TensorFile file, HfConfig config, out QuantizationSummary? summary)
    {
        summary = null;
        try
        {
            if (SchemeOf(file, config) is not { } scheme)
                return file;
            Dictionary<string, Tensor> tensors = Replace(file, scheme, out int modules);
            Dictionary<string, object> facts = [];
            foreach ((string name, object value) in scheme.Facts)
                facts[name] = value;
            summary = new(scheme.Name, modules, [.. facts.Select(f => (f.Key, f.Value))]);
            return new TensorFile(file.FilePath, tensors, file.Metadata, [new Owner(file)]);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static Dictionary<string, Tensor> Replace(TensorFile file, QuantizationScheme scheme, out int modules)
    {
        HashSet<string> used = [];
        FaultList faults = new(file.FilePath);
        List<Tensor> weights = [];
        foreach ((string name, Tensor marker) in file.Tensors)
        {
            if (!name.EndsWith(scheme.Marker, StringComparison.Ordinal) || !scheme.Takes(name[..^scheme.Marker.Length], marker))
                continue;
            string module = name[..^scheme.Marker.Length];
            try
            {
                weights.Add(scheme.Read(module, new(file.FilePath, module, file.Tensors, used)));
            }
            catch (ModelFileException e)
            {
                foreach (string fault in e.Faults)
                    faults.Add(fault);
            }
            catch (Exception e) when (e is ArgumentException or ArithmeticException or InvalidOperationException or NotSupportedException or IndexOutOfRangeException)
            {
                faults.Add($"{module}: {e.Message}");
            }
        }
        faults.ThrowIfAny();
        modules = weights.Count;
        Dictionary<string, Tensor> tensors = new(file.Tensors.Count);
        foreach ((string name, Tensor tensor) in file.Tensors)
            if (!used.Contains(name))
                tensors.Add(name, tensor);
        foreach (Tensor weight in weights)
            tensors[weight.Name] = weight;
        return tensors;
    }

    private static QuantizationScheme? SchemeOf(TensorFile file, HfConfig config)
    {
        if (config.TryGetObject("quantization_config", out HfConfig? given) && given.Has("quant_method"))
            return Named(given);
        if (config.TryGetObject("quantization", out HfConfig? mlx))
            return new MlxWeights(mlx);
        if (given is not null)
            throw given.Refusal("quant_method", Methods);
        string folder = Path.GetDirectoryName(Path.GetFullPath(config.FilePath))!;
        if (TryBeside(folder, "quantize_config.json", out HfConfig? gptq))
            return new GptqWeights(gptq);
        if (TryBeside(folder, "hf_quant_config.json", out HfConfig? modelopt))
            return ModelOpt(modelopt.GetObject("quantization"));
        // 8-bit floats without a word about them mean themselves.
        return file.Tensors.Values.Any(t => Float8.IsWeight(t.Type)) ? new ScaledFloat8(null) : null;
    }

    private static QuantizationScheme Named(HfConfig config) => config.GetString("quant_method") switch
    {
        "gptq" => new GptqWeights(config),
        "awq" => new AwqWeights(config),
        "compressed-tensors" => new CompressedTensorsWeights(config),
        "bitsandbytes" => new BitsAndBytesWeights(config),
        "fp8" or "fbgemm_fp8" => new ScaledFloat8(BlockOf(config)),
        "modelopt" => ModelOpt(config),
        _ => throw config.Refusal("quant_method", Methods),
    };

    private static ScaledFloat8 ModelOpt(HfConfig config) => config.GetString("quant_algo", "") == "FP8" ? new(null) : throw config.Refusal("quant_algo", "FP8");

    private static int[]? BlockOf(HfConfig config) =>
        !config.TryGetInts("weight_block_size", 1, 1 << 20, out IReadOnlyList<int> sides) ? null : sides.Count == 2 ? [.. sides] : throw config.Refusal("weight_block_size", "two sizes");

    private static bool TryBeside(string folder, string name, [NotNullWhen(true)] out HfConfig? config)
    {
        string path = Path.Combine(folder, name);
        config = File.Exists(path) ? HfConfig.Read(path) : null;
        return config is not null;
    }

    // The packed tensors live as long as the weights computed from them.
    private sealed class Owner(TensorFile file) : TensorStorage
    {
        public override long Length => 0;

        public override ReadOnlySpan<byte> Bytes(long offset, int length) => throw new InvalidOperationException("holds no bytes of its own");

        public override void Dispose() => file.Dispose();
    }
}
