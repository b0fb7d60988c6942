namespace EdgeLora.Conformance;

/// <summary>The largest error of one op in one check.</summary>
/// <param name="Op">Method of <see cref="Core.IComputeBackend"/> or <see cref="Core.ITrainingBackend"/>.</param>
/// <param name="Compared">Comparisons.</param>
/// <param name="Error">The error nearest to its tolerance or furthest beyond it, relative to what it was measured by; NaN where one of the two was NaN.</param>
/// <param name="Tolerance">What was allowed there.</param>
/// <param name="Where">The case and the element.</param>
/// <param name="Failed">Comparisons beyond tolerance.</param>
public sealed record OpError(string Op, int Compared, double Error, double Tolerance, string Where, int Failed)
{
    /// <summary>True when no comparison was beyond tolerance.</summary>
    public bool Passed => Failed == 0;

    /// <summary>Both together: the worse error, and the comparisons of both.</summary>
    public static OpError Worse(OpError a, OpError b) =>
        (Severity(b.Error, b.Tolerance) > Severity(a.Error, a.Tolerance) ? b : a) with { Compared = a.Compared + b.Compared, Failed = a.Failed + b.Failed };

    // 1 is just at the tolerance; what had to be exact and is not is beyond all that is measured, NaN beyond that.
    internal static double Severity(double error, double tolerance) => error == 0 ? 0 : double.IsNaN(error) ? double.PositiveInfinity : error / Math.Max(tolerance, 1e-100);
}
