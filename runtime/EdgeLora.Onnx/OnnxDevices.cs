using System.Globalization;
using EdgeLora.Core;
using EdgeLora.Models;
using Microsoft.ML.OnnxRuntime;

namespace EdgeLora.Onnx;

/// <summary>The devices that ONNX Runtime has here: <c>onnx:cpu</c>, and on Windows <c>onnx:dml:N</c>, GPU number N of DirectX (<c>onnx:dml</c> is <c>onnx:dml:0</c>).</summary>
public static class OnnxDevices
{
    private const string Cpu = "onnx:cpu", Dml = "onnx:dml", DmlProvider = "DmlExecutionProvider";

    /// <summary>The devices as a family that a program adds to its host's: <c>ComputeDevices.Add(OnnxDevices.Family)</c>.</summary>
    public static DeviceFamily Family { get; } = new("onnx", "onnx:cpu, onnx:dml, onnx:dml:N", IsId, List, Open);

    private static IComputeBackend Open(string id, int threads, bool int8Activations) => int8Activations && DmlIndex(id) >= 0
        ? throw new DeviceException($"{id} has no 8-bit activations")
        : new OnnxBackend(id, threads, new OnnxOptions { Int8Activations = int8Activations });

    /// <summary>Whether an id has the form of one of these; the device need not be there.</summary>
    public static bool IsId(string id) => id == Cpu || DmlIndex(id) >= 0;

    /// <summary>Adds those that are here to <paramref name="devices"/>, and why others are not to <paramref name="missing"/>.</summary>
    public static void List(List<DeviceInfo> devices, List<MissingDevice> missing)
    {
        string version;
        try
        {
            version = OnnxRuntimeLibrary.Version;
        }
        catch (DeviceException e)
        {
            missing.Add(new("ONNX Runtime", e.Message));
            return;
        }
        devices.Add(new(Cpu, "ONNX Runtime", "CPU", $"ONNX Runtime {version}", false));
        if (WhyNoDml() is { } why)
            missing.Add(new("DirectML", why));
        else
            devices.AddRange(DmlDevices(version));
    }

    /// <summary>What a session on a device is opened with. Throws <see cref="DeviceException"/> where the device is not here.</summary>
    /// <param name="id">Such as <c>onnx:cpu</c>, <c>onnx:dml:1</c>. Throws <see cref="ArgumentException"/> for another.</param>
    /// <param name="threads">Threads inside an operator on the CPU; 0: one a core.</param>
    public static SessionOptions Options(string id, int threads = 0)
    {
        if (!IsId(id))
            throw new ArgumentException($"device '{id}' is not one of ONNX Runtime's; expected onnx:cpu, onnx:dml or onnx:dml:N");
        _ = OnnxRuntimeLibrary.Environment;
        int gpu = DmlIndex(id);
        if (gpu >= 0 && WhyNoDml() is { } why)
            throw new DeviceException($"no DirectML device: {why}");
        SessionOptions options = new() { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR, ExecutionMode = ExecutionMode.ORT_SEQUENTIAL, IntraOpNumThreads = threads };
        if (gpu < 0)
            return options;
        try
        {
            // DirectML plans its memory itself and runs one operator at a time: it refuses sessions that ask otherwise.
            options.EnableMemoryPattern = false;
            options.AppendExecutionProvider_DML(gpu);
            return options;
        }
        catch (Exception e) when (e is OnnxRuntimeException or EntryPointNotFoundException or DllNotFoundException)
        {
            options.Dispose();
            throw new DeviceException($"DirectML did not open GPU {gpu}: {e.Message}", e);
        }
    }

    // Asked before the provider is appended: an onnxruntime built without it has not even the entry point.
    private static string? WhyNoDml()
    {
        if (!OperatingSystem.IsWindows())
            return "DirectML exists on Windows only";
        return OnnxRuntimeLibrary.Providers.Contains(DmlProvider) ? null : "this onnxruntime library was built without it; the program has to be built with the package Microsoft.ML.OnnxRuntime.DirectML (-p:EdgeLoraOrt=DirectML)";
    }

    private static IEnumerable<DeviceInfo> DmlDevices(string version)
    {
        List<DeviceInfo> found = [];
        foreach (OrtEpDevice device in OnnxRuntimeLibrary.Environment.GetEpDevices())
        {
            if (device.EpName != DmlProvider || device.HardwareDevice.Type != OrtHardwareDeviceType.GPU)
                continue;
            IReadOnlyDictionary<string, string> about = device.HardwareDevice.Metadata.Entries;
            // Without its number DirectML would take GPU 0, whichever that is.
            if (!about.TryGetValue("DxgiAdapterNumber", out string? text) || !int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number))
                continue;
            string name = about.TryGetValue("Description", out string? description) ? description : device.HardwareDevice.Vendor;
            if (!found.Exists(d => d.Id == $"{Dml}:{number}"))
                found.Add(new($"{Dml}:{number}", name, "GPU", $"DirectML, ONNX Runtime {version}", false) { MemoryBytes = MemoryBytes(about) });
        }
        return found.OrderBy(d => d.Id, StringComparer.Ordinal);
    }

    // "8018 MB"
    private static long? MemoryBytes(IReadOnlyDictionary<string, string> about) =>
        about.TryGetValue("DxgiVideoMemory", out string? text) && long.TryParse(text.Split(' ')[0], NumberStyles.None, CultureInfo.InvariantCulture, out long megabytes) ? megabytes << 20 : null;

    private static int DmlIndex(string id) =>
        id == Dml ? 0 : id.StartsWith(Dml + ":", StringComparison.Ordinal) && int.TryParse(id.AsSpan(Dml.Length + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int index) ? index : -1;
}
