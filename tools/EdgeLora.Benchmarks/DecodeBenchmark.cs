using BenchmarkDotNet.Attributes;
using EdgeLora.Models;

namespace EdgeLora.Benchmarks;

/// <summary>Greedy decoding, one session: time a token, after 64 tokens of context.</summary>
[Config(typeof(TokenConfig))]
public class DecodeBenchmark
{
    private const int Context = 64, Tokens = 16;
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

    /// <summary>Opens the base and runs the context.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _host = Bases.Open(Base);
        _session = Places.Stand(_host, Place, Context + Tokens);
        _batch = new(_host.Model);
        _session.Append(Places.Prompt(Context));
        _batch.Run(_session);
    }

    /// <summary>Closes it.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        _session.Dispose();
        _host.Dispose();
    }

    /// <summary>A token.</summary>
    [Benchmark(OperationsPerInvoke = Tokens)]
    public void Token()
    {
        _session.Truncate(Context);
        for (int i = 0; i < Tokens; i++)
        {
            _batch.Run(_session);
            _session.Append(ArgMax.Of(_session.Logits));
        }
    }
}
