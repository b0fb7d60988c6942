using BenchmarkDotNet.Attributes;
using EdgeLora.Models;

namespace EdgeLora.Benchmarks;

/// <summary>A prompt of 128 tokens, one session: time a token.</summary>
[Config(typeof(TokenConfig))]
public class PrefillBenchmark
{
    private const int Tokens = 128;
    private readonly int[] _prompt = Places.Prompt(Tokens);
    private EdgeHost _host = null!;
    private Session _session = null!;
    private Batch _batch = null!;

    /// <summary>The base.</summary>
    [ParamsSource(nameof(BaseNames))]
    public string Base { get; set; } = "";

    /// <summary>Where the session stands.</summary>
    [ParamsSource(nameof(PlaceNames))]
    public string Place { get; set; } = "";

    /// <summary>Values of <see cref="Base"/>.</summary>
    public static IEnumerable<string> BaseNames => Bases.Names;

    /// <summary>Values of <see cref="Place"/>.</summary>
    public static IEnumerable<string> PlaceNames => Places.Names;

    /// <summary>Opens the base.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _host = Bases.Open(Base);
        _session = Places.Stand(_host, Place, Tokens);
        _batch = new(_host.Model);
    }

    /// <summary>Closes it.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        _session.Dispose();
        _host.Dispose();
    }

    /// <summary>A token of the prompt.</summary>
    [Benchmark(OperationsPerInvoke = Tokens)]
    public void Token()
    {
        _session.Truncate(0);
        _session.Append(_prompt);
        _batch.Run(_session);
    }
}
