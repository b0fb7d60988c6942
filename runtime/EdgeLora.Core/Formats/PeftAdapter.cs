namespace EdgeLora.Core;

/// <summary>The tensors that one adapter has for one module, as they are in the file.</summary>
public sealed class PeftModule
{
    /// <summary>lora_A [r, in], or an embedding's [r, vocab].</summary>
    public Tensor? A { get; internal set; }
    /// <summary>lora_B [out, r], or an embedding's [dim, r].</summary>
    public Tensor? B { get; internal set; }
    /// <summary>True for lora_embedding_A/B.</summary>
    public bool IsEmbedding { get; internal set; }
    /// <summary>lora_magnitude_vector [out].</summary>
    public Tensor? Magnitude { get; internal set; }
    /// <summary>lora_B.bias [out].</summary>
    public Tensor? LoraBias { get; internal set; }
    /// <summary>New rows of single tokens [n, dim].</summary>
    public Tensor? TokenRows { get; internal set; }
    /// <summary>A whole weight in place of the base's (modules_to_save).</summary>
    public Tensor? Weight { get; internal set; }
    /// <summary>A bias in place of the base's (bias=lora_only or all, modules_to_save).</summary>
    public Tensor? Bias { get; internal set; }
    /// <summary>The frozen copy of the base's table that PEFT stores beside an embedding's LoRA.</summary>
    public Tensor? BaseCopy { get; internal set; }
}

/// <summary>
/// PEFT's adapter folder: adapter_config.json and adapter_model.safetensors or .bin. Names are <c>base_model.model.&lt;module&gt;.lora_A.weight</c>; there is no
/// <c>.weight</c> after lora_embedding_A/B and lora_magnitude_vector. Also the same content in an .elora file.
/// </summary>
public sealed class PeftAdapter : IDisposable
{
    private const string Prefix = "base_model.model.";
    private readonly IDisposable _file;

    private PeftAdapter(string path, PeftConfig config, IReadOnlyDictionary<string, Tensor> tensors, IDisposable file)
    {
        FilePath = path;
        Config = config;
        Tensors = tensors;
        _file = file;
        Modules = Group(tensors);
    }

    /// <summary>The folder or file.</summary>
    public string FilePath { get; }

    /// <summary>The config.</summary>
    public PeftConfig Config { get; }

    /// <summary>Tensors under their verbatim names.</summary>
    public IReadOnlyDictionary<string, Tensor> Tensors { get; }

    /// <summary>Tensors by module, without <c>base_model.model.</c>.</summary>
    public IReadOnlyDictionary<string, PeftModule> Modules { get; }

    /// <summary>Fingerprint of the parent and of the base it was trained on, where the container says.</summary>
    public EdgeAdapterHeader? Header { get; private init; }

    /// <summary>Opens a folder, or an .elora file. Throws <see cref="ModelFileException"/>.</summary>
    public static PeftAdapter Open(string path)
    {
        if (File.Exists(path) && path.EndsWith(EdgeAdapter.Extension, StringComparison.OrdinalIgnoreCase))
            return OpenElora(path);
        if (!Directory.Exists(path))
            throw new ModelFileException(path, "no such adapter folder");
        string configFile = Path.Combine(path, "adapter_config.json"), elora = Path.Combine(path, "adapter.elora");
        if (!File.Exists(configFile))
            return File.Exists(elora) ? OpenElora(elora)
                : throw new ModelFileException(path, File.Exists(Path.Combine(path, "adapter.gguf")) ? "adapter.gguf: GGUF adapters are not read; expected adapter_config.json or adapter.elora" : "adapter_config.json is missing");
        PeftConfig config = PeftConfig.Read(configFile);
        string safetensors = Path.Combine(path, "adapter_model.safetensors"), bin = Path.Combine(path, "adapter_model.bin");
        if (!File.Exists(safetensors) && !File.Exists(bin))
            throw new ModelFileException(path, "no weights: expected adapter_model.safetensors or adapter_model.bin");
        TensorFile file = File.Exists(safetensors) ? Safetensors.Open(safetensors) : TorchPickle.Open(bin);
        return new(path, config, file.Tensors, file);
    }

