using BenchmarkDotNet.Attributes;

namespace EdgeLora.Benchmarks;

/// <summary>A prompt of 128 tokens, one session: time a token.</summary>
public class PrefillBenchmark : TokenBenchmark
{
    private const int Tokens = 128;
    private readonly int[] _prompt = Places.Prompt(Tokens);

    /// <summary>Opens the base.</summary>
    [GlobalSetup]
    public void Setup() => Open(Tokens);

    /// <summary>A token of the prompt.</summary>
    [Benchmark(OperationsPerInvoke = Tokens)]
    public void Token()
    {
        Session.Truncate(0);
        Session.Append(_prompt);
        Batch.Run(Session);
    }
}
