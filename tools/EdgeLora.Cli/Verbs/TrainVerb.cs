using System.CommandLine;
using EdgeLora.Cli.Training;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Training;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>train</c>: one or several adapters at once on one base.</summary>
internal static class TrainVerb
{
    /// <summary>Whether a command line names this verb.</summary>
    public static bool IsNamed(string[] args) => args is ["train", ..];

    /// <summary>A flag may have the recipe's own spelling: <c>--lora_rank</c> is <c>--lora-rank</c>.</summary>
    public static string[] Spell(string[] args) => !IsNamed(args) ? args : Array.ConvertAll(args, a =>
    {
        int end = a.IndexOf('=') is int at and >= 0 ? at : a.Length;
        return a.StartsWith("--", StringComparison.Ordinal) ? a[..end].Replace('_', '-') + a[end..] : a;
    });

    /// <summary>The verb. Its eighty flags cost every other command's start some 35 ms, so they are made for the command line that names it.</summary>
    public static Command Create(CommandIo io, bool withFields)
    {
        Command command = new("train", "Train adapters on one frozen base: one recipe or flags alone, or several recipes at once, fused along the batch axis.");
        Argument<string[]> recipes = new("recipe") { Description = "Recipe files (YAML). Several train in parallel; flags then hold for all of them.", Arity = ArgumentArity.ZeroOrMore };
        recipes.Validators.Add(r =>
        {
            foreach (string flag in r.Tokens.Select(t => t.Value).Where(v => v.StartsWith("--", StringComparison.Ordinal)))
                r.AddError($"{flag}: no such option" + (RecipeFields.Suggest(flag[2..]) is { } meant ? $"; did you mean --{meant.Replace('_', '-')}?" : ""));
        });
        Option<bool> resume = new("--resume") { Description = "Go on from the newest checkpoint in each output_dir; start where there is none." };
        Option<bool> json = new("--json") { Description = "Print one line of JSON a step and one a job." };
        DeviceArguments device = new();
        command.Add(recipes);
        command.Add(resume);
        command.Add(json);
        device.AddTo(command);
        List<(RecipeField Field, Option<string[]> Option)> fields = [];
        foreach (RecipeField field in withFields ? RecipeFields.All : [])
        {
            Option<string[]> option = new("--" + field.Name.Replace('_', '-'), [.. field.Aliases.Select(a => "--" + a.Replace('_', '-'))])
            {
                Description = $"{field.Help} Expects {field.Expects}. Default: {field.Default}.",
                Arity = field.IsSwitch ? ArgumentArity.ZeroOrOne : ArgumentArity.OneOrMore,
                AllowMultipleArgumentsPerToken = false,
                HelpName = field.IsSwitch ? "true|false" : "value",
            };
            // An array of at most one value has no parser of its own.
            if (field.IsSwitch)
                option.CustomParser = r => [.. r.Tokens.Select(t => t.Value)];
            fields.Add((field, option));
            command.Add(option);
        }
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            List<(string, string)> flags = [];
            foreach ((RecipeField field, Option<string[]> option) in fields)
                if (result.GetResult(option) is not null)
                    foreach (string text in result.GetValue(option) is { Length: > 0 } values ? values : ["true"])
                        flags.Add((field.Name, text));
            string[] files = result.GetValue(recipes) ?? [];
            TrainingRecipe[] all = files.Length == 0 ? [TrainingRecipe.Read(null, flags)] : [.. files.Select(f => TrainingRecipe.Read(f, flags))];
            using TrainingSession session = new(io, all, device.Name(result), device.Threads(result), device.Int8Activations(result), result.GetValue(resume), result.GetValue(json));
            return session.Run(cancellation) ? EdgeLoraCommand.Ok : EdgeLoraCommand.Failed;
        }, CancellationToken.None));
        return command;
    }
}
