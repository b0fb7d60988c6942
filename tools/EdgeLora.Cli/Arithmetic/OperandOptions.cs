using System.CommandLine;
using EdgeLora.Cli.Converting;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Arithmetic;

/// <summary>What formats may have to be told, of adapters that are read and of the one that is written: as <c>convert</c>'s options.</summary>
internal sealed class OperandOptions
{
    private readonly Option<string?> _base = new("--base") { Description = "Base model, where a format's names or row order depend on it (GGUF, tables in MLX, kohya): as convert's.", HelpName = "model" };
    private readonly Option<double?> _alpha = new("--alpha") { Description = "alpha of adapters whose files do not hold it (loralib).", HelpName = "number" };

    /// <summary>Adds the options.</summary>
    public OperandOptions(Command command)
    {
        command.Add(_base);
        command.Add(_alpha);
    }

    /// <summary>What was told, for the adapters of <paramref name="paths"/>.</summary>
    public AdapterOptions Of(ParseResult result, IReadOnlyList<string> paths) =>
        AdapterConversion.OptionsOf(new(paths[0], "") { Base = result.GetValue(_base) is { } model ? HubCache.Resolve(model) : null, Alpha = result.GetValue(_alpha) });
}
