using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// An adapter that fits its base: every tensor was matched with a site, every promise of its configuration is kept. Tensors are views into the mapped file;
/// copies are made only of what a permuted base (llama GGUF) or F64 forces. Nothing is on a device yet: see <see cref="ResidentAdapter"/>.
/// </summary>
public sealed class LoraAdapter : IDisposable
{
    private readonly PeftAdapter _file;

    private readonly TensorFile _tensors;

    private LoraAdapter(string name, PeftAdapter file, TensorFile tensors, SiteDelta[] deltas, BottleneckDelta[] bottlenecks)
    {
        _tensors = tensors;
        Bottlenecks = bottlenecks;
        Name = name;
        _file = file;
        Deltas = deltas;
        ByteLength = deltas.Sum(d => (d.Weight?.ByteLength ?? 0) + (d.Rows?.Values.ByteLength ?? 0) + (d.Bias?.ByteLength ?? 0) + (d.LowRank?.ByteLength ?? 0) + (d.Map?.BytesAt(d.Site) ?? 0)) + bottlenecks.Sum(b => b.ByteLength);
        int[] ranks = [.. deltas.Where(d => d.LowRank is not null).Select(d => d.LowRank!.Rank).DefaultIfEmpty(0)];
        MinRank = ranks.Min();
        MaxRank = ranks.Max();
    }

    /// <summary>The adapter's name: the folder's, unless told otherwise.</summary>
    public string Name { get; }

    /// <summary>The parsed configuration.</summary>
    public PeftConfig Config => _file.Config;

    /// <summary>The opened file, for converting and writing it again; LoRA on fused experts as pairs of the base's own layers.</summary>
    public PeftAdapter File => _file;

    /// <summary>What it does, by ascending site index; one entry a site.</summary>
    public IReadOnlyList<SiteDelta> Deltas { get; }

    /// <summary>Bottlenecks, by ascending index.</summary>
    public IReadOnlyList<BottleneckDelta> Bottlenecks { get; }

    /// <summary>Bytes of the tensors it uses, and of the weights that input maps make of the base's.</summary>
    public long ByteLength { get; }

    /// <summary>Smallest rank of any site; 0 for methods without one.</summary>
    public int MinRank { get; }

    /// <summary>Largest rank of any site.</summary>
    public int MaxRank { get; }

    /// <summary>alpha where no pattern says otherwise.</summary>
    public float Alpha => (float)Config.Alpha;

    /// <summary>LoRA, rsLoRA, DoRA, aLoRA, PiSSA, OLoRA, trainable tokens, LN tuning, IA3, OFT, BOFT, whole tensors, bottleneck.</summary>
    public string Form => Config.PeftType switch
    {
        "TRAINABLE_TOKENS" => "trainable tokens",
        "LN_TUNING" => "LN tuning",
        PeftConfig.Partial => "whole tensors",
        PeftConfig.Bottleneck => "bottleneck",
        "IA3" or "OFT" or "BOFT" => Config.PeftType,
        _ when Config.InvocationTokens is not null => "aLoRA",
        _ when Config.Residual == PeftResidual.Pissa => "PiSSA",
        _ when Config.Residual == PeftResidual.Olora => "OLoRA",
        _ => Config.UseDora ? "DoRA" : Config.UseRslora ? "rsLoRA" : "LoRA",
    };

    /// <summary>XxHash128 over the file's tensors, 32 hex digits. Reads them all.</summary>
    public string ContentFingerprint => Fingerprint.Of(_tensors);

    /// <summary>Opens a folder or file of any format of <see cref="AdapterFormats"/> and fits it to a base. Throws one <see cref="ModelFileException"/> with every fault.</summary>
    /// <param name="path">The folder or file.</param>
    /// <param name="name">The adapter's name.</param>
    /// <param name="sites">The base's modules.</param>
    /// <param name="trustElora"><see cref="AdapterOptions.TrustElora"/>.</param>
    public static LoraAdapter Load(string path, string name, SiteCatalog sites, bool trustElora = false) => Fit(AdapterFormats.Read(path, new() { Layers = sites.LinearLayers, TrustElora = trustElora }), sites, name);

    /// <summary>Fits an opened adapter to a base. Takes ownership of <paramref name="file"/>, also when it throws <see cref="ModelFileException"/>.</summary>
    public static LoraAdapter Fit(PeftAdapter file, SiteCatalog sites, string name)
    {
        string? architecture = file.RowOrder;
        file = GgufRows.ToCheckpoint(file, GgufNames.ArchitectureOf(sites.ModelType), module => sites.Find(module)?.Heads);
        TensorFile tensors = file.File;
        try
        {
            file = FusedExperts.Split(file, sites.LinearLayers);
            return file.Config.PeftType == PeftConfig.Bottleneck
                ? new(name, file, tensors, [], new BottleneckFit(file, sites).Run())
                : new(name, file, tensors, new AdapterFit(file, sites).Run(), []);
        }
        catch (ModelFileException e) when (architecture is not null)
        {
            file.Dispose();
            // The file's own names say it to who looks into the file.
            throw new ModelFileException(file.FilePath, [.. e.Faults.Select(f => Find(file.Modules.Keys, f) is { } module ? $"{GgufNames.ToGguf(architecture, module + ".weight") ?? GgufStacks.PartToGguf(architecture, module + ".weight")?.Name}: {f}" : f)]);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Unmaps the file. Nothing on a path may look into it any more.</summary>
    public void Dispose() => _file.Dispose();

    // The module that a fault begins with.
    private static string? Find(IEnumerable<string> modules, string fault) =>
        modules.FirstOrDefault(m => fault.StartsWith(m, StringComparison.Ordinal) && fault.Length > m.Length && fault[m.Length] is '.' or ':');

    /// <inheritdoc/>
    public override string ToString() => $"{Name}: {Form}, rank {MaxRank}, {Deltas.Count + Bottlenecks.Count} sites, {ByteLength} bytes";
}
