using System.Globalization;
using System.Text.Json;
using System.Xml.Linq;
using EdgeLora.Cli;
using EdgeLora.Cli.Bench;
using EdgeLora.Core;
using EdgeLora.Measuring;
using Xunit;

namespace EdgeLora.Tests.Cli;

public sealed class BenchCompareTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-bench-tests-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Medians_spreads_and_their_ratio_are_those_of_the_numbers()
    {
        Assert.Equal(3, Rounds.MedianOf([5, 1, 3]));
        Assert.Equal(2.5, Rounds.MedianOf([4, 1, 3, 2]));
        Assert.True(double.IsNaN(Rounds.MedianOf([])));
        // Quartiles 2 and 4 around 3.
        Assert.Equal(1.0 / 3, BenchStatistics.Spread([1, 2, 3, 4, 5]), 1e-12);
        Assert.Equal(0, BenchStatistics.Spread([7]));
        Assert.Equal(new RatioInterval(1.5, 1.5, 1.5), BenchStatistics.MedianRatio([2, 2, 2], [3, 3, 3]));
        // Of one sample and three: the ratio is one of three, each end of the interval the outermost, for one value is drawn to the middle more often than in 1 of 40.
        Assert.Equal(new RatioInterval(2, 1, 3), BenchStatistics.MedianRatio([1], [1, 2, 3]));
    }

    [Fact]
    public void An_interval_holds_the_true_ratio_about_as_often_as_it_says()
    {
        Random random = new(5);
        int held = 0;
        const int trials = 200;
        for (int i = 0; i < trials; i++)
        {
            double[] a = [.. Enumerable.Range(0, 25).Select(_ => 1 + random.NextDouble())], b = [.. Enumerable.Range(0, 25).Select(_ => 1.2 * (1 + random.NextDouble()))];
            RatioInterval ratio = BenchStatistics.MedianRatio(a, b);
            Assert.InRange(ratio.Value, ratio.Low, ratio.High);
            if (ratio.Low <= 1.2 && 1.2 <= ratio.High)
                held++;
        }
        Assert.InRange(held, 0.9 * trials, trials);
    }

    [Fact]
    public void Less_time_is_faster_and_so_are_more_tokens()
    {
        BenchReport a = Report(Result("rate", BenchUnit.TokensPerSecond, 10, 11, 10), Result("time", BenchUnit.Milliseconds, 4, 4, 5), Result("same", BenchUnit.Milliseconds, 4, 5, 6), Result("few", BenchUnit.Milliseconds, 4, 4));
        BenchReport b = Report(Result("rate", BenchUnit.TokensPerSecond, 20, 22, 20), Result("time", BenchUnit.Milliseconds, 8, 8, 10), Result("same", BenchUnit.Milliseconds, 5, 4, 6), Result("few", BenchUnit.Milliseconds, 4, 4, 4));
        BenchComparison comparison = BenchComparison.Of(a, b);
        Assert.Equal(["faster", "slower", "no difference seen", "too few samples"], comparison.Cases.Select(c => c.Verdict));
        Assert.Equal([2, 0.5, 1, 1], comparison.Cases.Select(c => c.Speed!.Value.Value));
        Assert.Equal(1, comparison.Mean("cpu")!.Value, 1e-12);
        Assert.Empty(comparison.Unlike);
    }

    [Fact]
    public void Compare_fails_below_a_ratio_only_where_the_whole_interval_is_and_where_a_case_was_lost()
    {
        string a = Write("a.json", Report(Result("slow", BenchUnit.TokensPerSecond, 10, 10, 10), Result("wide", BenchUnit.TokensPerSecond, 10, 10, 10), Result("lost", BenchUnit.TokensPerSecond, 10)));
        string b = Write("b.json", Report(Result("slow", BenchUnit.TokensPerSecond, 8, 8.5, 8), Result("wide", BenchUnit.TokensPerSecond, 5, 8, 12), Result("lost", BenchUnit.TokensPerSecond) with { Error = "no memory" }, Result("new", BenchUnit.TokensPerSecond, 1)));
        Assert.Equal(0, Run("bench", "compare", a, b).Code);
        Assert.Equal(0, Run("bench", "compare", a, a, "--fail-below", "0.99").Code);
        (int code, string output, string error) = Run("bench", "compare", a, b, "--fail-below", "0.9", "--json");
        Assert.Equal(1, code);
        string[] lines = error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(2, lines.Length);
        Assert.StartsWith("cpu, slow: 0.800× as fast (0.800–0.850), below 0.9", lines[0]);
        Assert.StartsWith("cpu, lost: failed in the second: no memory", lines[1]);
        using JsonDocument json = JsonDocument.Parse(output);
        Assert.False(json.RootElement.GetProperty("passed").GetBoolean());
        Assert.Equal(["slow True", "wide False", "lost True", "new False"], json.RootElement.GetProperty("cases").EnumerateArray().Select(c => $"{c.GetProperty("id")} {c.GetProperty("below").GetBoolean()}"));
        Assert.Equal("not in the first", json.RootElement.GetProperty("cases")[3].GetProperty("verdict").GetString());
        // The lower the ratio, the less falls below it.
        Assert.Single(Run("bench", "compare", a, b, "--fail-below", "0.8").Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public void What_differs_besides_the_figures_is_told()
    {
        BenchReport a = Report(Result("x", BenchUnit.TokensPerSecond, 1)), b = a with { Model = "1b", Commit = null, Devices = [a.Devices[0] with { Driver = "newer", Load = new(0.2, 100, 100) }] };
        IReadOnlyList<string> unlike = BenchComparison.Of(a, b).Unlike;
        Assert.Equal(["model: 15m | 1b", "commit: abc | none", "cpu: CPU, 2 threads | CPU, newer"], unlike.Take(3));
        Assert.Contains("OTHER LOAD", unlike[3]);
        Assert.Contains("no measured case in common", Assert.Throws<InvalidDataException>(() => BenchComparison.Of(a, Report(Result("y", BenchUnit.TokensPerSecond, 1)))).Message);
        Assert.Contains("is in tokens/s in the first report and in ms", Assert.Throws<InvalidDataException>(() => BenchComparison.Of(a, Report(Result("x", BenchUnit.Milliseconds, 1)))).Message);
    }

    [Fact]
    public void An_archive_gives_the_report_back_bit_for_bit()
    {
        BenchReport report = Report(Result("a", BenchUnit.TokensPerSecond, 0.1, 1.0 / 3, 8, 1e-300, 123456789.123), Result("b", BenchUnit.Microseconds) with { Error = "lost" }, Result("c", BenchUnit.Milliseconds, -0.5) with { Derived = "x - y", BytesPerToken = 1L << 40 });
        string archive = Path.Combine(_folder, "a.msgpack"), json = Write("a.json", report);
        BenchArchive.Write(archive, report);
        Assert.True(new FileInfo(archive).Length < new FileInfo(json).Length);
        Assert.Equal(File.ReadAllText(json), Text(BenchArchive.Read(archive)));
        Assert.Equal(0, Run("bench", "compare", json, archive, "--fail-below", "1").Code);
    }

    [Fact]
    public void A_file_that_is_no_report_is_refused_by_name()
    {
        string good = Write("good.json", Report(Result("x", BenchUnit.TokensPerSecond, 1)));
        string bytes = Path.Combine(_folder, "cut.msgpack");
        BenchArchive.Write(bytes, Report(Result("x", BenchUnit.TokensPerSecond, 1)));
        File.WriteAllBytes(bytes, File.ReadAllBytes(bytes)[..40]);
        foreach ((string name, string text, string why) in new[]
        {
            ("other.json", """{"kind": "recipe", "version": 1}""", "expected kind edgelora-bench, version 1"),
            ("newer.json", """{"kind": "edgelora-bench", "version": 2}""", "\"edgelora-bench\", 2"),
            ("array.json", "[]", "is no report"),
            ("part.json", """{"kind": "edgelora-bench", "version": 1}""", "is no report"),
            ("unit.json", File.ReadAllText(good).Replace("tokens/s", "stones"), "unit 'stones'"),
            ("text.msgpack", "text", "expected one MessagePack value"),
            ("cut.msgpack", "", "is no MessagePack archive"),
        })
        {
            string file = Path.Combine(_folder, name);
            if (text.Length > 0)
                File.WriteAllText(file, text);
            (int code, string output, string error) = Run("bench", "compare", good, file);
            Assert.Equal((1, ""), (code, output));
            Assert.Contains(name, error);
            Assert.Contains(why, error);
        }
        Assert.Equal(1, Run("bench", "compare", good, Path.Combine(_folder, "nowhere.json")).Code);
        Assert.Equal(2, Run("bench", "compare", good, good, "--fail-below", "0").Code);
        Assert.Equal(2, Run("bench", "compare", good).Code);
    }

    [Fact]
    public void A_page_stands_alone_and_has_every_figure_in_a_table_too()
    {
        CaseResult root = Result("decode/base", BenchUnit.TokensPerSecond, 100, 110, 120), child = root with { Name = root.Name with { Id = "decode/x1", Row = "1 × <b>r 16</b>", Against = "decode/base" }, Samples = [50, 55, 60] };
        BenchReport report = Report(root, child, Result("lost", BenchUnit.Milliseconds) with { Error = "no \"op\" & no <device>" });
        report = report with { Model = "<script>alert(1)</script>", Devices = [.. report.Devices, new("vulkan:0", "GPU", "discrete GPU", "1.3", "no driver", null, null, []), report.Devices[0] with { Id = "vulkan:1" }] };
        string text = BenchHtml.Write(report);
        // Well-formed, so that whatever reads it sees the same.
        XDocument page = XDocument.Parse(text);
        Assert.DoesNotContain(page.Descendants(), e => e.Name.LocalName is "script" or "link" or "img" or "b");
        Assert.DoesNotContain(page.Descendants().Attributes(), a => a.Name.LocalName is "href" or "src" || a.Value.Contains("http"));
        Assert.Contains("prefers-color-scheme: dark", text);
        string[] cells = [.. page.Descendants("td").Select(c => c.Value)];
        foreach (string cell in new[] { "110", "55.0", "2.00", "100", "60.0", "3", "failed: no \"op\" & no <device>" })
            Assert.Contains(cell, cells);
        Assert.Contains(page.Descendants("p"), p => p.Value == "Failed: no driver");
        Assert.All(page.Descendants("table"), t => Assert.NotEmpty(t.Elements("caption")));
        // One chart a device, of its two cases, and one of both devices' bases.
        Assert.Equal(3, page.Descendants("svg").Count());
        Assert.All(page.Descendants("svg"), svg =>
        {
            Assert.Equal("img", svg.Attribute("role")!.Value);
            Assert.Contains("110", svg.Attribute("aria-label")!.Value);
            double[] lengths = [.. svg.Elements("rect").Select(r => double.Parse(r.Attribute("width")!.Value, CultureInfo.InvariantCulture))];
            Assert.Equal(2, lengths.Length);
            Assert.All(svg.Elements("rect"), r => Assert.InRange(double.Parse(r.Attribute("x")!.Value, CultureInfo.InvariantCulture) + lengths[0], 0, 540));
        });
        double[] bars = [.. page.Descendants("svg").Last().Elements("rect").Select(r => double.Parse(r.Attribute("width")!.Value, CultureInfo.InvariantCulture))];
        Assert.Equal(2, bars[0] / bars[1], 0.01);
    }

    private static CaseResult Result(string id, BenchUnit unit, params double[] samples) => new(new(id, "group", id, "column", unit), samples, 1, null);

    private static BenchReport Report(params CaseResult[] cases) => new("0.1.0", "abc", ".NET", "Linux", "X64", 2, DateTimeOffset.UnixEpoch, "15m", "Q8_0", true,
        [new("cpu", "CPU", "CPU", "2 threads", null, new(100, [new("r 16", 10, 11)]), new(0.5, 0, 1.5), cases)]);

    private static string Text(BenchReport report) => System.Text.Encoding.UTF8.GetString(BenchJson.ToUtf8(report).Span);

    private string Write(string name, BenchReport report)
    {
        string file = Path.Combine(_folder, name);
        File.WriteAllText(file, Text(report));
        return file;
    }

    private static (int Code, string Output, string Error) Run(params string[] args)
    {
        using StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(args, output, error);
        return (code, output.ToString(), error.ToString());
    }
}
