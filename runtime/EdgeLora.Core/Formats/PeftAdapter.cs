namespace EdgeLora.Core;

/// <summary>What one tensor of an adapter is to its module.</summary>
public enum PeftPart
{
    /// <summary>A [R, I].</summary>
    A,
    /// <summary>B [O, R].</summary>
    B,
    /// <summary>Bias of B [O] (lora_bias), scaled like B.</summary>
    OutputBias,
    /// <summary>A of an embedding [R, V].</summary>
    EmbeddingA,
    /// <summary>B of an embedding [D, R].</summary>
    EmbeddingB,
    /// <summary>DoRA's m [O]; for an embedding [D].</summary>
    Magnitude,
    /// <summary>A frozen copy of the base's weight.</summary>
    BaseWeight,
    /// <summary>The bias of a targeted layer, in place of the base's.</summary>
    BaseBias,
    /// <summary>New rows of a table [n, D].</summary>
    TokenRows,
    /// <summary>A whole weight in place of the base's.</summary>
    Weight,
    /// <summary>A whole bias in place of the base's.</summary>
    Bias,
    /// <summary>IA3's scales: of outputs [O, 1], or of inputs [1, I].</summary>
    Scales,
    /// <summary>OFT's rotations: entries above the diagonal of every block [blocks, n(n−1)/2].</summary>
    Rotation,
    /// <summary>BOFT's rotations [factors, blocks, n, n].</summary>
    Butterfly,
    /// <summary>BOFT's scales of outputs [O, 1].</summary>
    ButterflyScale,
}

/// <summary>All tensors that an adapter file has for one module.</summary>
/// <param name="Name">Module name without <c>base_model.model.</c>.</param>
/// <param name="Parts">Its tensors.</param>
public sealed record PeftModule(string Name, IReadOnlyDictionary<PeftPart, Tensor> Parts)
{
    /// <summary>The tensor, or null.</summary>
    public Tensor? this[PeftPart part] => Parts.GetValueOrDefault(part);
}

/// <summary>
/// An adapter in the neutral form, which is PEFT's: a configuration, and tensors by module and part. Every format of <see cref="AdapterFormats"/> is read into it and written from it. PEFT's tensor names are
/// <c>base_model.model.MODULE.PART</c>, PART one of the table in this file; the adapter's own name never is in them. Source: huggingface/peft
/// utils/save_and_load.py, tuners/lora/layer.py. Opened, nothing is checked against a base yet.
/// </summary>
public sealed class PeftAdapter : IDisposable
{
    /// <summary>The tensors' file.</summary>
    public const string WeightsName = "adapter_model.safetensors";

    /// <summary>An <c>.elora</c> file that a folder holds in place of PEFT's two files.</summary>
    public const string EdgeName = "adapter.elora";

    /// <summary>An <c>.onnx_adapter</c> file that a folder holds in place of PEFT's two files.</summary>
    public const string OnnxName = "adapter.onnx_adapter";

    /// <summary>The tensors' file as torch pickled it; read where <see cref="WeightsName"/> is not there.</summary>
    public const string BinaryName = "adapter_model.bin";

    /// <summary>Metadata with this prefix says something of the adapter that no field of the configuration does; it goes along where a format has metadata.</summary>
    public const string MetadataPrefix = "adapter.lora.";

    /// <summary>Metadata that says who wrote the container: each format has its own word there.</summary>
    internal const string FormatKey = "format";

    private const string Prefix = "base_model.model.";

