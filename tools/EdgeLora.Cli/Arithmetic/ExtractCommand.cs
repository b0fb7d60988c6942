using System.CommandLine;
using System.Text.RegularExpressions;
using EdgeLora.Cli.Converting;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Arithmetic;

/// <summary><c>adapter extract</c>: a full fine-tune as an adapter of its base.</summary>
internal static class ExtractCommand
{
    public static Command Create(CommandIo io)
    {
        Command command = new("extract", "A LoRA of a given rank from a full fine-tune minus its base, by singular value decomposition of each weight's difference. What is left out is reported for each site.");
        Argument<string> before = new("base") { Description = "The model before training: a Hugging Face folder or a .gguf file." };
        Argument<string> after = new("tuned") { Description = "The model after it, of the same architecture." };
        Option<int> rank = new("--rank") { Description = "Rank of every site.", DefaultValueFactory = _ => 16, HelpName = "r" };
        Option<string?> targets = new("--targets") { Description = "A regular expression that names of sites must match. Default: every weight that changed.", HelpName = "pattern" };
        Option<string> rest = new("--rest")
        {
            Description = "Changes that no low-rank pair holds (norms, biases, weights that are no target): refuse names them and stops, save keeps norms whole in the adapter (modules_to_save), drop leaves them out.",
            DefaultValueFactory = _ => "refuse",
            HelpName = "what",
        };
        command.Add(before);
        command.Add(after);
        foreach (Option option in new Option[] { rank, targets, rest })
            command.Add(option);
        ArithmeticOutput output = new(command);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            int cut = result.GetValue(rank);
            if (cut < 1)
                throw new UsageException($"--rank {cut}: expected at least 1");
            ExtractionOptions options = new()
            {
                Rank = cut,
                Targets = Pattern(result.GetValue(targets)),
                Rest = result.GetRequiredValue(rest) switch
                {
                    "refuse" => ExtractionRest.Refuse,
                    "save" => ExtractionRest.Save,
                    "drop" => ExtractionRest.Drop,
                    string other => throw new UsageException($"--rest {other}: expected refuse, save or drop"),
                },
            };
            string from = HubCache.Resolve(result.GetRequiredValue(before));
            using ReferenceBackend backend = new();
            using DecoderModel baseModel = DecoderModel.Load(BaseCheckpoint.Open(from), backend), tuned = DecoderModel.Load(BaseCheckpoint.Open(HubCache.Resolve(result.GetRequiredValue(after))), backend);
            using AdapterResult made = AdapterExtraction.Run(baseModel, tuned, options, (done, total) => io.Progress("sites", done, total), cancellation);
            output.Report(io, result, "extract", output.Write(result, made.Adapter, new() { Base = AdapterConversion.BaseOf(from) }, cancellation), made);
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }

    private static Regex? Pattern(string? text)
    {
        try
        {
            return text is null ? null : new Regex(text, RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1));
        }
        catch (ArgumentException e)
        {
            throw new UsageException($"--targets {text}: {e.Message}");
        }
    }
}
