using System.Globalization;
using EdgeLora.Core;

namespace EdgeLora.Cli.Inspection;

/// <summary>What an adapter is, in the terms of its format, and what becomes of it in every other.</summary>
internal static class AdapterReport
{
    /// <summary>Adds it to <paramref name="report"/>.</summary>
    /// <param name="report">The report.</param>
    /// <param name="adapter">What was read.</param>
    /// <param name="options">What was told beside it.</param>
    /// <param name="knowsScale">False for a file whose alpha is outside it and was not told.</param>
    public static void Describe(InspectReport report, PeftAdapter adapter, AdapterOptions options, bool knowsScale)
    {
        List<LowRankPair> pairs = LowRankPair.Of(adapter, []);
        report.Facts.Add(("modules", adapter.Modules.Count));
        report.Facts.Add(("parameters", adapter.Modules.Values.SelectMany(m => m.Parts).Where(p => p.Key != PeftPart.BaseWeight).Sum(p => p.Value.Shape.Elements)));
        report.Facts.Add(("dtypes", (IReadOnlyList<string>)[.. adapter.Tensors.Values.Select(t => t.Type.ToString()).Distinct().Order(StringComparer.Ordinal)]));
        if (pairs.Count > 0)
        {
            report.Facts.Add(("ranks", (IReadOnlyList<string>)[.. pairs.Select(p => p.Rank).Distinct().Order().Select(r => r.ToString(CultureInfo.InvariantCulture))]));
            report.Facts.Add(("scaleRule", adapter.Format!.ScaleRule(adapter)));
            if (knowsScale)
                report.Facts.Add(("scales", (IReadOnlyList<string>)[.. pairs.Select(p => (float)p.Scale).Distinct().Order().Select(s => s.ToString(CultureInfo.InvariantCulture))]));
            report.Facts.Add(("sitesByName", (IReadOnlyList<string>)[.. pairs.CountBy(p => p.Module[(p.Module.LastIndexOf('.') + 1)..]).OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => string.Create(CultureInfo.InvariantCulture, $"{c.Key} x{c.Value}"))]));
        }
        if (FusedExperts.AreIn(adapter))
        {
            report.Facts.Add(("targetParameters", adapter.Config.TargetParameters));
            report.Facts.Add(("parameterPairs", adapter.Modules.Values.Count(m => FusedExperts.Holds(adapter.Config, m))));
        }
        foreach (AdapterFileFormat format in AdapterFormats.All.Where(f => f.Writes))
            report.Conversions.Add(Conversion(format, adapter, options, knowsScale));
    }

    private static ConversionLine Conversion(AdapterFileFormat format, PeftAdapter adapter, AdapterOptions options, bool knowsScale)
    {
        try
        {
            AdapterVerdict verdict = format.Judge(adapter, options);
            return verdict.Refusals.Count > 0 ? new(format.Name, "refused", verdict.Refusals)
                : !knowsScale ? new(format.Name, "needs --alpha", ["alpha is not in a loralib file: give it (--alpha)"])
                : verdict.Folds.Count > 0 ? new(format.Name, "needs --fold", verdict.Folds) : new(format.Name, "exact", [.. verdict.Notes, .. format.LeftBehind(adapter)]);
        }
        catch (ModelFileException e)
        {
            return new(format.Name, "refused", e.Faults);
        }
    }
}
