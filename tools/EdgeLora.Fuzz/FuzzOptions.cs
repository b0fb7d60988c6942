using System.Globalization;

namespace EdgeLora.Fuzz;

/// <summary>What the command line asks for.</summary>
/// <param name="Inputs">Most inputs of a format.</param>
/// <param name="Seed">Of the mutations.</param>
/// <param name="Seconds">Longest time of a format.</param>
/// <param name="Corpus">Folder of kept inputs, or null.</param>
/// <param name="Shared">Folder of reference data, or null.</param>
/// <param name="Findings">Folder for what is found.</param>
internal sealed record FuzzOptions(long Inputs, int Seed, double Seconds, string? Corpus, string? Shared, string Findings)
{
    private const int LargestSeed = 32 << 10;

    /// <summary>The reference data beside the repository that this program lies in; null where there is none.</summary>
    public static string? FindShared()
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
            if (File.Exists(Path.Combine(at.FullName, "EdgeLora.sln")))
                return Path.Combine(at.FullName, "..", "shared", "fixtures") is var path && Directory.Exists(path) ? path : null;
        return null;
    }

    /// <summary>Seeds from the reference data and from earlier runs, the small ones.</summary>
    public IEnumerable<byte[]> SeedsOf(FuzzFormat format)
    {
        IEnumerable<string> files = Shared is null ? [] : format.SharedSeeds.SelectMany(pattern => Expand(Shared, pattern.Split('/')));
        if (Corpus is not null && Directory.Exists(Path.Combine(Corpus, format.Name)))
            files = files.Concat(Directory.EnumerateFiles(Path.Combine(Corpus, format.Name)).Order(StringComparer.Ordinal));
        return files.Where(f => new FileInfo(f).Length <= LargestSeed).Select(File.ReadAllBytes);
    }

    /// <summary>The arguments of a worker.</summary>
    public IEnumerable<string> Arguments(FuzzFormat format, string place, long inputs, int seed, double seconds) =>
    [
        "--work", "--place", place, "--format", format.Name, "--inputs", inputs.ToString(CultureInfo.InvariantCulture), "--seed", seed.ToString(CultureInfo.InvariantCulture), "--seconds", seconds.ToString(CultureInfo.InvariantCulture),
        "--findings", Path.GetFullPath(Findings), .. Corpus is null ? Array.Empty<string>() : ["--corpus", Path.GetFullPath(Corpus)], .. Shared is null ? Array.Empty<string>() : ["--shared", Path.GetFullPath(Shared)],
    ];

    private static IEnumerable<string> Expand(string folder, ReadOnlySpan<string> parts)
    {
        string pattern = parts[0];
        if (parts.Length == 1)
            return Directory.Exists(folder) ? Directory.EnumerateFiles(folder, pattern).Order(StringComparer.Ordinal) : [];
        string[] rest = parts[1..].ToArray();
        return !Directory.Exists(folder) ? [] : Directory.EnumerateDirectories(folder, pattern).Order(StringComparer.Ordinal).SelectMany(d => Expand(d, rest));
    }
}
