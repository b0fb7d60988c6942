using System.Globalization;
using System.Net;
using System.Text;

namespace EdgeLora.Cli.Bench;

/// <summary>A report as one page that needs nothing beside it: charts drawn as SVG, the same figures in tables, light and dark after the reader's setting, no script.</summary>
internal static class BenchHtml
{
    private const string Style = """
        :root { color-scheme: light dark; --back: #fff; --ink: #1a1d21; --dim: #5a6370; --line: #d7dce2; --bar: #2f6fb4; --base: #7a8694; --bad: #a4262c; }
        @media (prefers-color-scheme: dark) { :root { --back: #15181c; --ink: #e6e9ed; --dim: #9aa5b1; --line: #363d46; --bar: #6aa6e8; --base: #8793a0; --bad: #ff8a80; } }
        body { background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1.5rem; }
        h1 { font-size: 1.6rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); } h3 { font-size: 1.05rem; margin-top: 2rem; }
        .about { color: var(--dim); } .bad { color: var(--bad); font-weight: 600; }
        .charts { display: flex; flex-wrap: wrap; gap: 1.5rem; } figure { margin: 0; flex: 1 1 28rem; max-width: 36rem; } figcaption { font-weight: 600; }
        svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; } svg text { fill: var(--ink); } .axis { stroke: var(--line); } .bar { fill: var(--bar); } .base { fill: var(--base); } .spread { stroke: var(--ink); }
        .tables { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; } caption { text-align: left; color: var(--dim); }
        th, td { border-bottom: 1px solid var(--line); padding: .25rem .75rem; text-align: right; white-space: nowrap; } th[scope=row], thead th:first-child { text-align: left; font-weight: 500; }
        """;

    /// <summary>The page.</summary>
    public static string Write(BenchReport report)
    {
        StringBuilder page = new();
        string title = $"EdgeLora bench: {report.Model}{(report.Type is { } type ? $", {type}" : "")}";
        page.Append("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n")
            .Append($"<title>{Escape(title)}</title>\n<style>\n{Style}\n</style>\n</head>\n<body>\n<main>\n<h1>{Escape(title)}</h1>\n")
            .Append($"<p class=\"about\">{Escape(BenchTables.Machine(report))} {report.Cores} processors. {Escape(report.Started.ToString("yyyy-MM-dd HH:mm 'UTC'", CultureInfo.InvariantCulture))}{(report.Quick ? ", quick: few and short samples" : "")}.</p>\n")
            .Append($"<p class=\"about\">{Escape(BenchTables.Legend)}</p>\n");
        SideBySide(page, report);
        foreach (DeviceReport device in report.Devices)
            Device(page, device);
        return page.Append("</main>\n</body>\n</html>\n").ToString();
    }

    /// <summary>Text for HTML.</summary>
    public static string Escape(string text) => WebUtility.HtmlEncode(text);

    private static void SideBySide(StringBuilder page, BenchReport report)
    {
        DeviceReport[] measured = [.. report.Devices.Where(d => d.Cases.Any(c => c.Samples.Length > 0))];
        if (measured.Length < 2)
            return;
        page.Append("<section>\n<h2>Devices side by side</h2>\n<div class=\"charts\">\n");
        foreach (string id in measured.SelectMany(d => d.Cases).Where(c => c.Name.Id.EndsWith("/base", StringComparison.Ordinal)).Select(c => c.Name.Id).Distinct())
        {
            (string Label, CaseResult Result)[] bars = [.. measured.Select(d => ($"{d.Id}, {d.Name}", d.Find(id))).Where(b => b.Item2 is { Samples.Length: > 0 }).Select(b => (b.Item1, b.Item2!))];
            if (bars.Length > 1)
                BenchChart.Write(page, $"{bars[0].Result.Name.Group}, {bars[0].Result.Name.Column}, base", bars);
        }
        page.Append("</div>\n</section>\n");
    }

