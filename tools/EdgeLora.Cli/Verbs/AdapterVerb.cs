using System.CommandLine;
using EdgeLora.Cli.Arithmetic;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>adapter</c>: arithmetic on adapters of any format.</summary>
internal static class AdapterVerb
{
    public static Command Create(CommandIo io) => new("adapter", "Arithmetic on adapters of any format: add, scale, cut to a rank, compare, extract from a full fine-tune. Results are F32 and of scale 1, but for scale, which changes alpha alone.")
    {
        BlendCommand.Add(io),
        BlendCommand.Scale(io),
        BlendCommand.Concat(io),
        BlendCommand.Svd(io),
        BlendCommand.Ties(io),
        BlendCommand.Dare(io),
        CompareCommand.Diff(io),
        ExtractCommand.Create(io),
        CompareCommand.Interference(io),
    };
}
