using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Tests.Hub;
using Xunit;

namespace EdgeLora.Tests.Cli;

/// <summary><c>pull</c>, and <c>hf:</c> wherever a model is named; the environment is the process's, which no other test reads.</summary>
public sealed class PullCommandTests : IDisposable
{
    private static readonly string s_base = Path.Combine(SharedFolder.Repository, "adapters", "nano", "base"), s_adapter = Path.Combine(SharedFolder.Repository, "adapters", "nano", "shakespeare");

    private readonly string _cache = Directory.CreateTempSubdirectory("edgelora-pull-").FullName;
    private readonly HubServer _hub = new("tiny/nano") { Large = { "model.safetensors" } }, _adapters = new("tiny/shakespeare") { Large = { "adapter_model.safetensors" } };

    public PullCommandTests()
    {
        foreach ((HubServer hub, string folder) in new[] { (_hub, s_base), (_adapters, s_adapter) })
            foreach (string file in Directory.EnumerateFiles(folder))
                hub.Files[Path.GetFileName(file)] = File.ReadAllBytes(file);
        Environment.SetEnvironmentVariable("HF_HUB_CACHE", _cache);
    }

    public void Dispose()
    {
        Environment.SetEnvironmentVariable("HF_HUB_CACHE", null);
        Environment.SetEnvironmentVariable("HF_ENDPOINT", null);
        _hub.Dispose();
        _adapters.Dispose();
        Directory.Delete(_cache, recursive: true);
    }

    [Fact]
    public void What_was_pulled_runs_by_its_name_in_every_verb()
    {
        (int code, string output, string error) = Run(_hub, "pull", "hf:tiny/nano");
        Assert.Equal((0, Path.Combine(_cache, "models--tiny--nano", "snapshots", HubServer.Commit) + Environment.NewLine), (code, output));
        Assert.Contains("hf:tiny/nano", error);
        (code, output, error) = Run(_adapters, "pull", "hf:tiny/shakespeare", "--json");
        Assert.True(code == 0, error);
        JsonElement json = JsonDocument.Parse(output).RootElement;
        Assert.Equal(("tiny/shakespeare", "main", HubServer.Commit), (json.GetProperty("model").GetString(), json.GetProperty("revision").GetString(), json.GetProperty("commit").GetString()));
        Assert.True(json.GetProperty("downloadedBytes").GetInt64() > 0);
        string[] tail = ["-p", "The king", "--greedy", "--max-tokens", "12", "--device", "reference"];
        (string, string)[] same =
        [
            (Text(["run", s_base, .. tail]), Text(["run", "hf:tiny/nano", .. tail])),
            (Text(["run", s_base, "--adapter", s_adapter, .. tail]), Text(["run", "hf:tiny/nano@main", "--adapter", "hf:tiny/shakespeare", .. tail])),
            (Text(["tokenize", s_base, "-p", "Once"]), Text(["tokenize", "hf:tiny/nano", "-p", "Once"])),
        ];
        Assert.All(same, s => Assert.Equal(s.Item1, s.Item2));
        Assert.NotEqual(same[0].Item1, same[1].Item1);
        Assert.Contains("bytes", Text(["inspect", "hf:tiny/shakespeare", "--base", "hf:tiny/nano"]));
        Assert.Equal("nano", Host());
    }

    [Fact]
    public void A_model_that_was_not_pulled_names_the_command_that_pulls_it()
    {
        (int code, string output, string error) = Run(_hub, "run", "hf:tiny/unknown", "-p", "a");
        Assert.Equal((1, ""), (code, output));
        Assert.Contains("edgelora pull hf:tiny/unknown", error);
    }

    [Fact]
    public void A_wrong_name_is_wrong_usage_and_a_refusal_exits_with_1()
    {
        Assert.Equal(2, Run(_hub, "pull", "tiny/nano").Code);
        (int code, string output, string error) = Run(_hub, "pull", "hf:tiny/nano@v7");
        Assert.Equal((1, ""), (code, output));
        Assert.Contains("no revision 'v7'", error);
    }

    private static string Host()
    {
        using EdgeHost host = EdgeHost.Open("hf:tiny/nano", new EdgeHostOptions { Device = "reference" });
        return host.BaseName;
    }

    private string Text(string[] args)
    {
        (int code, string output, string error) = Run(_hub, args);
        Assert.True(code == 0, error);
        return output;
    }

    private static (int Code, string Output, string Error) Run(HubServer hub, params string[] args)
    {
        Environment.SetEnvironmentVariable("HF_ENDPOINT", hub.Endpoint);
        StringWriter output = new(), error = new();
        return (EdgeLoraCommand.Invoke(args, output, error), output.ToString(), error.ToString());
    }
}