    private static void Device(StringBuilder page, DeviceReport device)
    {
        page.Append($"<section>\n<h2>{Escape(device.Id)}: {Escape(device.Name)}</h2>\n<p class=\"about\">{Escape($"{device.Kind}. {device.Driver}")}</p>\n");
        if (device.Error is { } error)
            page.Append($"<p class=\"bad\">Failed: {Escape(error)}</p>\n");
        foreach (string line in BenchTables.Lines(device))
            page.Append($"<p{(device.Load is { IsNoisy: true } load && line == load.Describe() ? " class=\"bad\"" : "")}>{Escape(line)}</p>\n");
        foreach (IGrouping<string, CaseResult> failed in device.Cases.Where(c => c.Error is not null).GroupBy(c => c.Error!))
            page.Append($"<p class=\"{(failed.First().LeftOut ? "about" : "bad")}\">{failed.Count()} cases {(failed.First().LeftOut ? "left out" : "failed")}, {Escape(failed.First().Name.Id)} the first: {Escape(failed.Key)}</p>\n");
        foreach (IGrouping<string, CaseResult> group in device.Cases.GroupBy(c => c.Name.Group))
        {
            page.Append($"<h3>{Escape(group.Key)}</h3>\n<div class=\"charts\">\n");
            // A bar alone shows nothing, and a difference may be below zero.
            foreach (IGrouping<(string Column, BenchUnit Unit), CaseResult> chart in group.Where(c => c.Samples.Length > 0 && c.Derived is null).GroupBy(c => (c.Name.Column, c.Name.Unit)).Where(g => g.Count() > 1))
                BenchChart.Write(page, chart.Key.Column == chart.Key.Unit.Name ? group.Key : $"{group.Key}, {chart.Key.Column}", [.. chart.Select(c => (c.Name.Row, c))]);
            page.Append("</div>\n");
            WriteTable(page, device, group.Key, [.. group]);
        }
        page.Append("</section>\n");
    }

    private static void WriteTable(StringBuilder page, DeviceReport device, string group, CaseResult[] cases)
    {
        page.Append($"<div class=\"tables\" tabindex=\"0\" role=\"region\" aria-label=\"{Escape($"{device.Id}, {group}")}\">\n<table>\n<caption>{Escape($"{group}: median, spread, how many times as slow as the base, extremes, number of samples")}</caption>\n<thead><tr>");
        foreach (string head in new[] { "Case", "", "Median", "Unit", "±", "× as slow", "Smallest", "Largest", "Samples" })
            page.Append(head.Length == 0 ? "<td></td>" : $"<th scope=\"col\">{head}</th>");
        page.Append("</tr></thead>\n<tbody>\n");
        foreach (CaseResult result in cases)
        {
            page.Append($"<tr><th scope=\"row\">{Escape(result.Name.Row)}</th><td>{(result.Name.Column == result.Name.Unit.Name ? "" : Escape(result.Name.Column))}</td>");
            if (result.Samples.Length == 0)
                page.Append(result.LeftOut ? $"<td colspan=\"7\" class=\"about\">{Escape(result.Error!)}</td>" : $"<td colspan=\"7\" class=\"bad\">failed: {Escape(result.Error ?? "")}</td>");
            else
                foreach (string cell in new[]
                {
                    BenchTables.Number(result.Median), result.Name.Unit.Name, result.Spread.ToString("P0", CultureInfo.InvariantCulture), device.Slowdown(result)?.ToString("0.00", CultureInfo.InvariantCulture) ?? "",
                    BenchTables.Number(result.Samples.Min()), BenchTables.Number(result.Samples.Max()), result.Samples.Length.ToString(CultureInfo.InvariantCulture),
                })
                    page.Append($"<td>{Escape(cell)}</td>");
            page.Append("</tr>\n");
        }
        page.Append("</tbody>\n</table>\n</div>\n");
    }
}
