using System.CommandLine;
using EdgeLora.Core;

namespace EdgeLora.Cli;

/// <summary>What a model runs on.</summary>
internal sealed class DeviceArguments
{
    private readonly Option<string> _device = new("--device") { Description = "Device id, see 'edgelora devices'; of several with commas between the first that can be opened. Default: cpu.", DefaultValueFactory = _ => "cpu", HelpName = "id" };
    private readonly Option<int> _threads = new("--threads") { Description = "Threads of the CPU device; 0: one a core. Default: 0.", HelpName = "count" };
    private readonly Option<string> _activations = CreateActivations();

    private readonly Option<string?> _watch = new("--watch-shaders") { Description = "For development on a Vulkan device: the folder with the shaders' sources; those that change are compiled with glslc and reloaded.", HelpName = "folder" };

    /// <summary>Adds the options.</summary>
    public void AddTo(Command command)
    {
        _device.Validators.Add(r =>
        {
            foreach (string id in (r.GetValueOrDefault<string>() ?? "").Split(',', StringSplitOptions.TrimEntries))
                if (!ComputeDevices.IsId(id))
                    r.AddError($"--device {id}: expected one of {ComputeDevices.Ids}; 'edgelora devices' lists those here");
        });
        _threads.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<int>() is < 0 or > 1024)
                r.AddError("--threads: expected 0..1024");
        });
        command.Add(_device);
        command.Add(_threads);
        command.Add(_activations);
        _watch.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<string>() is { } folder && !Directory.Exists(folder))
                r.AddError($"--watch-shaders {folder}: there is no such folder");
        });
        command.Add(_watch);
    }

    public string Name(ParseResult result) => result.GetRequiredValue(_device);

    public int Threads(ParseResult result) => result.GetValue(_threads);

    /// <summary>Whether quantised weights are multiplied with rounded inputs.</summary>
    public bool Int8Activations(ParseResult result) => IsInt8(result, _activations);

    /// <summary>The option for a verb that opens devices its own way.</summary>
    public static Option<string> CreateActivations()
    {
        Option<string> option = new("--activations")
        {
            Description = "What quantised weights are multiplied with: f32, exact; or int8, rounded to 8 bits or more, as llama.cpp has it: faster, on cpu (Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K; other types stay exact) and onnx:cpu only, and not for training. Default: f32.",
            DefaultValueFactory = _ => "f32",
            HelpName = "f32|int8",
        };
        option.AcceptOnlyFromAmong("f32", "int8");
        return option;
    }

    /// <summary>What such an option says.</summary>
    public static bool IsInt8(ParseResult result, Option<string> option) => result.GetValue(option) == "int8";

    /// <summary>A backend of its own, for checks that make their own models.</summary>
    public IComputeBackend CreateBackend(ParseResult result) => ComputeDevices.Open(Name(result), Threads(result), Report, WatchShaders(result), Int8Activations(result));

    public string? WatchShaders(ParseResult result) => result.GetValue(_watch);

    /// <summary>Says on the error stream that a device was passed over, or what became of a shader.</summary>
    public static void Report(string what) => Console.Error.WriteLine(what);
}
