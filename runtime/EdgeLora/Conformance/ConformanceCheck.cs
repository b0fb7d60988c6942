namespace EdgeLora.Conformance;

/// <summary>One sentence that is to hold on every backend.</summary>
/// <param name="Sentence">What holds; the tests' facts have this name.</param>
/// <param name="Body">Finds out.</param>
public sealed record ConformanceCheck(string Sentence, Action<ConformanceRun> Body);

/// <summary>What a check found.</summary>
/// <param name="Sentence">The check's.</param>
/// <param name="Ops">Ops that it compared, in order.</param>
/// <param name="Faults">What was wrong: the first few in full, then how many more.</param>
/// <param name="Duration">Time that it took.</param>
public sealed record CheckResult(string Sentence, IReadOnlyList<OpError> Ops, IReadOnlyList<string> Faults, TimeSpan Duration)
{
    /// <summary>True when something was compared and nothing was wrong.</summary>
    public bool Passed => Faults.Count == 0 && Ops.Count > 0;
}
