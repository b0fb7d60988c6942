using System.Globalization;
using Spectre.Console;

namespace EdgeLora.Cli.Bench;

/// <summary>A report for a terminal.</summary>
internal static class BenchTables
{
    /// <summary>What the numbers of every table mean.</summary>
    public const string Legend = "Medians of samples taken in turns, ± half the distance between the quartiles; × how many times as slow as the base.";

    /// <summary>Writes one device's tables.</summary>
    public static void Write(IAnsiConsole console, BenchReport report, DeviceReport device)
    {
        console.WriteLine();
        console.WriteLine($"{device.Id}: {device.Name}, {device.Driver}. Model {report.Model}, {report.Type}. {Machine(report)}");
        if (device.Error is { } error)
        {
            console.WriteLine($"  failed: {error}");
            return;
        }
        foreach (IGrouping<string, CaseResult> group in device.Cases.GroupBy(c => c.Name.Group))
            console.Write(Pivot(device, group.Key, [.. group]));
        foreach (string line in Lines(device))
            console.WriteLine(line);
        foreach (IGrouping<string, CaseResult> failed in device.Cases.Where(c => c.Error is not null).GroupBy(c => c.Error!))
            console.WriteLine($"{failed.Count()} cases {(failed.First().LeftOut ? "left out" : "failed")}, {failed.First().Name.Id} the first: {failed.Key}");
    }

    /// <summary>Bytes, bandwidth and other load, a line each.</summary>
    public static IEnumerable<string> Lines(DeviceReport device)
    {
        if (device.Bytes is { } bytes)
            yield return $"Bytes: base {MiB(bytes.Base)}, once; an adapter: {string.Join("; ", bytes.Adapters.Select(a => $"{a.Label} {(a.Resident == 0 ? "not loaded" : Text($"{MiB(a.Resident)}, {(double)a.Resident / a.File:0.000}× its file"))}"))}.";
        if (device.Find("decode/s1/base") is { } decode && device.Gigabytes(decode) is { } gigabytes)
            yield return Text($"One session of the base reads {gigabytes:0.0} GB of weights a second{(Bandwidth(device, decode) is { } part ? Text($", {part:P0} of what the host's memory gives ({device.Find("memory/read")!.Median:0.0} GB/s)") : "")}.");
        if (device.Load is { } load)
            yield return load.Describe();
    }

    /// <summary>The part of the measured memory bandwidth that a case reaches; null where it reads another memory.</summary>
    public static double? Bandwidth(DeviceReport device, CaseResult result) =>
        device.SharesHostMemory && device.Gigabytes(result) is { } gigabytes && device.Find("memory/read") is { Error: null } memory ? gigabytes / memory.Median : null;

    /// <summary>Where and with what it ran.</summary>
    public static string Machine(BenchReport report) => $"EdgeLora {report.Engine}{(report.Commit is { } commit ? $" ({commit[..Math.Min(9, commit.Length)]})" : "")}, {report.Runtime}, {report.Os} {report.Architecture}.";

    /// <summary>A number with three or four digits that count.</summary>
    public static string Number(double value) => Math.Abs(value) switch
    {
        >= 1000 => value.ToString("N0", CultureInfo.InvariantCulture),
        >= 100 => value.ToString("0", CultureInfo.InvariantCulture),
        >= 10 => value.ToString("0.0", CultureInfo.InvariantCulture),
        >= 1 => value.ToString("0.00", CultureInfo.InvariantCulture),
        _ => value.ToString("0.0000", CultureInfo.InvariantCulture),
    };

    /// <summary>A case's median, spread and slow-down.</summary>
    public static string Cell(DeviceReport device, CaseResult result) => result.Error is not null
        ? result.LeftOut ? "-" : "failed"
        : Text($"{Number(result.Median)} ±{result.Spread:P0}{(device.Slowdown(result) is { } slow ? Text($"  {slow:0.00}×") : "")}");

    /// <summary>A size for people.</summary>
    public static string MiB(long bytes) => Text($"{bytes / 1048576.0:0.00} MiB");

    /// <summary>What a group's cases are measured in.</summary>
    public static string Unit(IEnumerable<CaseResult> cases) => string.Join(", ", cases.Select(c => c.Name.Unit.Name).Distinct());

    private static Table Pivot(DeviceReport device, string group, CaseResult[] cases)
    {
        string[] columns = [.. cases.Select(c => c.Name.Column).Distinct()];
        Table table = new Table().Border(TableBorder.Simple).AddColumn(new TableColumn(new Text($"{group}, {Unit(cases)}")));
        foreach (string column in columns)
            table.AddColumn(new TableColumn(new Text(column)).RightAligned());
        bool mixed = cases.Select(c => c.Name.Unit).Distinct().Count() > 1;
        foreach (IGrouping<string, CaseResult> row in cases.GroupBy(c => c.Name.Row))
            table.AddRow([new Text(row.Key), .. columns.Select(c => new Text(row.FirstOrDefault(r => r.Name.Column == c) is { } cell ? Cell(device, cell) + (mixed ? " " + cell.Name.Unit.Name : "") : ""))]);
        return table;
    }

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