    // Longer endings stand before those that they end with; the first spelling of a part is the one that is written.
    private static readonly (string Ending, PeftPart Part)[] s_parts =
    [
        (".ia3_l", PeftPart.Scales),
        (".oft_R.weight", PeftPart.Rotation),
        (".boft_R", PeftPart.Butterfly),
        (".boft_s", PeftPart.ButterflyScale),
        (".lora_A.weight", PeftPart.A),
        (".lora_B.weight", PeftPart.B),
        (".lora_B.bias", PeftPart.OutputBias),
        (".lora_embedding_A", PeftPart.EmbeddingA),
        (".lora_embedding_B", PeftPart.EmbeddingB),
        (".lora_magnitude_vector", PeftPart.Magnitude),
        (".lora_magnitude_vector.weight", PeftPart.Magnitude),
        (".token_adapter.base_layer.weight", PeftPart.BaseWeight),
        (".base_layer.weight", PeftPart.BaseWeight),
        (".base_layer.bias", PeftPart.BaseBias),
        (".token_adapter.trainable_tokens_delta", PeftPart.TokenRows),
        (".trainable_tokens_delta", PeftPart.TokenRows),
        (".ln_tuning_layers.weight", PeftPart.Weight),
        (".ln_tuning_layers.bias", PeftPart.Bias),
        (".weight", PeftPart.Weight),
        (".bias", PeftPart.Bias),
    ];

    // In torch's own state dict the adapter's name stands behind these.
    private static readonly string[] s_named = ["lora_A", "lora_B", "lora_magnitude_vector"];

    // What PEFT puts into its tensor files.
    private static readonly Dictionary<string, string> s_metadata = new() { [FormatKey] = "pt" };

    private readonly IDisposable _owner;

    private PeftAdapter(string path, PeftConfig config, string configJson, TensorFile tensors, SortedDictionary<string, PeftModule> modules, IDisposable owner)
    {
        FilePath = path;
        Config = config;
        ConfigJson = configJson;
        File = tensors;
        Modules = modules;
        _owner = owner;
    }

    /// <summary>The folder or file it was opened from.</summary>
    public string FilePath { get; }

    /// <summary>The parsed adapter_config.json.</summary>
    public PeftConfig Config { get; }

    /// <summary>adapter_config.json as it stood in the file.</summary>
    public string ConfigJson { get; }

    /// <summary>The tensors' file.</summary>
    public TensorFile File { get; }

    /// <summary>The tensors under the file's own names.</summary>
    public IReadOnlyDictionary<string, Tensor> Tensors => File.Tensors;

    /// <summary>The tensors by module, in ordinal order.</summary>
    public IReadOnlyDictionary<string, PeftModule> Modules { get; }

    /// <summary>Fingerprints of the parent and of the base, where the container is <c>.elora</c>; else null.</summary>
    public EdgeAdapterHeader? Header { get; private init; }

    /// <summary>Whether its bytes are taken as they are, unread: <see cref="AdapterOptions.TrustElora"/>.</summary>
    public bool IsTrusted { get; internal set; }

    /// <summary>The format that it was read from; null for one that was made in memory.</summary>
    public AdapterFileFormat? Format { get; internal set; }

    /// <summary>What its file says that is read by no one: names of settings and keys. No number depends on it.</summary>
    public IReadOnlyList<string> Unread { get; internal set; } = [];

    /// <summary>
    /// The GGUF architecture in whose row order B stands, where it was read from GGUF and the base was not known; null: in the checkpoint's order. <see cref="GgufRows.ToCheckpoint(PeftAdapter, string, Func{string, HeadRows?})"/>
    /// brings it there.
    /// </summary>
    public string? RowOrder { get; internal set; }

    /// <summary>Why its pairs may not be as wide as the base's layers, or null where they are.</summary>
    public string? WidthFault { get; internal set; }

    /// <summary>Why it cannot be written as it is: its width, or rows in another order than the checkpoint's; null where nothing is in the way.</summary>
    public string? RowFault => WidthFault ?? MovedRows;

    private string? MovedRows => RowOrder is { } architecture && Modules.Keys.FirstOrDefault(m => GgufRows.AreMoved(architecture, m)) is { } module
        ? $"{module}: its rows stand in the order of a {architecture} GGUF; the base tells how many heads they are: give it (--base)" : null;

    /// <summary>Bytes of the tensors' file that <see cref="Write"/> makes.</summary>
    public long WrittenLength => Safetensors.FileLength([.. Tensors.Values.Select(t => (t.Name, t.Type, t.Shape))], WrittenMetadata);

