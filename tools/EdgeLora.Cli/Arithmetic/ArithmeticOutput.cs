using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using EdgeLora.Cli.Converting;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Arithmetic;

/// <summary>Where an adapter that arithmetic made goes: <c>--output</c>, <c>--to</c>, <c>--type</c>, and the report.</summary>
internal sealed class ArithmeticOutput
{
    private const int Shown = 10;

    private readonly Option<string> _output = new("--output", "-o") { Description = "What to write: a file whose extension names the format, or a new PEFT folder.", HelpName = "path" };
    private readonly Option<string?> _to = new("--to") { Description = $"Format to write, where the extension does not tell it: {AdapterConversion.Targets}.", HelpName = "format" };
    private readonly Option<string?> _type = new("--type") { Description = "How tensors are stored: f32, f16 or bf16. Default: f32, or as they are where no number changes.", HelpName = "type" };
    private readonly Option<bool> _fold = new("--fold") { Description = "Let a scale that has no place in the format be multiplied into B, which rounds every number once." };
    private readonly Option<bool> _json = new("--json") { Description = "Print one line of JSON." };

    /// <summary>Adds the options.</summary>
    public ArithmeticOutput(Command command, bool required = true)
    {
        _output.Required = required;
        foreach (Option option in new Option[] { _output, _to, _type, _fold, _json })
            command.Add(option);
    }

    /// <summary>Whether an output was named.</summary>
    public bool IsNamed(ParseResult result) => result.GetValue(_output) is not null;

    /// <summary>Whether JSON was asked for.</summary>
    public bool IsJson(ParseResult result) => result.GetValue(_json);

    /// <summary>Writes the adapter; what the format cannot hold is refused by name before anything is written. Returns the path and what must be told of it.</summary>
    /// <param name="result">The command line.</param>
    /// <param name="adapter">What is written.</param>
    /// <param name="told">What the format may have to be told.</param>
    /// <param name="cancellation">Ends it.</param>
    public (string Target, IReadOnlyList<string> Notes) Write(ParseResult result, PeftAdapter adapter, AdapterOptions told, CancellationToken cancellation)
    {
        string target = result.GetRequiredValue(_output);
        ConvertRequest request = new(adapter.FilePath, target) { To = result.GetValue(_to), Type = result.GetValue(_type) };
        AdapterFileFormat to = AdapterConversion.Target(request);
        AdapterOptions options = told with { Alpha = null, Type = AdapterConversion.TypeOf(request.Type), Fold = result.GetValue(_fold), Name = Path.GetFileNameWithoutExtension(Path.TrimEndingDirectorySeparator(target)) };
        AdapterVerdict verdict = to.Judge(adapter, options);
        verdict.Demand(adapter.FilePath, options.Fold);
        if (to.Extension is null)
            OutputFolder.Write(target, folder => to.Write(adapter, folder, options, cancellation));
        else
            to.Write(adapter, target, options, cancellation);
        return (target, [.. Whole(adapter), .. AdapterConversion.Notes(adapter, to, verdict)]);
    }

    // A weight of 0.5 leaves them what they are.
    private static IReadOnlyList<string> Whole(PeftAdapter adapter)
    {
        const int Named = 6;
        string[] names = [.. adapter.Modules.Values.SelectMany(m => m.Parts.Keys.Where(p => p is PeftPart.Weight or PeftPart.Bias or PeftPart.BaseBias or PeftPart.TokenRows).Select(p => $"{m.Name}.{PeftAdapter.LabelOf(p)}"))];
        return names.Length == 0 ? [] : [$"whole tensors go along as they are, no weight counts for them: {string.Join(", ", names.Take(Named))}{(names.Length > Named ? $" and {names.Length - Named} more" : "")}"];
    }

    /// <summary>Notes behind a line of text.</summary>
    public static string Noted(IReadOnlyList<string> notes) => string.Concat(notes.Select(n => "; " + n));

    /// <summary>Prints what happened at each site, the worst first; as JSON all of them.</summary>
    public void Report(CommandIo io, ParseResult result, string method, (string Target, IReadOnlyList<string> Notes) output, AdapterResult made)
    {
        if (IsJson(result))
        {
            io.WriteJson(w =>
            {
                w.WriteString("output", output.Target);
                w.WriteTexts("notes", output.Notes);
                w.WriteString("method", method);
                w.WriteNumber("maxRank", made.Sites.Max(s => s.Rank));
                w.WriteNumber("relativeError", made.RelativeError);
                w.WriteStartArray("sites");
                foreach (SiteReport site in made.Sites)
                {
                    w.WriteStartObject();
                    w.WriteString("module", site.Module);
                    w.WriteNumber("rank", site.Rank);
                    w.WriteNumber("norm", site.Norm);
                    w.WriteNumber("leftOut", site.LeftOut);
                    w.WriteNumber("relativeError", site.RelativeError);
                    w.WriteEndObject();
                }
                w.WriteEndArray();
            });
            return;
        }
        SiteReport[] worst = [.. made.Sites.Where(s => s.LeftOut > 0).OrderByDescending(s => s.RelativeError).Take(Shown)];
        foreach (SiteReport site in worst)
            io.Output.WriteLine(FormattableString.Invariant($"{site.Module}: rank {site.Rank}, left out {site.RelativeError:P3} of {site.Norm:g4}"));
        // What a method drops of A and B is its own doing and no loss that is measured.
        string lost = method is "cat" or "extract" || method.EndsWith("svd", StringComparison.Ordinal) ? string.Create(CultureInfo.InvariantCulture, $", left out {made.RelativeError:P3} of the change") : "";
        io.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{output.Target}: {method}, {made.Sites.Count} sites, rank {made.Sites.Min(s => s.Rank)} to {made.Sites.Max(s => s.Rank)}{lost}{Noted(output.Notes)}"));
    }
}
