using System.Text.RegularExpressions;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>A check of the suite under its fact's name: the sentence, with an underscore for all that no name may have.</summary>
internal static partial class SuiteFact
{
    /// <summary>The fact's name of a sentence.</summary>
    public static string Name(string sentence) => NoLetters().Replace(sentence, "_");

    /// <summary>Runs the check that has the fact's name.</summary>
    public static void Holds(IReadOnlyList<ConformanceCheck> checks, string fact, IComputeBackend backend, double tolerance)
    {
        ConformanceRun run = new(backend, tolerance);
        checks.Single(c => Name(c.Sentence) == fact).Body(run);
        Assert.True(run.Faults.Count == 0, string.Join('\n', run.Faults));
        Assert.NotEmpty(run.Ops);
    }

    [GeneratedRegex("[^A-Za-z0-9]+")]
    private static partial Regex NoLetters();
}
