using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Cli.Bench;
using EdgeLora.Core;
using EdgeLora.Measuring;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Cli;

/// <summary>What <c>bench</c> says, never how fast it was.</summary>
public sealed class BenchTests : IDisposable
{
    private static readonly string s_tree = Path.Combine(SharedFolder.Repository, "adapters", "nano");

    // One run for all tests that read a report: a device that is here, one that is not.
    private static readonly Lazy<(int Code, string Output, string Error)> s_run = new(() => Run("bench", "--model", s_tree, "--device", "cpu", "--device", "vulkan:99", "--threads", "1", "--quick", "--seconds", "0", "--json"));

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-bench-tests-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Every_case_is_measured_and_stands_in_one_line_of_json()
    {
        JsonElement report = Report();
        JsonElement cpu = report.GetProperty("devices")[0];
        List<string> expected = ["memory/read", "train/lora-r8-2x32", "switch/resident", "switch/fuse", "token/fused", "tick/jitter", "adapter/load", "adapter/mapped", "mixed/s4-n4"];
        foreach (string place in new[] { "base", "all-x1", "all-x2", "all-x4", "qv-x1", "qv-x2", "qv-x4", "wide-x1" })
            expected.AddRange(new[] { "decode/s1", "decode/s4", "decode/s16", "prefill/128", "prefill/512" }.Select(what => $"{what}/{place}"));
        expected.AddRange(new[] { "stay", "resident", "ram", "disk" }.Select(where => $"token/{where}"));
        expected.AddRange(new[] { "resident", "ram", "disk" }.Select(where => $"added/{where}"));
        expected.AddRange(new[] { "assistant", "assistant/polite", "holmes", "shakespeare", "shakespeare/kings" }.Select(node => $"node/{node}"));
        Dictionary<string, JsonElement> cases = cpu.GetProperty("cases").EnumerateArray().ToDictionary(c => c.GetProperty("id").GetString()!);
        Assert.Empty(expected.Except(cases.Keys));
        Assert.All(cases.Values, c =>
        {
            Assert.Equal(JsonValueKind.Null, c.GetProperty("error").ValueKind);
            Assert.NotEmpty(c.GetProperty("samples").EnumerateArray());
            Assert.True(c.GetProperty("repetitions").GetInt32() >= 1);
            Assert.Equal(c.GetProperty("unit").GetString() is "tokens/s" or "GB/s", c.GetProperty("higherIsBetter").GetBoolean());
            if (c.GetProperty("derived").ValueKind == JsonValueKind.Null)
                Assert.True(c.GetProperty("median").GetDouble() > 0);
        });
        Assert.All(expected.Where(id => id.StartsWith("decode/", StringComparison.Ordinal) && !id.EndsWith("/base", StringComparison.Ordinal)), id => Assert.True(cases[id].GetProperty("slowdown").GetDouble() > 0));
        Assert.True(cases["decode/s1/all-x4"].GetProperty("bytesPerToken").GetInt64() > cases["decode/s1/base"].GetProperty("bytesPerToken").GetInt64());
        Assert.True(cases["decode/s1/base"].GetProperty("ofMemoryBandwidth").GetDouble() > 0);
    }

    [Fact]
    public void The_report_says_what_ran_where()
    {
        JsonElement report = Report(), cpu = report.GetProperty("devices")[0];
        Assert.Equal(("edgelora-bench", 1, s_tree, "BF16", true), (report.GetProperty("kind").GetString(), report.GetProperty("version").GetInt32(), report.GetProperty("model").GetString(), report.GetProperty("type").GetString(), report.GetProperty("quick").GetBoolean()));
        foreach (string field in new[] { "edgelora", "runtime", "os", "architecture", "started" })
            Assert.NotEmpty(report.GetProperty(field).GetString()!);
        Assert.Equal(Environment.ProcessorCount, report.GetProperty("cores").GetInt32());
        Assert.Contains("1 thread", cpu.GetProperty("driver").GetString());
        JsonElement bytes = cpu.GetProperty("bytes");
        using EdgeHost host = EdgeHost.Open(s_tree);
        Assert.Equal(host.Model.ByteLength, bytes.GetProperty("base").GetInt64());
        Assert.Equal(["r 16, all linear", "r 8, q+v", "r 64, all linear"], bytes.GetProperty("adapters").EnumerateArray().Select(a => a.GetProperty("label").GetString()));
        // Resident once, and no more than its file.
        Assert.All(bytes.GetProperty("adapters").EnumerateArray(), a => Assert.InRange(a.GetProperty("resident").GetInt64(), 1, a.GetProperty("file").GetInt64()));
        Assert.InRange(cpu.GetProperty("load").GetProperty("cpuShare").GetDouble(), 0, 1.5);
    }

