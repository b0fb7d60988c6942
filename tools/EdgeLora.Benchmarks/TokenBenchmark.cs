using BenchmarkDotNet.Attributes;
using EdgeLora.Models;

namespace EdgeLora.Benchmarks;

/// <summary>One session of one base at one place of its tree: time a token.</summary>
[Config(typeof(TokenConfig))]
public abstract class TokenBenchmark
{
    /// <summary>The host.</summary>
    protected EdgeHost Host { get; private set; } = null!;

    /// <summary>The session, at its place.</summary>
    protected Session Session { get; private set; } = null!;

    /// <summary>Runs it.</summary>
    protected Batch Batch { get; private set; } = null!;

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

    /// <summary>Opens the base, with room for <paramref name="tokens"/>.</summary>
    protected void Open(int tokens)
    {
        Host = Bases.Open(Base);
        Session = Places.Stand(Host, Place, tokens);
        Batch = new(Host.Model);
    }

    /// <summary>Closes it.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        Session.Dispose();
        Host.Dispose();
    }
}
