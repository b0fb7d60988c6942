namespace EdgeLora.Fuzz;

/// <summary>A copy of this program whose readers count their branches.</summary>
internal static class Instrumented
{
    private const string FolderName = "instrumented";

    private static readonly string[] s_assemblies = ["EdgeLora.Core.dll", "EdgeLora.Models.dll", "EdgeLora.Training.dll", "EdgeLora.dll"];

    /// <summary>Whether this process is that copy.</summary>
    public static bool IsHere => Path.GetFileName(Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory)) == FolderName;

    /// <summary>Makes the copy where it is missing or older than the program, and returns its executable.</summary>
    public static string Prepare()
    {
        string source = AppContext.BaseDirectory, folder = Path.Combine(source, FolderName), stamp = Path.Combine(folder, "made"), name = OperatingSystem.IsWindows() ? "EdgeLora.Fuzz.exe" : "EdgeLora.Fuzz";
        string[] files = [.. Directory.EnumerateFiles(source).Where(f => !f.EndsWith(".pdb", StringComparison.Ordinal))];
        if (File.Exists(stamp) && files.All(f => File.GetLastWriteTimeUtc(f) <= File.GetLastWriteTimeUtc(stamp)))
            return Path.Combine(folder, name);
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
        Directory.CreateDirectory(folder);
        foreach (string file in files)
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        foreach (string assembly in s_assemblies)
            SharpFuzz.Fuzzer.Instrument(Path.Combine(folder, assembly), _ => true, SharpFuzz.Options.Value);
        File.WriteAllText(stamp, "");
        return Path.Combine(folder, name);
    }
}
