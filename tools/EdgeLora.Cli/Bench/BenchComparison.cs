namespace EdgeLora.Cli.Bench;

/// <summary>A case in two reports.</summary>
/// <param name="Device">Id of the device.</param>
/// <param name="Name">The case, as the first report that has it calls it.</param>
/// <param name="Before">Median in the first; null where it has none.</param>
/// <param name="After">Median in the second; null where it has none.</param>
/// <param name="Speed">How many times as fast the second is, whichever way the unit counts; null where one has no samples.</param>
/// <param name="Missing">Why there is no ratio; else null.</param>
/// <param name="SamplesBefore">How many the first has.</param>
/// <param name="SamplesAfter">How many the second has.</param>
internal sealed record ComparedCase(string Device, CaseName Name, double? Before, double? After, RatioInterval? Speed, string? Missing, int SamplesBefore, int SamplesAfter)
{
    private const int FewestSamples = 3;

    /// <summary>Fewer samples than an interval needs, on one side: then the ratio alone says nothing.</summary>
    public bool TooFew => Math.Min(SamplesBefore, SamplesAfter) < FewestSamples;

    /// <summary>Whether the interval says that the second is slower or faster, or leaves it open.</summary>
    public string Verdict => Speed is not { } speed ? Missing! : TooFew ? "too few samples" : speed.High < 1 ? "slower" : speed.Low > 1 ? "faster" : "no difference seen";

    /// <summary>Whether its whole interval lies below <paramref name="ratio"/>, or the second report lost it.</summary>
    public bool IsBelow(double ratio) => Speed is { } speed ? !TooFew && speed.High < ratio : Before is not null;
}

/// <summary>Two reports side by side.</summary>
/// <param name="Cases">By device and case; what was computed from others is left out.</param>
/// <param name="Unlike">In what the two differ besides their figures.</param>
internal sealed record BenchComparison(IReadOnlyList<ComparedCase> Cases, IReadOnlyList<string> Unlike)
{
    /// <summary>Compares <paramref name="b"/> with <paramref name="a"/>. Throws <see cref="InvalidDataException"/> where they have no case in common, or one in different units.</summary>
    public static BenchComparison Of(BenchReport a, BenchReport b)
    {
        List<ComparedCase> cases = [];
        List<string> unlike = [];
        void Same(string what, string? x, string? y)
        {
            if (x != y)
                unlike.Add($"{what}: {x ?? "none"} | {y ?? "none"}");
        }
        Same("model", a.Model, b.Model);
        Same("type", a.Type, b.Type);
        Same("quick", a.Quick ? "yes" : "no", b.Quick ? "yes" : "no");
        Same("EdgeLora", a.Engine, b.Engine);
        Same("commit", a.Commit, b.Commit);
        Same("runtime", a.Runtime, b.Runtime);
        Same("system", $"{a.Os} {a.Architecture}", $"{b.Os} {b.Architecture}");
        foreach (string id in a.Devices.Concat(b.Devices).Select(d => d.Id).Distinct())
        {
            DeviceReport? x = a.Devices.FirstOrDefault(d => d.Id == id), y = b.Devices.FirstOrDefault(d => d.Id == id);
            if (x is not null && y is not null)
                Same(id, $"{x.Name}, {x.Driver}", $"{y.Name}, {y.Driver}");
            foreach ((string which, DeviceReport? device) in new[] { ("first", x), ("second", y) })
                if (device?.Load is { IsNoisy: true } load)
                    unlike.Add($"{id}, the {which}: {load.Describe()}");
            Dictionary<string, CaseResult> before = Measured(x), after = Measured(y);
            foreach (string name in before.Keys.Union(after.Keys))
                cases.Add(Compare(id, before.GetValueOrDefault(name), after.GetValueOrDefault(name)));
        }
        return cases.Any(c => c.Speed is not null) ? new(cases, unlike) : throw new InvalidDataException("the reports have no measured case in common");
    }

    /// <summary>Geometric mean of the ratios on one device; null where there is none.</summary>
    public double? Mean(string device)
    {
        double[] logs = [.. Cases.Where(c => c.Device == device && c.Speed is not null).Select(c => Math.Log(c.Speed!.Value.Value))];
        return logs.Length == 0 ? null : Math.Exp(logs.Average());
    }

    private static Dictionary<string, CaseResult> Measured(DeviceReport? device) => (device?.Cases ?? []).Where(c => c.Derived is null).ToDictionary(c => c.Name.Id);

    private static ComparedCase Compare(string device, CaseResult? a, CaseResult? b)
    {
        CaseName name = (a ?? b)!.Name;
        double? before = a is { Samples.Length: > 0 } ? a.Median : null, after = b is { Samples.Length: > 0 } ? b.Median : null;
        if (before is null || after is null)
            return new(device, name, before, after, null, Why("first", a) ?? Why("second", b), a?.Samples.Length ?? 0, b?.Samples.Length ?? 0);
        if (a!.Name.Unit != b!.Name.Unit)
            throw new InvalidDataException($"{device}, {name.Id}: is in {a.Name.Unit.Name} in the first report and in {b.Name.Unit.Name} in the second");
        return new(device, name, before, after, name.Unit.Rate ? BenchStatistics.MedianRatio(a.Samples, b.Samples) : BenchStatistics.MedianRatio(b.Samples, a.Samples), null, a.Samples.Length, b.Samples.Length);
    }

    private static string? Why(string which, CaseResult? result) =>
        result is null ? $"not in the {which}" : result.Samples.Length == 0 ? $"failed in the {which}: {result.Error}" : null;
}
