using Xunit;

namespace EdgeLora.Tests;

/// <summary>Finds the repository and the reference data that lies beside a developer's checkout. A user's clone has none: tests then skip.</summary>
public static class SharedFolder
{
    /// <summary>The repository's root: the folder of EdgeLora.sln.</summary>
    public static string Repository { get; } = FindRepository();

    /// <summary>Absolute path of <c>../shared/&lt;relative&gt;</c>; skips the calling test, with the reason, where it is absent.</summary>
    public static string Require(string relative)
    {
        string path = Path.GetFullPath(Path.Combine(Repository, "..", "shared", relative));
        if (!File.Exists(path) && !Directory.Exists(path))
            Assert.Skip($"reference data is not here: ../shared/{relative}");
        return path;
    }

    /// <summary>Names of the folders in <c>../shared/&lt;relative&gt;</c>, or none where it is absent. For theory data.</summary>
    public static IReadOnlyList<string> Folders(string relative)
    {
        string path = Path.GetFullPath(Path.Combine(Repository, "..", "shared", relative));
        return Directory.Exists(path)
            ? [.. Directory.GetDirectories(path).Select(d => Path.GetFileName(d)!).Order(StringComparer.Ordinal)]
            : [];
    }

    private static string FindRepository()
    {
        for (DirectoryInfo? d = new(AppContext.BaseDirectory); d is not null; d = d.Parent)
            if (File.Exists(Path.Combine(d.FullName, "EdgeLora.sln")))
                return d.FullName;
        throw new DirectoryNotFoundException("EdgeLora.sln was not found above " + AppContext.BaseDirectory);
    }
}
