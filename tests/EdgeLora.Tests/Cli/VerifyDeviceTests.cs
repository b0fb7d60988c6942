using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Cli.Verbs;
using EdgeLora.Conformance;
using EdgeLora.Core;
using EdgeLora.Tests.Backends;
using Xunit;

namespace EdgeLora.Tests.Cli;

public sealed class VerifyDeviceTests
{
    [Fact]
    public void Verify_checks_every_op_of_a_device()
    {
        StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(["verify", "--device", "cpu", "--threads", "2", "--json"], output, error);
        Assert.Equal((0, ""), (code, error.ToString()));
        JsonElement json = JsonDocument.Parse(output.ToString()).RootElement;
        Assert.True(json.GetProperty("passed").GetBoolean());
        Assert.Equal("cpu", json.GetProperty("device").GetString());
        // Every check fills and reads buffers, and stored keys and values show in Attention only.
        string[] beside = [nameof(IComputeBackend.Upload), nameof(IComputeBackend.Allocate), nameof(IComputeBackend.Write), nameof(IComputeBackend.Read), nameof(IComputeBackend.StoreKeyValues)];
        IEnumerable<string> ops = typeof(IComputeBackend).GetMethods().Concat(typeof(ITrainingBackend).GetMethods()).Where(m => !m.IsSpecialName).Select(m => m.Name).Except(beside);
        Assert.Equal(ops.Order(), json.GetProperty("ops").EnumerateArray().Select(o => o.GetProperty("op").GetString()!).Order());
        Assert.All(json.GetProperty("ops").EnumerateArray(), o => Assert.True(o.GetProperty("error").GetDouble() <= o.GetProperty("tolerance").GetDouble()));
        Assert.Equal(ConformanceSuite.Forward.Count + ConformanceSuite.Backward.Count, json.GetProperty("checks").GetArrayLength());
    }

    [Fact]
    public void Only_the_checks_that_are_asked_for_run()
    {
        StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(["verify", "--device", "cpu", "--threads", "1", "--only", "sgd", "--only", "Copies", "--json"], output, error);
        Assert.Equal((0, ""), (code, error.ToString()));
        Assert.Equal(["Copies move rows and columns", "Sgd is its formula"], JsonDocument.Parse(output.ToString()).RootElement.GetProperty("checks").EnumerateArray().Select(c => c.GetProperty("sentence").GetString()));
        Assert.Equal(2, EdgeLoraCommand.Invoke(["verify", "--device", "cpu", "--only", "telepathy"], output, error));
        Assert.Contains("no check of cpu is called \"telepathy\"; they are:", error.ToString());
    }

    [Fact]
    public void A_device_with_a_wrong_op_exits_with_1_and_the_op_is_named()
    {
        StringWriter output = new(), error = new();
        using WrongAdd backend = new();
        Assert.Equal(1, VerifyDevice.Run(new CommandIo(output, error, TextReader.Null), backend, json: false, CancellationToken.None));
        string[] failed = [.. output.ToString().Split('\n').Where(line => line.Contains("FAILED"))];
        Assert.Equal(2, failed.Length);
        // Every size, and one more case for magnitudes.
        int cases = BackendCases.Sizes().Count() + 1;
        Assert.Matches($"^  Add .* exact .* FAILED {cases} ", failed[0]);
        Assert.Contains("Activations give the reference from tiny to huge", failed[1]);
        Assert.Contains($"{ConformanceSuite.Forward.Count - 1} of {ConformanceSuite.Forward.Count} checks passed", output.ToString());
        Assert.Contains("Add: magnitudes: of 10000: expected 20000, found 30000, ", error.ToString());
        Assert.Contains($"and {cases - 5} more", error.ToString());
    }

    [Fact]
    public void Verify_on_a_device_that_runs_whole_models_compares_every_op_of_small_ones()
    {
        StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke(["verify", "--device", "onnx:cpu", "--json"], output, error);
        Assert.Equal((0, ""), (code, error.ToString()));
        JsonElement json = JsonDocument.Parse(output.ToString()).RootElement;
        Assert.True(json.GetProperty("passed").GetBoolean());
        Assert.Equal(8, json.GetProperty("models").GetArrayLength());
        Assert.All(json.GetProperty("models").EnumerateArray(), m => Assert.Contains(m.GetProperty("operators").EnumerateArray(), o => o.GetProperty("operator").GetString() == "attention of layer 2"));
    }

    [Fact]
    public void A_model_is_no_argument_of_a_device_that_runs_single_ops()
    {
        StringWriter output = new(), error = new();
        Assert.Equal(2, EdgeLoraCommand.Invoke(["verify", "--device", "cpu", "--model", "x"], output, error));
        Assert.Contains("cpu runs single operations", error.ToString());
    }
}
