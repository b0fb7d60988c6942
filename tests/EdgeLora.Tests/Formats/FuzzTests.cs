extern alias fuzz;

using fuzz::EdgeLora.Fuzz;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>What <c>tools/EdgeLora.Fuzz</c> found once, and a short run of it: every reader loads or refuses, by its documented exceptions, within 4 times the file (and the format's slack).</summary>
public sealed class FuzzTests
{
    private static readonly string s_found = Path.Combine(SharedFolder.Repository, "tests", "EdgeLora.Tests", "Formats", "Found");

    public static TheoryData<string> FormatNames => new(FuzzFormat.All.Select(f => f.Name));

    public static TheoryData<string> SoundFormats => new(FuzzFormat.All.Where(f => f.HasSoundSeed).Select(f => f.Name));

    public static TheoryData<string> FoundFiles => new(Directory.EnumerateFiles(s_found, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(s_found, f).Replace('\\', '/')).Order(StringComparer.Ordinal));

    [Theory, MemberData(nameof(FoundFiles))]
    public void What_the_fuzzer_found_stays_mended(string file)
    {
        FuzzFormat format = FuzzFormat.All.Single(f => f.Name == file.Split('/')[0]);
        using WorkFolder folder = new();
        format.Prepare(folder.Path);
        Judge judge = new(format, folder.Path, isAlone: false);
        foreach (byte[] seed in format.Seeds())
            Assert.Null(judge.Run(seed));
        Assert.Null(judge.Run(File.ReadAllBytes(Path.Combine(s_found, file))));
    }

    [Theory, MemberData(nameof(FormatNames))]
    public void A_short_fuzz_of_every_reader_finds_nothing(string name)
    {
        using WorkFolder folder = new();
        FuzzReport report = new FuzzRun(FuzzFormat.All.Single(f => f.Name == name), folder.Path, seed: 20, coverage: null, isAlone: false).Run(600, TimeSpan.FromSeconds(3), []);
        Assert.Empty(report.Findings.Select(f => $"{f.Finding.Kind} {f.Finding.Where} {f.Finding.Detail} in {Convert.ToBase64String(f.Input)}"));
        Assert.True(report.Inputs > 20, $"{report.Inputs} inputs were judged");
    }

    [Theory, MemberData(nameof(SoundFormats))]
    public void Every_format_s_own_seeds_are_sound(string name)
    {
        FuzzFormat format = FuzzFormat.All.Single(f => f.Name == name);
        using WorkFolder folder = new();
        format.Prepare(folder.Path);
        foreach (byte[] seed in format.Seeds().Take(1))
        {
            File.WriteAllBytes(Path.Combine(folder.Path, format.FileName), seed);
            format.Open(folder.Path);
        }
    }

    [Fact]
    public void The_mutator_makes_the_same_bytes_of_the_same_seed()
    {
        FuzzFormat format = FuzzFormat.All[0];
        byte[] seed = format.Seeds().First();
        Mutator first = new(format, 5), second = new(format, 5), other = new(format, 6);
        byte[][] a = [.. Enumerable.Range(0, 50).Select(_ => first.Mutate(seed, seed))], b = [.. Enumerable.Range(0, 50).Select(_ => second.Mutate(seed, seed))], c = [.. Enumerable.Range(0, 50).Select(_ => other.Mutate(seed, seed))];
        Assert.Equal(a, b);
        Assert.NotEqual(a, c);
    }

    [Fact]
    public void A_reader_that_breaks_a_rule_is_found_and_its_input_cut_down()
    {
        using WorkFolder folder = new();
        FuzzReport report = new FuzzRun(new BrokenFuzz(), folder.Path, seed: 1, coverage: null, isAlone: false).Run(3000, TimeSpan.FromSeconds(20), []);
        (Finding Finding, byte[] Input)[] found = [.. report.Findings.OrderBy(f => f.Finding.Kind, StringComparer.Ordinal)];
        Assert.Equal(["allocation", "exception"], found.Select(f => f.Finding.Kind));
        Assert.Single(found[0].Input);
        Assert.Equal("B", System.Text.Encoding.ASCII.GetString(found[1].Input));
        Assert.StartsWith("FormatException", found[1].Finding.Where);
    }

    private sealed class BrokenFuzz : FuzzFormat
    {
        public override string Name => "broken";

        public override string FileName => "x";

        public override IEnumerable<byte[]> Seeds() => ["CCCCCCCCCCCCCCCC"u8.ToArray()];

        public override void Open(string folder)
        {
            byte[] bytes = File.ReadAllBytes(Path.Combine(folder, FileName));
            if (bytes.Contains((byte)'A'))
                GC.KeepAlive(new byte[1 << 20]);
            else if (bytes.Contains((byte)'B'))
                throw new FormatException("a B");
        }
    }
}
