namespace EdgeLora.Cli.Bench;

/// <summary>Everything that a run found.</summary>
/// <param name="Engine">EdgeLora's version.</param>
/// <param name="Commit">Commit it was built from; null where the build knew none.</param>
/// <param name="Runtime">.NET, and how it was compiled.</param>
/// <param name="Os">Operating system.</param>
/// <param name="Architecture">Of the process.</param>
/// <param name="Cores">Processors that it sees.</param>
/// <param name="Started">When.</param>
/// <param name="Model">The shape's name or the path that was given.</param>
/// <param name="Type">How most weights are stored; null where no device opened the model.</param>
/// <param name="Quick">Whether with <c>--quick</c>.</param>
/// <param name="Devices">In the order in which they were measured.</param>
internal sealed record BenchReport(string Engine, string? Commit, string Runtime, string Os, string Architecture, int Cores, DateTimeOffset Started, string Model, string? Type, bool Quick, IReadOnlyList<DeviceReport> Devices);

/// <summary>What a run found on one device.</summary>
/// <param name="Id">What <c>--device</c> takes.</param>
/// <param name="Name">For people.</param>
/// <param name="Kind">CPU, discrete GPU, …</param>
/// <param name="Driver">Instruction set and threads, or driver and version.</param>
/// <param name="Error">Why nothing was measured; else null.</param>
/// <param name="Bytes">What lies in memory; null without a measurement.</param>
/// <param name="Load">What else ran; null without a measurement.</param>
/// <param name="Cases">Every case, also those that failed.</param>
internal sealed record DeviceReport(string Id, string Name, string Kind, string Driver, string? Error, ResidentBytes? Bytes, OtherLoad? Load, IReadOnlyList<CaseResult> Cases)
{
    /// <summary>The case of this id, or null.</summary>
    public CaseResult? Find(string id) => Cases.FirstOrDefault(c => c.Name.Id == id);

    /// <summary>How many times as slow as the case that it stands against; null without one. The median of each round's ratio.</summary>
    public double? Slowdown(CaseResult result) =>
        result.Name.Against is { } id && Find(id) is { Error: null } other && result.Error is null && other.Samples.Length == result.Samples.Length
            ? Rounds.MedianOf([.. other.Samples.Zip(result.Samples, (o, own) => result.Name.Unit.Rate ? o / own : own / o)])
            : null;

    /// <summary>GB of weights and adapters that a case reads in a second, going by its tokens; null where it is not known.</summary>
    public double? Gigabytes(CaseResult result) => result is { Error: null, BytesPerToken: { } bytes } ? bytes * result.Median / 1e9 : null;

    /// <summary>Whether the device reads its weights from the memory that <c>memory/read</c> measures.</summary>
    public bool SharesHostMemory => Kind is "CPU" or "CPU driver" or "integrated GPU";
}

/// <summary>One case's samples.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Samples">One a round, in its unit.</param>
/// <param name="Repetitions">Of each sample.</param>
/// <param name="Error">Why there is none; else null.</param>
/// <param name="BytesPerToken">Bytes of weights and adapters that a token reads, where one token is read for at a time; else null.</param>
/// <param name="Derived">How it was computed from other cases' samples; null where it was measured itself.</param>
internal sealed record CaseResult(CaseName Name, double[] Samples, int Repetitions, string? Error, long? BytesPerToken = null, string? Derived = null)
{
    /// <summary>Median; NaN without samples.</summary>
    public double Median => Rounds.MedianOf(Samples);

    /// <summary>True where a time limit left the case out: nothing failed.</summary>
    public bool LeftOut => Error?.StartsWith(CaseRounds.NotMeasured, StringComparison.Ordinal) == true;

    /// <summary>Half the distance between the quartiles, as a part of the median.</summary>
    public double Spread => BenchStatistics.Spread(Samples);
}

/// <summary>What lies in memory.</summary>
/// <param name="Base">The base's weights, once.</param>
/// <param name="Adapters">One of each kind.</param>
internal sealed record ResidentBytes(long Base, IReadOnlyList<AdapterBytes> Adapters);

/// <summary>An adapter's bytes.</summary>
/// <param name="Label">Its kind.</param>
/// <param name="Resident">On the device.</param>
/// <param name="File">Of its tensor file.</param>
internal sealed record AdapterBytes(string Label, long Resident, long File);
