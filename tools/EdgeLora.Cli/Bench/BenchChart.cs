using System.Globalization;
using System.Text;

namespace EdgeLora.Cli.Bench;

/// <summary>Bars, one under the other, as SVG: the median, a line from the lower to the upper quartile, the figure beside it.</summary>
internal static class BenchChart
{
    private const double Width = 540, LabelWidth = 230, ValueWidth = 70, RowHeight = 24, BarHeight = 14, Top = 4;

    /// <summary>Writes a figure. All results have one unit and samples; the scale begins at zero.</summary>
    public static void Write(StringBuilder page, string title, IReadOnlyList<(string Label, CaseResult Result)> bars)
    {
        BenchUnit unit = bars[0].Result.Name.Unit;
        double most = bars.Max(b => Math.Max(b.Result.Median, BenchStatistics.Quartiles(b.Result.Samples).Upper)), height = Top + bars.Count * RowHeight + Top;
        double At(double value) => LabelWidth + Math.Max(0, value) / most * (Width - LabelWidth - ValueWidth);
        string better = unit.Rate ? "longer is better" : "shorter is better", caption = BenchHtml.Escape($"{title}, {unit.Name}");
        page.Append($"<figure>\n<figcaption>{caption} <span class=\"about\">({better})</span></figcaption>\n")
            .Append(Text($"<svg viewBox=\"0 0 {Width} {height}\" role=\"img\" aria-label=\"{caption}: {BenchHtml.Escape(string.Join("; ", bars.Select(b => $"{b.Label} {BenchTables.Number(b.Result.Median)}")))}. The table has the same figures.\">\n"))
            .Append(Text($"<line class=\"axis\" x1=\"{LabelWidth}\" y1=\"0\" x2=\"{LabelWidth}\" y2=\"{height}\"/>\n"));
        // What the others are slower forms of has another colour.
        bool hasBase = bars.Any(b => b.Result.Name.Against is not null);
        for (int i = 0; i < bars.Count; i++)
        {
            (string label, CaseResult result) = bars[i];
            double top = Top + i * RowHeight, middle = top + RowHeight / 2, end = At(result.Median);
            (double lower, double upper) = BenchStatistics.Quartiles(result.Samples);
            page.Append(Text($"<text x=\"{LabelWidth - 8}\" y=\"{middle + 4}\" text-anchor=\"end\">{BenchHtml.Escape(Short(label))}</text>"))
                .Append(Text($"<rect class=\"{(hasBase && result.Name.Against is null ? "base" : "bar")}\" x=\"{LabelWidth}\" y=\"{middle - BarHeight / 2}\" width=\"{end - LabelWidth:0.##}\" height=\"{BarHeight}\"/>"))
                .Append(Text($"<line class=\"spread\" x1=\"{At(lower):0.##}\" y1=\"{middle}\" x2=\"{At(upper):0.##}\" y2=\"{middle}\"/>"))
                .Append(Text($"<text x=\"{Math.Max(end, At(upper)) + 6:0.##}\" y=\"{middle + 4}\">{BenchTables.Number(result.Median)}</text>\n"));
        }
        page.Append("</svg>\n</figure>\n");
    }

    // What fits beside the bars; the table has it whole.
    private static string Short(string label) => label.Length <= 34 ? label : label[..33] + "…";

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