    /// <summary>Unmaps the file. Tensors must not be read afterwards.</summary>
    public void Dispose() => _owner.Dispose();

    /// <summary>How messages call a part: the ending without <c>.weight</c>.</summary>
    public static string LabelOf(PeftPart part) => part switch
    {
        PeftPart.A => "lora_A",
        PeftPart.B => "lora_B",
        PeftPart.OutputBias => "lora_B.bias",
        PeftPart.EmbeddingA => "lora_embedding_A",
        PeftPart.EmbeddingB => "lora_embedding_B",
        PeftPart.Magnitude => "lora_magnitude_vector",
        PeftPart.BaseWeight => "base_layer.weight",
        PeftPart.BaseBias => "base_layer.bias",
        PeftPart.TokenRows => "trainable_tokens_delta",
        PeftPart.Weight => "weight",
        PeftPart.Scales => "ia3_l",
        PeftPart.Rotation => "oft_R",
        PeftPart.Butterfly => "boft_R",
        PeftPart.ButterflyScale => "boft_s",
        _ => "bias",
    };

    /// <summary>The name that PEFT gives a tensor in a file.</summary>
    public static string NameOf(PeftConfig config, string module, PeftPart part)
    {
        string ending = (config.PeftType, part) switch
        {
            ("LN_TUNING", PeftPart.Weight or PeftPart.Bias) => ".ln_tuning_layers." + LabelOf(part),
            ("TRAINABLE_TOKENS", PeftPart.TokenRows) => ".trainable_tokens_delta",
            (_, PeftPart.Weight) => ".weight",
            (_, PeftPart.Bias) => ".bias",
            (_, PeftPart.BaseWeight) => ".base_layer.weight",
            _ => s_parts.First(p => p.Part == part).Ending,
        };
        return Prefix + module + ending;
    }

    /// <summary>Opens an adapter of any format of <see cref="AdapterFormats"/>, a file or a folder. Throws <see cref="ModelFileException"/>, which names <paramref name="path"/>, with every fault.</summary>
    public static PeftAdapter Open(string path) => AdapterFormats.Read(path);

    /// <summary>The configuration of an adapter of any format, with the methods that are read as LoRA translated. Throws <see cref="ModelFileException"/>, which names <paramref name="path"/>.</summary>
    public static PeftConfig ReadConfig(string path)
    {
        if (AdapterFormats.Find(path) is PeftFormat or PeftBinaryFormat)
            return PeftFormat.ReadConfig(path).Config;
        using PeftAdapter adapter = Open(path);
        return adapter.Config;
    }

    /// <summary>Whether <paramref name="folder"/> holds a PEFT adapter of its own.</summary>
    public static bool IsAdapter(string folder) => System.IO.File.Exists(Path.Combine(folder, PeftConfigReader.FileName));

    /// <summary>Puts a configuration and tensors (under PEFT's names) from elsewhere together. Takes ownership of <paramref name="tensors"/>, also when it throws.</summary>
    public static PeftAdapter From(string path, PeftConfig config, TensorFile tensors) => Assemble(path, config, PeftConfigWriter.ToJson(config), tensors, tensors);

    /// <summary>An adapter in memory, of tensors that have no names yet. Throws <see cref="ModelFileException"/> for <paramref name="path"/> where one is there twice.</summary>
    /// <param name="path">What messages call it.</param>
    /// <param name="config">The configuration.</param>
    /// <param name="tensors">Module without prefix, part, value.</param>
    /// <param name="metadata">Free texts; null: none.</param>
    public static PeftAdapter Create(string path, PeftConfig config, IEnumerable<(string Module, PeftPart Part, Tensor Value)> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        Dictionary<string, Tensor> named = [];
        FaultList faults = new(path);
        foreach (Tensor tensor in tensors.Select(t => Named(config, t)))
            if (!named.TryAdd(tensor.Name, tensor))
                faults.Add($"{tensor.Name}: is there twice");
        faults.ThrowIfAny();
        return From(path, config, new TensorFile(path, named, metadata ?? s_metadata, []));
    }

