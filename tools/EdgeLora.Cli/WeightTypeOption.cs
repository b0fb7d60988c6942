using System.CommandLine;
using EdgeLora.Core;

namespace EdgeLora.Cli;

/// <summary><c>--type</c>: how weights that are written are stored, F32 or a half of it.</summary>
internal sealed class WeightTypeOption
{
    private readonly DType[] _types;
    private readonly Option<string> _option;

    /// <summary>Adds the option to <paramref name="command"/>.</summary>
    /// <param name="command">The verb.</param>
    /// <param name="what">What is stored so: "the weights are".</param>
    /// <param name="half">The other type than F32.</param>
    public WeightTypeOption(Command command, string what, DType half = DType.BF16)
    {
        _types = [DType.F32, half];
        _option = new("--type") { Description = $"How {what} stored: F32 or {half}. Default: F32.", DefaultValueFactory = _ => nameof(DType.F32), HelpName = "type" };
        _option.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<string>() is { } name && !_types.Any(t => t.ToString() == name))
                r.AddError($"--type {name}: expected F32 or {half}");
        });
        command.Add(_option);
    }

    public DType Read(ParseResult result) => _types.Single(t => t.ToString() == result.GetRequiredValue(_option));
}
