using System.Globalization;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>One field's value as it stands in a recipe or behind a flag, not read as any type yet: a scalar, a list of scalars or a map of scalars.</summary>
/// <param name="Where">For faults: <c>line 3</c> or <c>--lora-rank</c>.</param>
/// <param name="Folder">What relative paths start from; null: the current folder.</param>
/// <param name="Scalar">The text, or null for a list or map.</param>
/// <param name="Items">The list, or null.</param>
/// <param name="Entries">The map in file order, or null.</param>
internal sealed record RecipeValue(string Where, string? Folder, string? Scalar, IReadOnlyList<string>? Items = null, IReadOnlyList<(string Key, string Text)>? Entries = null)
{
    /// <summary>How a fault shows it.</summary>
    public string Shown => Scalar is { } text ? $"'{(text.Length > 60 ? text[..57] + "..." : text)}'" : Items is not null ? $"a list of {Items.Count}" : $"a map of {Entries!.Count}";

    /// <summary>The list; a scalar is split at its commas. Null for a map.</summary>
    public IReadOnlyList<string>? List => Items ?? Scalar?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The map; a list or scalar is read as <c>key=value</c> or <c>key: value</c>, in braces or not. Null where one is not.</summary>
    public IReadOnlyList<(string Key, string Text)>? Map
    {
        get
        {
            if (Entries is not null)
                return Entries;
            List<(string, string)> entries = [];
            IReadOnlyList<string> list = Scalar?.Trim() is ['{', .. string inside, '}'] ? new RecipeValue("", null, inside).List! : List!;
            foreach (string item in list)
            {
                int at = item.LastIndexOf('=') is int equals and > 0 ? equals : item.LastIndexOf(": ", StringComparison.Ordinal);
                if (at < 1)
                    return null;
                entries.Add((item[..at].Trim(), item[(at + 1)..].Trim()));
            }
            return entries;
        }
    }

    /// <summary>A path as seen from the current folder; empty for what no path can hold.</summary>
    public string Resolve(string path) => path.Contains('\0') ? "" : Folder is null || Path.IsPathRooted(path) || HubModel.IsHub(path) ? path : Path.GetFullPath(Path.Combine(Folder, path));

    public static bool TryNumber(string? text, double low, double high, out double value) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value) && double.IsFinite(value) && value >= low && value <= high;

    public static bool TryWhole(string? text, long low, long high, out long value) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value) && value >= low && value <= high;

    // YAML 1.1's spellings, as PyYAML reads them.
    public static bool TrySwitch(string? text, out bool value)
    {
        value = text?.ToLowerInvariant() is "true" or "yes" or "on";
        return value || text?.ToLowerInvariant() is "false" or "no" or "off";
    }

    // A count of bytes: plain, or with KB, MB, GB (powers of 1000), KiB, MiB, GiB (of 1024).
    public static bool TryBytes(string? text, out long bytes)
    {
        bytes = 0;
        string digits = text?.TrimEnd("KMGTiBkmgtb ".ToCharArray()) ?? "";
        double unit = text?[digits.Length..].Trim().ToUpperInvariant() switch
        {
            "" or "B" => 1,
            "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "TB" => 1e12,
            "KIB" => 1L << 10,
            "MIB" => 1L << 20,
            "GIB" => 1L << 30,
            "TIB" => 1L << 40,
            _ => double.NaN,
        };
        if (!TryNumber(digits, 0, 1e15, out double number) || !(number * unit is >= 1 and < 1e18))
            return false;
        bytes = (long)(number * unit);
        return true;
    }
}