    /// <summary>The same tensors under another configuration. They stay this adapter's: of the two, one is disposed.</summary>
    public PeftAdapter With(PeftConfig config) => new(FilePath, config, PeftConfigWriter.ToJson(config), File, new(Modules.ToDictionary(), StringComparer.Ordinal), _owner) { Header = Header, Format = Format, RowOrder = RowOrder, WidthFault = WidthFault, Unread = Unread };

    /// <summary>Other tensors under the same names, in the checkpoint's row order, under the same configuration or <paramref name="config"/>. Of the two, one is disposed.</summary>
    public PeftAdapter WithTensors(IReadOnlyDictionary<string, Tensor> tensors, PeftConfig? config = null)
    {
        PeftAdapter other = Assemble(FilePath, config ?? Config, config is null ? ConfigJson : PeftConfigWriter.ToJson(config), new(FilePath, tensors, File.Metadata, []), _owner, Header);
        (other.Format, other.WidthFault, other.Unread) = (Format, WidthFault, Unread);
        return other;
    }

    /// <summary>The same numbers stored as <paramref name="type"/>; null: this adapter itself. It stays the owner: the result is only to be written. Throws <see cref="ModelFileException"/> naming tensors with numbers too large.</summary>
    public PeftAdapter As(DType? type)
    {
        if (type is not { } to || Tensors.Values.All(t => t.Type == to))
            return this;
        FaultList faults = new(FilePath);
        Dictionary<string, Tensor> tensors = [];
        foreach ((string name, Tensor tensor) in Tensors)
        {
            if (tensor.Type is not (DType.F32 or DType.F16 or DType.BF16 or DType.F64))
                faults.Add($"{name}: is {tensor.Type}, which is not changed to {to}");
            else
                ScaleFold.Require(tensor, 1, to, name, FilePath);
            tensors[name] = tensor.Type == to ? tensor : new(name, to, tensor.Shape, new ComputedStorage(to.Bytes(tensor.Shape.Elements), () => ScaleFold.Apply(tensor, 1, to)));
        }
        faults.ThrowIfAny();
        PeftAdapter other = WithTensors(tensors);
        other.RowOrder = RowOrder;
        return other;
    }

    /// <summary>The same adapter without metadata of its own: a task's name, a prompt's prefix, what a GGUF says of its author. It stays the owner.</summary>
    public PeftAdapter WithoutTexts() =>
        new(FilePath, Config, ConfigJson, new TensorFile(FilePath, Tensors, File.Metadata.Where(m => !m.Key.StartsWith(MetadataPrefix, StringComparison.Ordinal) && !m.Key.StartsWith("general.", StringComparison.Ordinal)).ToDictionary(), []), new(Modules.ToDictionary(), StringComparer.Ordinal), _owner)
        { Header = Header, Format = Format, RowOrder = RowOrder, WidthFault = WidthFault };

    /// <summary>Folder of the base that an adapter's config names, relative to the adapter.</summary>
    public static string BaseFolder(string adapterFolder) =>
        Path.GetFullPath(Path.Combine(adapterFolder, PeftFormat.ReadConfig(adapterFolder).Config.BaseModel ?? throw new ModelFileException(adapterFolder, "base_model_name_or_path: is missing")));

    /// <summary>The stored layer that each layer runs, as an adapter's layer_replication asks of its base; null: as stored.</summary>
    public static int[]? LayerReplication(string path) =>
        ReadConfig(path).LayerReplication is { } ranges ? [.. ranges.SelectMany(r => Enumerable.Range(r.Start, r.End - r.Start))] : null;

    /// <summary>
    /// Writes this adapter as a folder that PEFT loads: the same tensors, the same configuration text; the folder is created where it is absent.
    /// Tensors first, the configuration last: a folder that is only half written is no adapter yet.
    /// </summary>
    public void Write(string folder, CancellationToken cancellation = default)
    {
        RequireCheckpointOrder();
        Directory.CreateDirectory(folder);
        Safetensors.Write(Path.Combine(folder, WeightsName), Tensors.Values, WrittenMetadata, cancellation);
        AtomicFile.WriteText(Path.Combine(folder, PeftConfigReader.FileName), ConfigJson);
    }

