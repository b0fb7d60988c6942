using System.Text.Json;
using EdgeLora.Tests.Adapters;
using Xunit;

namespace EdgeLora.Tests.Cli;

/// <summary><c>edgelora inspect</c> of adapters: one screen each, and what becomes of them in other formats.</summary>
public sealed class InspectAdapterTests
{
    [Theory]
    [InlineData("conversions/patterns/peft", "PEFT", "alpha/rank, each module's own", "gguf:needs --fold mlx:needs --fold onnx_adapter:needs --fold loralib:needs --fold peft:exact elora:exact peft_bin:exact")]
    [InlineData("conversions/rslora/peft", "PEFT", "alpha/sqrt(rank), each module's own", "gguf:exact mlx:exact onnx_adapter:exact loralib:exact peft:exact")]
    [InlineData("conversions/dora/peft", "PEFT", "alpha/rank, each module's own", "gguf:refused mlx:exact onnx_adapter:refused loralib:refused elora:exact")]
    [InlineData("conversions/plain/adapter.gguf", "GGUF adapter", "one alpha over each rank; alpha 0 is a scale of 1", "gguf:exact mlx:exact peft:exact")]
    [InlineData("conversions/plain/mlx", "MLX", "one factor for all", "gguf:exact mlx:exact peft:exact")]
    [InlineData("conversions/plain/loralib.bin", "loralib", "alpha/rank; alpha is not in the file", "peft:needs --alpha loralib:needs --alpha gguf:needs --alpha")]
    [InlineData("conversions/plain/adapter.onnx_adapter", ".onnx_adapter", "none: it is in B", "onnx_adapter:exact mlx:exact")]
    public void An_adapter_says_its_format_its_scales_and_what_it_converts_to(string file, string format, string rule, string verdicts)
    {
        string path = SharedFolder.Require("fixtures/" + file), model = SharedFolder.Require("fixtures/conversions/base");
        JsonElement report = JsonDocument.Parse(Command.Run("inspect", path, "--base", model, "--json")).RootElement;
        Assert.Equal(("adapter", format, true), (report.GetProperty("kind").GetString(), report.GetProperty("format").GetString(), report.GetProperty("ok").GetBoolean()));
        Assert.Equal((rule, 14), (report.GetProperty("scaleRule").GetString(), report.GetProperty("modules").GetInt32()));
        Assert.Equal("F32", Assert.Single(report.GetProperty("dtypes").EnumerateArray()).GetString());
        Assert.InRange(report.GetProperty("parameters").GetInt32(), 1000, 100_000);
        Dictionary<string, string> found = report.GetProperty("convertsTo").EnumerateArray().ToDictionary(c => c.GetProperty("format").GetString()!, c => c.GetProperty("verdict").GetString()!);
        Assert.All(verdicts.Split(' ', StringSplitOptions.RemoveEmptyEntries).Aggregate(new List<string>(), (list, word) =>
        {
            // "needs --fold" has a space.
            if (word.Contains(':'))
                list.Add(word);
            else
                list[^1] += " " + word;
            return list;
        }), v => Assert.Equal(v.Split(':')[1], found[v.Split(':')[0]]));
        string text = Command.Run("inspect", path, "--base", model);
        Assert.InRange(text.Split('\n').Length, 10, 45);
        Assert.Contains("  converts to", text);
    }

    [Fact]
    public void What_is_refused_says_why()
    {
        JsonElement report = JsonDocument.Parse(Command.Run("inspect", SharedFolder.Require("fixtures/conversions/dora/peft"), "--json")).RootElement;
        JsonElement gguf = report.GetProperty("convertsTo").EnumerateArray().Single(c => c.GetProperty("format").GetString() == "gguf");
        Assert.Contains(gguf.GetProperty("reasons").EnumerateArray(), r => r.GetString()!.Contains("use_dora: a GGUF adapter cannot hold it", StringComparison.Ordinal));
        Assert.Contains(gguf.GetProperty("reasons").EnumerateArray(), r => r.GetString()!.Contains("give the base (--base)", StringComparison.Ordinal));
        Assert.Contains("gguf               refused      adapter_config.json: use_dora: a GGUF adapter cannot hold it", Command.Run("inspect", SharedFolder.Require("fixtures/conversions/dora/peft")));
    }

    [Fact]
    public void A_tree_is_a_base_too()
    {
        string tree = Path.Combine(SharedFolder.Repository, "adapters", "nano");
        JsonElement report = JsonDocument.Parse(Command.Run("inspect", Path.Combine(tree, "restaurant"), "--base", tree, "--json")).RootElement;
        Assert.True(report.GetProperty("fits").GetBoolean());
        Assert.Contains(report.GetProperty("convertsTo").EnumerateArray(), c => c.GetProperty("format").GetString() == "gguf" && c.GetProperty("verdict").GetString() == "exact");
    }
}
