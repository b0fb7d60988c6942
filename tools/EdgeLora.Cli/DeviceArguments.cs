using System.CommandLine;
using EdgeLora.Core;

namespace EdgeLora.Cli;

/// <summary>What a model runs on.</summary>
internal sealed class DeviceArguments
{
    private readonly Option<string> _device = new("--device") { Description = "Device id, see 'edgelora devices'; of several with commas between the first that can be opened. Default: cpu.", DefaultValueFactory = _ => "cpu", HelpName = "id" };
    private readonly Option<int> _threads = new("--threads") { Description = "Threads of the CPU device; 0: one a core. Default: 0.", HelpName = "count" };

    /// <summary>Adds the options.</summary>
    public void AddTo(Command command)
    {
        _device.Validators.Add(r =>
        {
            foreach (string id in (r.GetValueOrDefault<string>() ?? "").Split(',', StringSplitOptions.TrimEntries))
                if (!ComputeDevices.IsId(id))
                    r.AddError($"--device {id}: expected cpu, reference, vulkan or vulkan:N; 'edgelora devices' lists those here");
        });
        _threads.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<int>() is < 0 or > 1024)
                r.AddError("--threads: expected 0..1024");
        });
        command.Add(_device);
        command.Add(_threads);
    }

    public string Name(ParseResult result) => result.GetRequiredValue(_device);

    public int Threads(ParseResult result) => result.GetValue(_threads);

    /// <summary>A backend of its own, for checks that make their own models.</summary>
    public IComputeBackend CreateBackend(ParseResult result) => ComputeDevices.Open(Name(result), Threads(result), Fallback);

    /// <summary>Says on the error stream that a device was passed over.</summary>
    public static void Fallback(string why) => Console.Error.WriteLine(why);
}
