namespace EdgeLora.Fuzz;

/// <summary>Judges files as they are: what was found before, or a corpus.</summary>
internal static class Replay
{
    /// <summary>Judges a file, or a folder's files, as each of the formats; returns 1 where something is wrong.</summary>
    public static int Run(IReadOnlyList<FuzzFormat> formats, string path)
    {
        string[] files = Directory.Exists(path) ? [.. Directory.EnumerateFiles(path).Where(f => !f.EndsWith(".txt", StringComparison.Ordinal)).Order(StringComparer.Ordinal)] : [path];
        int wrong = 0;
        foreach (FuzzFormat format in formats)
        {
            using WorkFolder place = new();
            format.Prepare(place.Path);
            Judge judge = new(format, place.Path);
            foreach (byte[] seed in format.Seeds())
                _ = judge.Run(seed);
            foreach (string file in files)
            {
                if (judge.Run(File.ReadAllBytes(file)) is not { } finding)
                    continue;
                Console.Out.WriteLine($"{file} as {format.Name}: {finding.Kind} {finding.Where}\n{finding.Detail}");
                wrong++;
            }
            Console.Out.WriteLine(FormattableString.Invariant($"{format.Name}: {files.Length} files, {wrong} wrong, {judge.MostBeyond} bytes at most beyond 4 times a file, {judge.Slowest.TotalSeconds:0.000} s the longest"));
        }
        return wrong > 0 ? 1 : 0;
    }
}
