using BenchmarkDotNet.Attributes;
using EdgeLora.Models;

namespace EdgeLora.Benchmarks;

/// <summary>Walking between nodes, without the replay of the text: that is prefill.</summary>
public class SwitchBenchmark
{
    private EdgeHost _host = null!, _cold = null!;
    private AdapterPath _two = null!, _other = null!;
    private Session _session = null!, _coldSession = null!;

    /// <summary>The base.</summary>
    [ParamsSource(nameof(BaseNames))]
    public string Base { get; set; } = "";

    /// <summary>Values of <see cref="Base"/>.</summary>
    public static IEnumerable<string> BaseNames => Bases.Names;

    /// <summary>Opens the base twice: with adapters that stay, and with no room for one that nobody uses.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _host = Bases.Open(Base);
        _two = _host.Enter("one/two");
        _other = _host.Enter("other");
        _session = _host.CreateSession(_two);
        _cold = Bases.Open(Base, new EdgeHostOptions { AdapterBudgetBytes = 0 });
        _coldSession = _cold.CreateSession(AdapterPath.Root);
    }

    /// <summary>Closes them.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        _session.Dispose();
        _coldSession.Dispose();
        _host.Dispose();
        _cold.Dispose();
    }

    /// <summary>Between two paths that the application holds: three edges.</summary>
    [Benchmark(OperationsPerInvoke = 2)]
    public void Resident()
    {
        _session.Switch(_other);
        _session.Switch(_two);
    }

    /// <summary>The same, each node looked up by its name, pinned and given back.</summary>
    [Benchmark(OperationsPerInvoke = 2)]
    public void ResidentByName()
    {
        Visit(_host, _session, "other");
        Visit(_host, _session, "one/two");
    }

    /// <summary>To a node whose adapter is on disk only (in the system's file cache): read, checked, uploaded, and evicted after leaving.</summary>
    [Benchmark]
    public void Cold()
    {
        Visit(_cold, _coldSession, "other");
        _coldSession.Switch(AdapterPath.Root);
    }

    private static void Visit(EdgeHost host, Session session, string node)
    {
        session.Switch(host.Enter(node));
        host.Store.Release(host.Tree.Get(node));
    }
}
