using System.Diagnostics;
using EdgeLora.Core;

namespace EdgeLora.Conformance;

/// <summary>The one suite that every backend passes: each op, forward and backward, against the scalar reference, and the rules that numbers alone do not show.</summary>
public static class ConformanceSuite
{
    /// <summary>What holds on every backend.</summary>
    public static IReadOnlyList<ConformanceCheck> Forward => ForwardChecks.All;

    /// <summary>What holds on every backend that trains.</summary>
    public static IReadOnlyList<ConformanceCheck> Backward { get; } = [.. BackwardChecks.All, .. BackwardRules.All, .. OptimizerChecks.All];

    /// <summary>What is to hold on this backend.</summary>
    public static IReadOnlyList<ConformanceCheck> Of(IComputeBackend backend) => backend is ITrainingBackend ? [.. Forward, .. Backward] : Forward;

    /// <summary>Runs all that the backend can be asked for, or some of it (<paramref name="checks"/>), one check after the other. An exception of a check is its fault.</summary>
    public static IEnumerable<CheckResult> Run(IComputeBackend backend, IReadOnlyList<ConformanceCheck>? checks = null) =>
        (checks ?? Of(backend)).Select(check => Run(check, backend));

    private static CheckResult Run(ConformanceCheck check, IComputeBackend backend)
    {
        ConformanceRun run = new(backend);
        long start = Stopwatch.GetTimestamp();
        string[] thrown = [];
        try
        {
            check.Body(run);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            thrown = [$"{e.GetType().Name}: {e.Message}"];
        }
        return new(check.Sentence, run.Ops, [.. run.Faults, .. thrown], Stopwatch.GetElapsedTime(start));
    }
}
