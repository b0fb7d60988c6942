using System.CommandLine;
using EdgeLora.Core;

namespace EdgeLora.Cli;

/// <summary><c>--type</c>: how weights that are written are stored, F32 or BF16.</summary>
internal sealed class WeightTypeOption
{
    private static readonly DType[] s_types = [DType.F32, DType.BF16];
    private readonly Option<string> _option;

    /// <summary>Adds the option to <paramref name="command"/>.</summary>
    public WeightTypeOption(Command command, string what)
    {
        _option = new("--type") { Description = $"How {what} stored: F32 or BF16. Default: F32.", DefaultValueFactory = _ => nameof(DType.F32), HelpName = "type" };
        _option.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<string>() is { } name && !s_types.Any(t => t.ToString() == name))
                r.AddError($"--type {name}: expected F32 or BF16");
        });
        command.Add(_option);
    }

    public DType Read(ParseResult result) => s_types.Single(t => t.ToString() == result.GetRequiredValue(_option));
}
