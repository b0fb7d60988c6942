using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Arithmetic;

/// <summary><c>adapter diff, interference</c>: how adapters stand to each other, from their factors alone.</summary>
internal static class CompareCommand
{
    private const int Shown = 20;

    /// <summary><c>adapter diff</c>.</summary>
    public static Command Diff(CommandIo io)
    {
        Command command = new("diff", "Compare two adapters site by site: norms, cosine, size of the difference. With --output the difference (first minus second) is written as an adapter.");
        Argument<string> first = new("first") { Description = "An adapter of any format." }, second = new("second") { Description = "Another." };
        Option<bool> anyBase = new("--any-base") { Description = "Compare adapters whose bases go by different names." };
        command.Add(first);
        command.Add(second);
        command.Add(anyBase);
        OperandOptions told = new(command);
        ArithmeticOutput output = new(command, required: false);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            bool writes = output.IsNamed(result);
            string[] paths = [result.GetRequiredValue(first), result.GetRequiredValue(second)];
            AdapterOptions facts = told.Of(result, paths);
            using Operands operands = Operands.Open(paths, facts, result.GetValue(anyBase), wholeTensors: !writes);
            AdapterInterference compared = AdapterInterference.Of(operands.All[0], operands.All[1]);
            (string Target, IReadOnlyList<string> Notes)? written = null;
            if (writes)
                using (AdapterResult made = AdapterBlend.Run(operands.All, new(BlendMethod.Cat, [1, -1]), null, cancellation))
                    written = output.Write(result, made.Adapter, facts, cancellation);
            if (output.IsJson(result))
                io.WriteJson(w =>
                {
                    if (written is var (target, notes))
                    {
                        w.WriteString("output", target);
                        w.WriteTexts("notes", notes);
                    }
                    WritePair(w, compared);
                });
            else
            {
                foreach (SiteAngle site in compared.Sites.OrderByDescending(s => s.Difference).Take(Shown))
                    io.Output.WriteLine(FormattableString.Invariant($"{site.Module}: norms {site.FirstNorm:g4} and {site.SecondNorm:g4}, cosine {Rounded(site.Cosine)}, difference {site.Difference:g4}"));
                io.Output.WriteLine(FormattableString.Invariant($"{compared.Sites.Count} sites: norms {compared.FirstNorm:g4} and {compared.SecondNorm:g4}, cosine {Rounded(compared.Cosine)}, difference {compared.Difference:g4}"));
                if (written is var (target, notes))
                    io.Error.WriteLine($"{target}: {paths[0]} minus {paths[1]}, {compared.Sites.Count} sites{ArithmeticOutput.Noted(notes)}");
            }
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }

    /// <summary><c>adapter interference</c>.</summary>
    public static Command Interference(CommandIo io)
    {
        Command command = new("interference", "Cosines between the changes of several adapters, for each pair and site: near 0 they can be blended freely, near 1 they say the same, below 0 they undo each other.");
        Argument<string[]> inputs = new("adapters") { Description = "Two or more adapters of any format.", Arity = new ArgumentArity(2, 1000) };
        Option<bool> anyBase = new("--any-base") { Description = "Compare adapters whose bases go by different names." };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        command.Add(inputs);
        command.Add(anyBase);
        command.Add(json);
        OperandOptions told = new(command);
        command.SetAction((result, cancellation) => Task.Run(() =>
        {
            string[] paths = result.GetRequiredValue(inputs);
            using Operands operands = Operands.Open(paths, told.Of(result, paths), result.GetValue(anyBase));
            List<AdapterInterference> pairs = [];
            for (int i = 0; i < operands.All.Count; i++)
                for (int j = i + 1; j < operands.All.Count; j++)
                {
                    cancellation.ThrowIfCancellationRequested();
                    pairs.Add(AdapterInterference.Of(operands.All[i], operands.All[j]));
                }
            if (result.GetValue(json))
                io.WriteJson(w =>
                {
                    w.WriteStartArray("pairs");
                    foreach (AdapterInterference pair in pairs)
                    {
                        w.WriteStartObject();
                        WritePair(w, pair);
                        w.WriteEndObject();
                    }
                    w.WriteEndArray();
                });
            else
                foreach (AdapterInterference pair in pairs)
                {
                    SiteAngle[] shared = [.. pair.Sites.Where(s => s.FirstNorm > 0 && s.SecondNorm > 0)];
                    io.Output.WriteLine(FormattableString.Invariant($"{pair.First} and {pair.Second}: cosine {Rounded(pair.Cosine)} over {pair.Sites.Count} sites, {shared.Length} of them shared"));
                    foreach (SiteAngle site in shared.OrderByDescending(s => Math.Abs(s.Dot)).Take(Shown))
                        io.Output.WriteLine(FormattableString.Invariant($"  {site.Module}: cosine {Rounded(site.Cosine)}, norms {site.FirstNorm:g4} and {site.SecondNorm:g4}"));
                }
            return EdgeLoraCommand.Ok;
        }, CancellationToken.None));
        return command;
    }

    // Zero has no sign here, also where it was rounded from below.
    private static string Rounded(double cosine) => (Math.Round(cosine, 4) + 0.0).ToString("f4", CultureInfo.InvariantCulture);

    private static void WritePair(Utf8JsonWriter w, AdapterInterference pair)
    {
        w.WriteString("first", pair.First);
        w.WriteString("second", pair.Second);
        w.WriteNumber("cosine", pair.Cosine);
        w.WriteNumber("firstNorm", pair.FirstNorm);
        w.WriteNumber("secondNorm", pair.SecondNorm);
        w.WriteNumber("difference", pair.Difference);
        w.WriteStartArray("sites");
        foreach (SiteAngle site in pair.Sites)
        {
            w.WriteStartObject();
            w.WriteString("module", site.Module);
            w.WriteNumber("cosine", site.Cosine);
            w.WriteNumber("firstNorm", site.FirstNorm);
            w.WriteNumber("secondNorm", site.SecondNorm);
            w.WriteNumber("difference", site.Difference);
            w.WriteEndObject();
        }
        w.WriteEndArray();
    }
}
