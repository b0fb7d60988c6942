using System.Diagnostics;
using System.Text.Json;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>The broken files of fixtures/malformed, made by fixtures/scripts/malformed.py: what each is and what a reader must do with it.</summary>
public static class MalformedCases
{
    private const string Marker = "edgelora_pwned.marker";

    /// <summary>One row of cases.json.</summary>
    public sealed record Case(string File, string What, string Must, string Keyword);

    /// <summary>Files of one format, as theory data; none where the reference data is absent.</summary>
    public static TheoryData<string> Files(string format) => new(Of(format).Select(c => c.File));

    /// <summary>The case of <paramref name="file"/>.</summary>
    public static Case Find(string format, string file) => Of(format).Single(c => c.File == file);

    /// <summary>Absolute path of a case.</summary>
    public static string PathOf(string file) => SharedFolder.Require("fixtures/malformed/" + file);

    /// <summary>Opens a case and checks the verdict, the keyword, the file's name, the time and the bytes allocated.</summary>
    /// <param name="row">The case.</param>
    /// <param name="path">What is opened.</param>
    /// <param name="fileName">The name that the message must hold.</param>
    /// <param name="open">Opens it and disposes of the result.</param>
    public static void Judge(Case row, string path, string fileName, Action open)
    {
        ModelFileException? refusal = Attempt(open);
        // The second run is measured: the first one compiles.
        long before = GC.GetAllocatedBytesForCurrentThread();
        Stopwatch clock = Stopwatch.StartNew();
        Attempt(open);
        Assert.True(clock.ElapsedMilliseconds < 1000, $"{row.File}: took {clock.ElapsedMilliseconds} ms");
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        long size = File.Exists(path) ? new FileInfo(path).Length : new DirectoryInfo(path).EnumerateFiles().Sum(f => f.Length);
        Assert.True(allocated <= 4 * size + (2 << 20), $"{row.File}: allocated {allocated} bytes for {size}");
        Assert.False(File.Exists(Marker), $"{row.File}: a payload was run");

        if (row.Must == "accept")
            Assert.True(refusal is null, $"{row.File} ({row.What}) was refused: {refusal?.Message}");
        if (row.Must == "refuse")
            Assert.True(refusal is not null, $"{row.File} ({row.What}) was accepted");
        if (refusal is null)
            return;
        Assert.Contains(fileName, refusal.Message, StringComparison.Ordinal);
        // The file's own name does not count as having named the fault.
        string faults = string.Join("\n", refusal.Faults);
        if (row.Must == "refuse" && row.Keyword != fileName)
            Assert.Contains(row.Keyword, faults, StringComparison.OrdinalIgnoreCase);
    }

    private static ModelFileException? Attempt(Action open)
    {
        try
        {
            open();
            return null;
        }
        catch (ModelFileException e)
        {
            return e;
        }
    }

    private static List<Case> Of(string format)
    {
        string path = Path.Combine(SharedFolder.Repository, "..", "shared", "fixtures", "malformed", "cases.json");
        if (!File.Exists(path))
            return [];
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
        return [.. document.RootElement.EnumerateArray().Where(e => e.GetProperty("format").GetString() == format).Select(e => new Case(
            e.GetProperty("file").GetString()!, e.GetProperty("what").GetString()!, e.GetProperty("must").GetString()!, e.GetProperty("keyword").GetString()!))];
    }
}
