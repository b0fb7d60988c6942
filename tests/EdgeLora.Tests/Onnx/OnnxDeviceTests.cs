using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Onnx;
using Microsoft.ML.OnnxRuntime;
using Xunit;

namespace EdgeLora.Tests.Onnx;

/// <summary>ONNX Runtime's devices: what is listed, what is refused, and why.</summary>
public sealed class OnnxDeviceTests
{
    private static (List<DeviceInfo> Devices, List<MissingDevice> Missing) List()
    {
        List<DeviceInfo> devices = [];
        List<MissingDevice> missing = [];
        OnnxDevices.List(devices, missing);
        return (devices, missing);
    }

    [Fact]
    public void The_processor_is_listed_with_the_library_s_version()
    {
        DeviceInfo cpu = List().Devices[0];
        Assert.Equal("onnx:cpu", cpu.Id);
        Assert.Equal("CPU", cpu.Kind);
        Assert.Equal($"ONNX Runtime {OnnxRuntimeLibrary.Version}", cpu.Detail);
        Assert.False(cpu.IsDefault);
    }

    [Fact]
    public void Both_halves_of_ONNX_Runtime_are_of_one_version() =>
        Assert.Equal(typeof(OrtEnv).Assembly.GetName().Version!.ToString(3), OnnxRuntimeLibrary.Version);

    [Fact]
    public void DirectML_is_listed_or_its_absence_has_a_reason()
    {
        (List<DeviceInfo> devices, List<MissingDevice> missing) = List();
        if (OnnxRuntimeLibrary.Providers.Contains("DmlExecutionProvider"))
            Assert.All(devices.Skip(1), d => Assert.StartsWith("onnx:dml:", d.Id));
        else
            Assert.Equal(OperatingSystem.IsWindows() ? "this onnxruntime library was built without it" : "DirectML exists on Windows only", Assert.Single(missing, m => m.Name == "DirectML").Why.Split(';')[0]);
    }

    [Fact]
    public void A_GPU_without_DirectML_is_refused_with_the_reason()
    {
        Assert.SkipWhen(OnnxRuntimeLibrary.Providers.Contains("DmlExecutionProvider"), "DirectML is here");
        DeviceException e = Assert.Throws<DeviceException>(() => OnnxDevices.Options("onnx:dml:0"));
        Assert.StartsWith("no DirectML device: ", e.Message);
    }

    [Theory]
    [InlineData("onnx:cpu", true)]
    [InlineData("onnx:dml", true)]
    [InlineData("onnx:dml:0", true)]
    [InlineData("onnx:dml:17", true)]
    [InlineData("onnx", false)]
    [InlineData("onnx:", false)]
    [InlineData("onnx:cpu:0", false)]
    [InlineData("onnx:dml:", false)]
    [InlineData("onnx:dml:-1", false)]
    [InlineData("onnx:dml:1x", false)]
    [InlineData("onnx:cuda:0", false)]
    [InlineData("cpu", false)]
    public void An_id_is_known_by_its_form(string id, bool known)
    {
        Assert.Equal(known, OnnxDevices.IsId(id));
        if (!known)
            Assert.Contains($"'{id}'", Assert.Throws<ArgumentException>(() => OnnxDevices.Options(id)).Message);
    }

    [Fact]
    public void A_session_on_the_processor_runs_one_operator_at_a_time_on_the_threads_that_were_asked_for()
    {
        using SessionOptions options = OnnxDevices.Options("onnx:cpu", 3);
        Assert.Equal(3, options.IntraOpNumThreads);
        Assert.Equal(ExecutionMode.ORT_SEQUENTIAL, options.ExecutionMode);
    }

    [Fact]
    public void A_family_that_is_added_is_listed_before_the_reference_and_opened_by_its_ids()
    {
        DeviceInfo one = new("test:one", "One", "CPU", "", false);
        ComputeDevices.Add(new("test", "test:one", id => id == one.Id, (devices, missing) => { devices.Add(one); missing.Add(new("test:two", "it is for a test")); }, (_, _, _) => throw new DeviceException("for a test")));
        IReadOnlyList<DeviceInfo> all = ComputeDevices.All(out IReadOnlyList<MissingDevice> absent);
        Assert.Contains(one, all);
        Assert.Equal("reference", all[^1].Id);
        Assert.Contains(new MissingDevice("test:two", "it is for a test"), absent);
        Assert.True(ComputeDevices.IsId("test:one"));
        Assert.False(ComputeDevices.IsId("test:two"));
        Assert.Contains("test:one", Assert.Throws<ArgumentException>(() => ComputeDevices.Open("test:two")).Message);
        Assert.Contains("for a test", Assert.Throws<DeviceException>(() => ComputeDevices.Open("test:one")).Message);
        List<string> said = [];
        using IComputeBackend next = ComputeDevices.Open("test:one, reference", report: said.Add);
        Assert.IsType<ReferenceBackend>(next);
        Assert.Contains("going on with reference", Assert.Single(said));
    }
}
