using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>What one adapter does at one site, in the file's own tensors.</summary>
/// <param name="Site">Where.</param>
/// <param name="A">[R, I] (embedding: [R, V]), with B; or null.</param>
/// <param name="B">[O, R], rows in the stored order of the base.</param>
/// <param name="Scale">alpha/r or alpha/√r.</param>
/// <param name="Magnitude">DoRA's m [O], or null.</param>
/// <param name="LoraBias">Bias of B [O], scaled like B, or null.</param>
/// <param name="Weight">Replaces the site's weight (or gain), or null.</param>
/// <param name="Bias">Replaces the site's bias, or null.</param>
/// <param name="TokenIds">Replaced rows, ascending, with <paramref name="TokenRows"/>; or null.</param>
/// <param name="TokenRows">[n, D].</param>
public sealed record SiteDelta(ModelSite Site, Tensor? A = null, Tensor? B = null, double Scale = 0, Tensor? Magnitude = null, Tensor? LoraBias = null,
    Tensor? Weight = null, Tensor? Bias = null, int[]? TokenIds = null, Tensor? TokenRows = null);

/// <summary>A LoRA adapter that fits its base: validated whole, or refused with every fault named. Tensors stay mapped.</summary>
public sealed class LoraAdapter : IDisposable
{
    private readonly PeftAdapter _file;

    internal LoraAdapter(PeftAdapter file, string name, IReadOnlyList<SiteDelta> deltas)
    {
        _file = file;
        Name = name;
        Deltas = deltas;
        ByteLength = deltas.Sum(d => new[] { d.A, d.B, d.Magnitude, d.LoraBias, d.Weight, d.Bias, d.TokenRows }.Sum(t => t?.ByteLength ?? 0));
        int[] ranks = deltas.Where(d => d.A is not null).Select(d => (int)d.A!.Shape[0]).DefaultIfEmpty(0).ToArray();
        MinRank = ranks.Min();
        MaxRank = ranks.Max();
    }

    /// <summary>The node's name.</summary>
    public string Name { get; }

    /// <summary>The adapter's config.</summary>
    public PeftConfig Config => _file.Config;

    /// <summary>What it does, site by site.</summary>
    public IReadOnlyList<SiteDelta> Deltas { get; }

    /// <summary>Bytes of its tensors.</summary>
    public long ByteLength { get; }

    /// <summary>Smallest rank.</summary>
    public int MinRank { get; }

    /// <summary>Largest rank.</summary>
    public int MaxRank { get; }

    /// <summary>lora_alpha.</summary>
    public float Alpha => (float)Config.Alpha;

    /// <summary>LoRA, rsLoRA, DoRA, aLoRA, PiSSA, OLoRA.</summary>
    public string Form => Config.InvocationTokens is not null ? "aLoRA" : Config.BaseChange == "pissa" ? "PiSSA" : Config.BaseChange == "olora" ? "OLoRA"
        : Config.UseDora ? "DoRA" : Config.UseRsLora ? "rsLoRA" : "LoRA";

    /// <summary>XxHash128 over the tensors, 32 hex digits.</summary>
    public string ContentFingerprint => Fingerprint.Of(_file.Tensors.Values);

    /// <summary>Reads a folder or .elora file and checks it against a base. Throws one <see cref="ModelFileException"/> with every fault.</summary>
    public static LoraAdapter Load(string path, string name, SiteCatalog sites)
    {
        PeftAdapter file = PeftAdapter.Open(path);
        try
        {
            return new(file, name, new AdapterFit(file, sites).Check());
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();
}