    /// <summary>Writes this adapter as <c>.elora</c>.</summary>
    /// <param name="path">The file.</param>
    /// <param name="name">The adapter's name.</param>
    /// <param name="parentFingerprint">Fingerprint of its parent's tensors; empty below the root.</param>
    /// <param name="baseFingerprint">Fingerprint of the base; empty where unknown.</param>
    /// <param name="cancellation">Stops between two tensors; nothing is left behind.</param>
    public void WriteElora(string path, string name, string parentFingerprint = "", string baseFingerprint = "", CancellationToken cancellation = default)
    {
        RequireCheckpointOrder();
        EdgeAdapter.Write(path, new()
        {
            Name = name,
            ParentFingerprint = parentFingerprint,
            BaseFingerprint = baseFingerprint,
            Rank = Config.Rank,
            Alpha = Config.Alpha,
            Targets = Config.TargetPattern is { } pattern ? [pattern.Source] : Config.TargetsAllLinear ? ["all-linear"] : Config.TargetModules,
            ConfigJson = ConfigJson,
            // The name has its place in the header.
            Metadata = File.Metadata.Where(m => m.Key != GgufFormat.NameKey).ToDictionary(),
        }, Tensors.Values.OrderBy(t => t.Name, StringComparer.Ordinal), cancellation);
    }

    private IReadOnlyDictionary<string, string> WrittenMetadata => File.Metadata.Keys.All(k => k == FormatKey) ? s_metadata : WithFormat("pt");

    /// <summary>The file's free texts as another container of the same kind keeps them.</summary>
    internal Dictionary<string, string> WithFormat(string format) => new(File.Metadata.Where(m => m.Key != FormatKey).Append(new(FormatKey, format)), StringComparer.Ordinal);

    private void RequireCheckpointOrder()
    {
        if (RowFault is { } fault)
            throw new ModelFileException(FilePath, fault);
    }

    private static Tensor Named(PeftConfig config, (string Module, PeftPart Part, Tensor Value) t) => t.Value.View(NameOf(config, t.Module, t.Part), t.Value.Shape);

    /// <summary>Sorts tensors by module. Takes ownership of <paramref name="owner"/>, also when it throws.</summary>
    internal static PeftAdapter Assemble(string path, PeftConfig config, string configJson, TensorFile tensors, IDisposable owner, EdgeAdapterHeader? header = null)
    {
        try
        {
            FaultList faults = new(path);
            Dictionary<string, Dictionary<PeftPart, Tensor>> found = [];
            foreach ((string name, Tensor tensor) in tensors.Tensors)
            {
                string plain = name.StartsWith(Prefix, StringComparison.Ordinal) ? name[Prefix.Length..] : name;
                (string ending, PeftPart part) = s_parts.FirstOrDefault(p => plain.Length > p.Ending.Length && plain.EndsWith(p.Ending, StringComparison.Ordinal));
                if (ending is null)
                {
                    faults.Add($"{plain}: is no tensor of a LoRA adapter");
                    continue;
                }
                string module = plain[..^ending.Length];
                if (part is PeftPart.Weight or PeftPart.Bias && module.Split('.') is [_, .., string kind, string adapter] && s_named.Contains(kind))
                    faults.Add($"{plain}: holds the adapter's name ({adapter}), which PEFT leaves out of its files");
                if (!found.TryGetValue(module, out Dictionary<PeftPart, Tensor>? parts))
                    found[module] = parts = [];
                if (!parts.TryAdd(part, tensor))
                    faults.Add($"{module}.{LabelOf(part)}: is there twice");
            }
            faults.ThrowIfAny();
            SortedDictionary<string, PeftModule> modules = new(StringComparer.Ordinal);
            foreach ((string module, Dictionary<PeftPart, Tensor> parts) in found)
                modules[module] = new(module, parts);
            return new(path, config, configJson, tensors, modules, owner) { Header = header };
        }
        catch
        {
            owner.Dispose();
            throw;
        }
    }
}
