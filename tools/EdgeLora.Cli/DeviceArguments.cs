using System.CommandLine;
using EdgeLora.Core;
using EdgeLora.Cpu;

namespace EdgeLora.Cli;

/// <summary>What a model runs on.</summary>
internal sealed class DeviceArguments
{
    private readonly Option<string> _device = new("--device") { Description = "Device id, see 'edgelora devices'. Default: cpu.", DefaultValueFactory = _ => "cpu", HelpName = "id" };
    private readonly Option<int> _threads = new("--threads") { Description = "Threads of the CPU device; 0: one a core. Default: 0.", HelpName = "count" };

    /// <summary>Adds the options.</summary>
    public void AddTo(Command command)
    {
        _device.Validators.Add(r =>
        {
            string? id = r.GetValueOrDefault<string>();
            if (id != "cpu" && EdgeHost.Devices().All(d => d.Id != id))
                r.AddError($"--device {id}: expected one of {string.Join(", ", EdgeHost.Devices().Select(d => d.Id))}");
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
    public IComputeBackend CreateBackend(ParseResult result) => Name(result) == "reference" ? new ReferenceBackend() : new CpuBackend(Threads(result));
}
