namespace EdgeLora.Cli.Bench;

/// <summary>How thorough a run is.</summary>
/// <param name="Seconds">How long the rounds of a device take, about.</param>
/// <param name="Rounds">Rounds at least, also when they take longer.</param>
/// <param name="Warmup">Rounds before those, beside the run that finds each case's repetitions.</param>
/// <param name="SampleSeconds">A sample repeats its work until it takes about this long.</param>
/// <param name="TrainingRows">Rows of a training step.</param>
/// <param name="TrainingTokens">Tokens of each.</param>
/// <param name="MemoryBytes">Bytes that are read to measure the host's memory.</param>
/// <param name="LimitSeconds">What a device may take, warm-up and all: on a slow or busy one rounds are left out, in the end cases too.</param>
internal sealed record BenchSettings(double Seconds, int Rounds, int Warmup, double SampleSeconds, int TrainingRows, int TrainingTokens, int MemoryBytes, double LimitSeconds)
{
    /// <summary>How many times as long as was asked for a device may take where rounds are long.</summary>
    public const int MostTimes = 5;

    /// <summary>Without <c>--quick</c>.</summary>
    public static BenchSettings Full { get; } = new(60, 7, 1, 0.05, 4, 128, 256 << 20, MostTimes * 60);

    /// <summary><c>--quick</c>: every case, few and short samples.</summary>
    public static BenchSettings Quick { get; } = new(8, 3, 0, 0.01, 2, 32, 128 << 20, 22);

    /// <summary>Tokens that stand before those which are decoded.</summary>
    public const int Context = 64;

    /// <summary>Tokens that are decoded before the context is taken up again.</summary>
    public const int DecodeTokens = 32;

    /// <summary>Sessions that decode together.</summary>
    public static IReadOnlyList<int> Sessions { get; } = [1, 4, 16];

    /// <summary>Tokens of a prompt.</summary>
    public static IReadOnlyList<int> Prompts { get; } = [128, 512];

    /// <summary>Adapters on a path.</summary>
    public static IReadOnlyList<int> Depths { get; } = [1, 2, 4];

    /// <summary>Nodes of a given tree that are measured at most.</summary>
    public const int TreeNodes = 8;
}
