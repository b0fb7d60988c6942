using BenchmarkDotNet.Attributes;
using EdgeLora.Models;

namespace EdgeLora.Benchmarks;

/// <summary>Opening a tree from the system's file cache.</summary>
public class LoadBenchmark
{
    /// <summary>The base.</summary>
    [ParamsSource(nameof(BaseNames))]
    public string Base { get; set; } = "";

    /// <summary>Values of <see cref="Base"/>.</summary>
    public static IEnumerable<string> BaseNames => Bases.Names;

    /// <summary>Makes the files.</summary>
    [GlobalSetup]
    public void Setup() => Bases.Tree(Base);

    /// <summary>Open and close.</summary>
    [Benchmark]
    public void Open() => Bases.Open(Base).Dispose();

    /// <summary>Open, go to an adapter on an adapter, and have the first logits there.</summary>
    [Benchmark]
    public float OpenAndSayOneToken()
    {
        using EdgeHost host = Bases.Open(Base);
        using Session session = Places.Stand(host, "one/two", 1);
        session.Append(1);
        new Batch(host.Model).Run(session);
        return session.Logits[0];
    }
}
