using System.Text;
using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>What a <c>.elora</c> file says of its adapter.</summary>
public sealed record EdgeAdapterHeader
{
    /// <summary>The adapter's name: not empty, at most 255 characters, no path separators or control characters.</summary>
    public required string Name { get; init; }

    /// <summary>Fingerprint of the parent adapter's tensors; empty for a child of the bare base.</summary>
    public string ParentFingerprint { get; init; } = "";

    /// <summary>Fingerprint of the base (<see cref="Fingerprint"/>); empty when the adapter is not tied to one.</summary>
    public string BaseFingerprint { get; init; } = "";

    /// <summary>Rank of the adapter where no pattern says otherwise; 0 for methods without one.</summary>
    public int Rank { get; init; }

    /// <summary>Alpha of the adapter where no pattern says otherwise; finite.</summary>
    public double Alpha { get; init; }

    /// <summary>Target modules as they were configured.</summary>
    public IReadOnlyList<string> Targets { get; init; } = [];

    /// <summary>The whole <c>adapter_config.json</c> as text, so that converting loses nothing.</summary>
    public string ConfigJson { get; init; } = "{}";

    /// <summary>Free strings: the container metadata of the file that it was converted from.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; init; } = new Dictionary<string, string>();

    /// <summary>Largest rank.</summary>
    internal const int MaxRank = 1 << 16;

    /// <summary>The rules that both the reader and the writer keep.</summary>
    internal void Check(string path, FaultList faults)
    {
        if (Name.Length is 0 or > 255 || Name.Any(char.IsControl) || Name.AsSpan().ContainsAny("/\\:") || Name is "." or "..")
            faults.Add($"name: expected 1 to 255 characters without separators, found '{(Name.Length > 40 ? Name[..40] + "..." : Name)}'");
        if (ParentFingerprint.Length > 0 && !Fingerprint.IsValid(ParentFingerprint))
            faults.Add("parent: expected 32 lower-case hexadecimal digits or nothing");
        if (BaseFingerprint.Length > 0 && !Fingerprint.IsValid(BaseFingerprint))
            faults.Add("base: expected 32 lower-case hexadecimal digits or nothing");
        if (Rank is < 0 or > MaxRank)
            faults.Add($"rank: expected a whole number from 0 to {MaxRank}, found {Rank}");
        if (!double.IsFinite(Alpha))
            faults.Add($"alpha: expected a finite number, found {Alpha}");
        try
        {
            using JsonDocument document = SafeJson.Parse(path, Encoding.UTF8.GetBytes(ConfigJson), "config");
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                faults.Add($"config: expected a JSON object, found {SafeJson.Kind(document.RootElement.ValueKind)}");
        }
        catch (ModelFileException e)
        {
            faults.Add(e.Faults[0]);
        }
    }
}