    [Fact]
    public void A_peer_takes_turns_with_the_cpu_on_the_same_file_and_stands_in_its_tables()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Skip("the peer is a shell script");
            return;
        }
        string model = Path.Combine(_folder, "tiny.gguf"), peer = Path.Combine(_folder, "llama-bench"), told = Path.Combine(_folder, "told");
        RandomModel.WriteGguf(model, new LlamaShape("tiny", 64, 96, 1, 2, 2, 64), DType.Q8_0);
        File.WriteAllText(peer, $$"""
            #!/bin/sh
            if [ "$1" = --version ]; then echo "version: 1 (build 1, commit abc1234)"; exit; fi
            echo "$@" >> {{told}}
            echo '{"samples_ns": [400000000, 100000000]}'
            """);
        File.SetUnixFileMode(peer, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        (int code, string output, string error) = Run("bench", "--model", model, "--device", "cpu", "--threads", "1", "--quick", "--seconds", "0", "--json", "--peer-llama-bench", peer);
        Assert.True(code == 0, error);
        Dictionary<string, JsonElement> cases = JsonDocument.Parse(output).RootElement.GetProperty("devices")[0].GetProperty("cases").EnumerateArray().ToDictionary(c => c.GetProperty("id").GetString()!);
        foreach ((string id, string against, double tokens) in new[] { ("peer/decode/s1", "decode/s1/base", 32.0), ("peer/prefill/128", "prefill/128/base", 128), ("peer/prefill/512", "prefill/512/base", 512) })
        {
            Assert.Equal(("llama.cpp abc1234", against), (cases[id].GetProperty("row").GetString(), cases[id].GetProperty("against").GetString()));
            Assert.Equal(tokens / 0.5, cases[id].GetProperty("median").GetDouble(), 1e-9);
            Assert.True(cases[id].GetProperty("slowdown").GetDouble() > 0);
        }
        string[] runs = File.ReadAllLines(told);
        Assert.All(runs, r => Assert.Contains($"-m {model} -t 1 ", r));
        Assert.Contains(runs, r => r.EndsWith("-p 0 -n 32 -d 64", StringComparison.Ordinal));
    }

    [Fact]
    public void A_peer_that_cannot_be_run_or_cannot_read_the_model_is_named()
    {
        (int code, _, string error) = Run("bench", "--quick", "--device", "cpu", "--peer-llama-bench", Path.Combine(_folder, "nowhere"));
        Assert.NotEqual(0, code);
        Assert.Contains("--peer-llama-bench", error);
        Assert.Contains("cannot be run", error);
    }

    [Fact]
    public void A_device_that_cannot_be_opened_is_reported_and_the_others_are_measured()
    {
        (int code, _, string error) = s_run.Value;
        // It was asked for by name.
        Assert.Equal(1, code);
        JsonElement missing = Report().GetProperty("devices")[1];
        Assert.Equal("vulkan:99", missing.GetProperty("id").GetString());
        Assert.Empty(missing.GetProperty("cases").EnumerateArray());
        Assert.Contains("vulkan:99: " + missing.GetProperty("error").GetString(), error);
    }

    [Fact]
    public void A_case_that_fails_is_reported_and_the_others_go_on()
    {
        int runs = 0;
        BenchCase Case(string id, Func<int, double> run) => new(new(id, "g", id, "c", BenchUnit.TokensPerSecond), 2, run);
        BenchSettings settings = BenchSettings.Quick with { Seconds = 0, SampleSeconds = 1 };
        CaseResult[] results = CaseRounds.Run([
            Case("at once", _ => throw new NotSupportedException("no such op")),
            Case("good", n => 0.25 * n),
            Case("later", n => ++runs < 3 ? 1 : throw new IndexOutOfRangeException("lost")),
        ], settings, (_, _) => { }, CancellationToken.None);
        Assert.Equal(["no such op", null, "IndexOutOfRangeException: lost"], results.Select(r => r.Error));
        Assert.Empty(results[0].Samples);
        Assert.Empty(results[2].Samples);
        // Four times a quarter of a second, two tokens each.
        Assert.Equal((4, 3), (results[1].Repetitions, results[1].Samples.Length));
        Assert.All(results[1].Samples, s => Assert.Equal(8, s));
    }

    [Fact]
    public void Time_that_runs_out_leaves_rounds_out_and_then_cases()
    {
        BenchCase Case(string id, int sleep) => new(new(id, "g", id, "c", BenchUnit.Milliseconds), 1, n =>
        {
            Thread.Sleep(sleep);
            return n * 0.5;
        });
        // The two before it take the limit: they have one sample each, the last has none.
        CaseResult[] results = CaseRounds.Run([Case("a", 0), Case("b", 60), Case("c", 0)], BenchSettings.Quick with { Seconds = 10, LimitSeconds = 0.05 }, (_, _) => { }, CancellationToken.None);
        Assert.Equal([1, 1, 0], results.Select(r => r.Samples.Length));
        Assert.Equal([500, 500], results.Take(2).Select(r => r.Median));
        Assert.Equal([null, null, "not measured: 0.05 seconds were over"], results.Select(r => r.Error));
    }

    [Fact]
    public void Where_time_runs_out_every_table_has_its_first_cases()
    {
        BenchCase Case(string group, string row, string column, double seconds) => new(new(group + row + column, group, row, column, BenchUnit.TokensPerSecond), column == "long" ? 1000 : 1, n =>
        {
            Thread.Sleep(20);
            return n * seconds;
        });
        BenchCase[] cases = [Case("a", "base", "short", 1), Case("a", "adapter", "short", 1), Case("a", "base", "long", 1), Case("b", "base", "short", 1), Case("b", "adapter", "short", 1)];
        // The long prompt is left out for what it would take, the adapters for what was taken.
        CaseResult[] results = CaseRounds.Run(cases, BenchSettings.Quick with { Seconds = 10, SampleSeconds = 0.5, LimitSeconds = 1.03 }, (_, _) => { }, CancellationToken.None);
        Assert.Equal(["abaseshort", "bbaseshort"], results.Where(r => r.Samples.Length > 0).Select(r => r.Name.Id).Order());
        Assert.All(results.Where(r => r.Samples.Length == 0), r => Assert.True(r.LeftOut));
    }

    [Theory]
    [InlineData("--shape 7b", "7b", "15m, 135m, 0.5b, 1b")]
    [InlineData("--type q3_k", "q3_k", "f32, bf16, f16, q8_0, q4_0, q4_k, q6_k")]
    [InlineData("--adapter-type q8_0", "q8_0", "f32, bf16, f16")]
    [InlineData("--device abacus", "abacus", "vulkan:N")]
    [InlineData("--device cpu,abacus", "abacus", "vulkan:N")]
    [InlineData("--model x --shape 15m", "--model", "--shape")]
    [InlineData("--seconds -1", "--seconds", "86400")]
    public void What_is_not_known_is_refused_by_name(string flags, string found, string expected)
    {
        (int code, string output, string error) = Run(["bench", .. flags.Split(' ')]);
        Assert.Equal((2, ""), (code, output));
        Assert.Contains(found, error);
        Assert.Contains(expected, error);
    }

    [Theory]
    [InlineData(DType.F32)]
    [InlineData(DType.F16)]
    [InlineData(DType.Q8_0)]
    [InlineData(DType.Q4_0)]
    public void A_random_model_opens_as_the_type_it_was_asked_for_and_takes_the_adapters(DType type)
    {
        LlamaShape shape = new("small", 64, 96, 2, 4, 2, 128);
        using BenchSubject subject = BenchSubject.Of(shape, type, DType.F32);
        using (MeasuredModel measured = new(subject, "cpu", 1, false, CancellationToken.None))
        {
            Assert.All(measured.Model.Sites.Sites.Where(s => s.Linear is not null), s => Assert.Equal(type, s.Linear!.Weight.Type));
            Assert.Equal(13, measured.Tree.Nodes.Count - 1);
            foreach (AdapterNode node in measured.Tree.Nodes)
                measured.Place(node.Path);
            Session session = measured.Sessions(1)[0];
            Assert.All(session.Logits.ToArray(), l => Assert.True(float.IsFinite(l)));
            Assert.NotEqual(0, session.Logits.ToArray().Max());
        }
        string folder = Path.GetDirectoryName(subject.Path)!;
        subject.Dispose();
        Assert.False(Directory.Exists(folder));
    }

    private JsonElement Report()
    {
        (_, string output, string error) = s_run.Value;
        Assert.True(output.Length > 0, error);
        Assert.Equal(output.Length - 1, output.IndexOf('\n'));
        return JsonDocument.Parse(output).RootElement;
    }

    private static (int Code, string Output, string Error) Run(params string[] args)
    {
        using StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(args, output, error);
        return (code, output.ToString(), error.ToString());
    }
}
