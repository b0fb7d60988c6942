using BenchmarkDotNet.Attributes;
using EdgeLora.Models;

namespace EdgeLora.Benchmarks;

/// <summary>Greedy decoding, one session: time a token, after 64 tokens of context.</summary>
public class DecodeBenchmark : TokenBenchmark
{
    private const int Context = 64, Tokens = 16;

    /// <summary>Opens the base and runs the context.</summary>
    [GlobalSetup]
    public void Setup()
    {
        Open(Context + Tokens);
        Session.Append(Places.Prompt(Context));
        Batch.Run(Session);
    }

    /// <summary>A token.</summary>
    [Benchmark(OperationsPerInvoke = Tokens)]
    public void Token()
    {
        Session.Truncate(Context);
        for (int i = 0; i < Tokens; i++)
        {
            Batch.Run(Session);
            Session.Append(ArgMax.Of(Session.Logits));
        }
    }
}
