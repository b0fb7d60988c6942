using System.CommandLine;
using System.Text.Json;
using EdgeLora.Cli.Bench;
using EdgeLora.Core;
using Spectre.Console;

namespace EdgeLora.Cli.Verbs;

/// <summary><c>bench compare</c>: two reports side by side.</summary>
internal static class BenchCompareVerb
{
    public static Command Create(CommandIo io)
    {
        Command command = new("compare", "Compare two reports of bench: how many times as fast the second is, with 95 % intervals (bootstrap over the medians).");
        Argument<string> first = new("a") { Description = "The report to compare with: what --json or --out wrote." };
        Argument<string> second = new("b") { Description = "The report that is compared." };
        Option<double?> failBelow = new("--fail-below") { Description = "Exit with 1 where a case's whole interval lies below this ratio, or b lost a case that a has. Default: never.", HelpName = "ratio" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        failBelow.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<double?>() is not (null or (> 0 and < 1000)))
                r.AddError("--fail-below: expected a ratio above 0, such as 0.95");
        });
        command.Add(first);
        command.Add(second);
        command.Add(failBelow);
        command.Add(json);
        command.SetAction(result =>
        {
            BenchComparison comparison = BenchComparison.Of(Read(result.GetRequiredValue(first)), Read(result.GetRequiredValue(second)));
            double? ratio = result.GetValue(failBelow);
            ComparedCase[] below = ratio is { } r ? [.. comparison.Cases.Where(c => c.IsBelow(r))] : [];
            if (result.GetValue(json))
                io.WriteJson(w => Write(w, comparison, ratio, below));
            else
                Show(io.Console(), comparison);
            foreach (ComparedCase c in below)
                io.Error.WriteLine(FormattableString.Invariant($"{c.Device}, {c.Name.Id}: {(c.Speed is { } speed ? FormattableString.Invariant($"{speed.Value:0.000}× as fast ({speed.Low:0.000}–{speed.High:0.000}), below {ratio}") : c.Missing)}"));
            return below.Length == 0 ? EdgeLoraCommand.Ok : EdgeLoraCommand.Failed;
        });
        return command;
    }

    private static BenchReport Read(string path)
    {
        if (path.EndsWith(BenchArchive.Extension, StringComparison.OrdinalIgnoreCase))
            return BenchArchive.Read(path);
        using JsonDocument json = SafeJson.ReadFile(path);
        return BenchJson.Read(path, json.RootElement);
    }

    private static void Show(IAnsiConsole console, BenchComparison comparison)
    {
        foreach (string line in comparison.Unlike)
            console.WriteLine(line);
        foreach (IGrouping<string, ComparedCase> device in comparison.Cases.GroupBy(c => c.Device))
        {
            Table table = new Table().Border(TableBorder.Simple).AddColumn(new TableColumn(new Text(device.Key)));
            foreach (string column in new[] { "a", "b", "as fast", "95 %", "" })
                table.AddColumn(new TableColumn(new Text(column)).RightAligned());
            foreach (ComparedCase c in device)
                table.AddRow(new Text(c.Name.Id), Value(c.Before, c), Value(c.After, c), new Text(c.Speed is { } s ? FormattableString.Invariant($"{s.Value:0.000}×") : ""),
                    new Text(c.Speed is { } i ? FormattableString.Invariant($"{i.Low:0.000}–{i.High:0.000}") : ""), new Text(c.Verdict));
            console.Write(table);
            if (comparison.Mean(device.Key) is { } mean)
                console.WriteLine(FormattableString.Invariant($"{device.Key}: {mean:0.000}× as fast, the geometric mean of {device.Count(c => c.Speed is not null)} cases."));
        }
    }

    private static Text Value(double? value, ComparedCase c) => new(value is { } number ? $"{BenchTables.Number(number)} {c.Name.Unit.Name}" : "");

    private static void Write(Utf8JsonWriter w, BenchComparison comparison, double? ratio, ComparedCase[] below)
    {
        w.WriteBoolean("passed", below.Length == 0);
        if (ratio is { } r)
            w.WriteNumber("failBelow", r);
        w.WriteTexts("unlike", comparison.Unlike);
        w.WriteStartArray("cases");
        foreach (ComparedCase c in comparison.Cases)
        {
            w.WriteStartObject();
            w.WriteString("device", c.Device);
            w.WriteString("id", c.Name.Id);
            w.WriteString("unit", c.Name.Unit.Name);
            if (c.Before is { } before)
                w.WriteFinite("a", before);
            if (c.After is { } after)
                w.WriteFinite("b", after);
            if (c.Speed is { } speed)
            {
                w.WriteFinite("speed", speed.Value);
                w.WriteFinite("low", speed.Low);
                w.WriteFinite("high", speed.High);
            }
            w.WriteString("verdict", c.Verdict);
            w.WriteBoolean("below", below.Contains(c));
            w.WriteEndObject();
        }
        w.WriteEndArray();
    }
}
