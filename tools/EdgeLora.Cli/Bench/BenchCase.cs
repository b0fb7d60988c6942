namespace EdgeLora.Cli.Bench;

/// <summary>Something that is measured. Its identity is <paramref name="Id"/>, the same in every run.</summary>
/// <param name="Id"><c>decode/s4/all-x2</c>.</param>
/// <param name="Group">Table that it stands in.</param>
/// <param name="Row">Its row there.</param>
/// <param name="Column">Its column there.</param>
/// <param name="Unit">Of the samples.</param>
/// <param name="Against">Id of the case that it is a slower form of; null: none.</param>
internal sealed record CaseName(string Id, string Group, string Row, string Column, BenchUnit Unit, string? Against = null);

/// <summary>A case and how it is run.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Work">What one repetition does, in tokens or bytes; 1 where the time itself is wanted.</param>
/// <param name="Run">Does it so many times and returns the seconds that count.</param>
/// <param name="BytesPerToken">Bytes of weights and adapters that a token reads, asked for when the case has run; null where several tokens share them.</param>
/// <param name="MostRepetitions">Repetitions of a sample, however short they are.</param>
internal sealed record BenchCase(CaseName Name, double Work, Func<int, double> Run, Func<long>? BytesPerToken = null, int MostRepetitions = 1 << 20)
{
    /// <summary>Repetitions of a sample, doubled until a run takes <paramref name="seconds"/>, and what the last run took. Warms up on the way.</summary>
    public (int Repetitions, double Seconds) Calibrate(double seconds)
    {
        for (int repetitions = 1; ; repetitions *= 2)
            if (Run(repetitions) is double taken && (taken >= seconds || repetitions >= MostRepetitions))
                return (repetitions, taken);
    }

    /// <summary>A sample in the case's unit.</summary>
    public double Sample(int repetitions, double seconds) => Name.Unit.Rate ? Work * repetitions / seconds / Name.Unit.Scale : seconds / repetitions / Name.Unit.Scale;
}

/// <summary>What a number means.</summary>
/// <param name="Name">tokens/s.</param>
/// <param name="Rate">Work a second: more is better. Else a time: less is better.</param>
/// <param name="Scale">Work or seconds of one of it.</param>
internal sealed record BenchUnit(string Name, bool Rate, double Scale)
{
    public static BenchUnit TokensPerSecond { get; } = new("tokens/s", true, 1);
    public static BenchUnit GigabytesPerSecond { get; } = new("GB/s", true, 1e9);
    public static BenchUnit Milliseconds { get; } = new("ms", false, 1e-3);
    public static BenchUnit Microseconds { get; } = new("µs", false, 1e-6);

    /// <summary>The unit of this name. Throws <see cref="InvalidDataException"/>.</summary>
    public static BenchUnit Of(string name) => new[] { TokensPerSecond, GigabytesPerSecond, Milliseconds, Microseconds }.FirstOrDefault(u => u.Name == name)
        ?? throw new InvalidDataException($"unit '{name}': expected tokens/s, GB/s, ms or µs");
}