    /// <summary>Folder of the base that an adapter's config names, relative to the adapter.</summary>
    public static string BaseFolder(string adapterFolder)
    {
        PeftConfig config = PeftConfig.Read(Path.Combine(adapterFolder, "adapter_config.json"));
        return Path.GetFullPath(Path.Combine(adapterFolder, config.BaseModel ?? throw new ModelFileException(adapterFolder, "base_model_name_or_path: missing")));
    }

    /// <summary>The layer order that an adapter folder (or .elora) asks of its base; null: as stored.</summary>
    public static int[]? LayerReplication(string path)
    {
        using PeftAdapter adapter = Open(path);
        return adapter.Config.LayerReplication;
    }

    /// <summary>Writes a PEFT folder with the config's text as it was read.</summary>
    public static void Write(string folder, PeftConfig config, IEnumerable<Tensor> tensors)
    {
        Directory.CreateDirectory(folder);
        Safetensors.Write(Path.Combine(folder, "adapter_model.safetensors"), tensors, new Dictionary<string, string> { ["format"] = "pt" });
        AtomicFile.WriteText(Path.Combine(folder, "adapter_config.json"), config.Json);
    }

    /// <summary>Writes an .elora file that holds the same adapter.</summary>
    public void WriteElora(string path, string name, string parentFingerprint = "", string baseFingerprint = "") =>
        EdgeAdapter.Write(path, new EdgeAdapterHeader
        {
            Name = name,
            ParentFingerprint = parentFingerprint,
            BaseFingerprint = baseFingerprint,
            Rank = Config.Rank,
            Alpha = Config.Alpha,
            Targets = [.. Modules.Where(m => m.Value.A is not null).Select(m => m.Key).Order(StringComparer.Ordinal)],
            ConfigJson = Config.Json,
        }, Tensors.Values);

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private static PeftAdapter OpenElora(string path)
    {
        EdgeAdapter file = EdgeAdapter.Read(path);
        try
        {
            return new(path, PeftConfig.Parse(path, System.Text.Encoding.UTF8.GetBytes(file.Header.ConfigJson)), file.File.Tensors, file) { Header = file.Header };
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static Dictionary<string, PeftModule> Group(IReadOnlyDictionary<string, Tensor> tensors)
    {
        Dictionary<string, PeftModule> modules = new(StringComparer.Ordinal);
        foreach ((string full, Tensor tensor) in tensors)
        {
            string name = full.StartsWith(Prefix, StringComparison.Ordinal) ? full[Prefix.Length..] : full;
            bool Take(string suffix, Action<PeftModule> set)
            {
                if (!name.EndsWith(suffix, StringComparison.Ordinal))
                    return false;
                string module = name[..^suffix.Length];
                if (!modules.TryGetValue(module, out PeftModule? m))
                    modules[module] = m = new();
                set(m);
                return true;
            }
            _ = Take(".lora_A.weight", m => m.A = tensor)
                || Take(".lora_B.weight", m => m.B = tensor)
                || Take(".lora_B.bias", m => m.LoraBias = tensor)
                || Take(".lora_embedding_A", m => (m.A, m.IsEmbedding) = (tensor, true))
                || Take(".lora_embedding_B", m => (m.B, m.IsEmbedding) = (tensor, true))
                || Take(".lora_magnitude_vector", m => m.Magnitude = tensor)
                || Take(".token_adapter.trainable_tokens_delta", m => m.TokenRows = tensor)
                || Take(".base_layer.bias", m => m.Bias = tensor)
                || Take(".base_layer.weight", m => m.BaseCopy = tensor)
                || Take(".bias", m => m.Bias = tensor)
                || Take(".weight", m => m.Weight = tensor)
                || Take("", _ => { });
        }
        return modules;
    }
}
