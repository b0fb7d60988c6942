using System.Diagnostics;
using EdgeLora.Models;

namespace EdgeLora.Cli.Bench;

/// <summary>
/// Walking from one r 16 adapter to another: the walk itself, and the next token after it, with the adapter on the device, waiting in RAM, and on disk (in the system's file cache). The text is not replayed: that is
/// prefill. What a switch adds to the next token is computed from these.
/// </summary>
/// <param name="measured">What runs.</param>
internal sealed class SwitchCases(MeasuredModel measured) : IDisposable
{
    private const string Group = "Switch to another r 16 adapter", Time = "time", Stay = "token/stay";
    private const string Node = "beside2";
    private static readonly (string Id, string Label)[] s_walks = [("resident", "from a resident adapter"), ("ram", "cold, from RAM"), ("disk", "cold, from disk (file cache)")];

    private readonly (AdapterStore Store, AdapterTree Tree) _ram = measured.OpenStore(0, long.MaxValue), _disk = measured.OpenStore(0, 0), _fused = measured.OpenStore(long.MaxValue, 0);
    private (AdapterStore Store, AdapterTree Tree)? _trusted;
    private OverlayStore? _overlays;
    private FusedPath? _path;
    private Session? _walker;

    /// <summary>All that are measured.</summary>
    public IEnumerable<BenchCase> All()
    {
        yield return new(new("switch/resident", Group, "the walk itself, resident", Time, BenchUnit.Microseconds), 1, RunWalk);
        yield return new(new(Stay, Group, "next token, no switch", Time, BenchUnit.Milliseconds), 1, n => RunTokens(n, _ => Walker()));
        yield return new(new("token/resident", Group, "next token, " + s_walks[0].Label, Time, BenchUnit.Milliseconds), 1, n => RunTokens(n, i => Walker(i + 1)));
        yield return new(new("token/ram", Group, "next token, " + s_walks[1].Label, Time, BenchUnit.Milliseconds), 1, n => RunCold(n, _ram, token: true));
        yield return new(new("token/disk", Group, "next token, " + s_walks[2].Label, Time, BenchUnit.Milliseconds), 1, n => RunCold(n, _disk, token: true));
        yield return new(new("switch/fuse", Group, "fused: the overlay's making", Time, BenchUnit.Milliseconds), 1, RunFuse);
        yield return new(new("token/fused", Group, "next token, fused", Time, BenchUnit.Milliseconds), 1, RunFused);
        yield return new(new("adapter/load", Group, "an adapter's load alone, from disk (file cache)", Time, BenchUnit.Milliseconds), 1, n => RunCold(n, _disk, token: false));
        yield return new(new("adapter/mapped", Group, "the same of an .elora file that is taken as it is", Time, BenchUnit.Milliseconds), 1, n => RunCold(n, _trusted ??= measured.OpenTrusted(Node), token: false));
    }

    /// <summary>What a switch adds to the next token: the difference within each round.</summary>
    public static IEnumerable<CaseResult> Added(IReadOnlyList<CaseResult> results)
    {
        CaseResult stay = results.Single(r => r.Name.Id == Stay);
        foreach ((string id, string label) in s_walks)
        {
            CaseResult after = results.Single(r => r.Name.Id == $"token/{id}");
            yield return new(new($"added/{id}", Group, "added to the next token, " + label, Time, BenchUnit.Milliseconds), [.. after.Samples.Zip(stay.Samples, (x, y) => x - y)], after.Repetitions, after.Error ?? stay.Error,
                Derived: $"{after.Name.Id} - {stay.Name.Id}");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _walker?.Dispose();
        _path?.Dispose();
        _overlays?.Dispose();
        _fused.Store.Dispose();
        _ram.Store.Dispose();
        _disk.Store.Dispose();
        _trusted?.Store.Dispose();
    }

    // The same context on both paths, its keys and values there: a switch finds them again.
    private Session Walker(int at = 0)
    {
        AdapterPath there = measured.Place(RandomTree.Siblings[at % 2]);
        if (_walker is null)
        {
            _walker = measured.Host.CreateSession(there, measured.Context);
            _walker.Append(RandomTraining.Row(0, measured.Context, measured.Model.Config.Vocabulary));
            for (int i = 0; i < 2; i++)
            {
                _walker.Switch(measured.Place(RandomTree.Siblings[i]));
                measured.Batch.Run(_walker);
            }
        }
        _walker.Switch(there);
        return _walker;
    }

    private double RunWalk(int times)
    {
        Session session = Walker();
        AdapterPath a = measured.Place(RandomTree.Siblings[1]), b = measured.Place(RandomTree.Siblings[0]);
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < times; i++)
            session.Switch((i & 1) == 0 ? a : b);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private double RunTokens(int times, Func<int, Session> stand)
    {
        Walker();
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < times; i++)
            measured.Batch.Run(stand(i));
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private double RunFuse(int times)
    {
        AdapterNode node = _fused.Tree.Get(Node);
        double seconds = 0;
        using OverlayStore overlays = new(measured.Model, _fused.Store);
        for (int i = 0; i < times; i++)
        {
            long start = Stopwatch.GetTimestamp();
            FusedPath path = overlays.Fuse(node);
            seconds += Stopwatch.GetElapsedTime(start).TotalSeconds;
            path.Dispose();
        }
        return seconds;
    }

    // Kept from sample to sample: making it is measured by itself.
    private double RunFused(int times)
    {
        _overlays ??= new(measured.Model, _fused.Store);
        _path ??= _overlays.Fuse(_fused.Tree.Get(Node));
        Session session = measured.Sessions(1)[0];
        session.Truncate(measured.Context);
        session.Switch(_path.Path, KvPolicy.Keep);
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < times; i++)
            measured.Batch.Run(session);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        session.Switch(measured.Place(""), KvPolicy.Keep);
        return seconds;
    }

    private double RunCold(int times, (AdapterStore Store, AdapterTree Tree) place, bool token)
    {
        Session session = measured.Sessions(1)[0];
        session.Truncate(measured.Context);
        AdapterPath home = measured.Place(RandomTree.Siblings[0]);
        AdapterNode node = place.Tree.Get(Node);
        // Read once before: what waits in RAM has been there.
        place.Store.TryStage(node);
        long ticks = 0;
        for (int i = 0; i < times; i++)
        {
            session.Switch(home, KvPolicy.Keep);
            long start = Stopwatch.GetTimestamp();
            AdapterPath path = place.Store.Acquire(node);
            if (token)
            {
                session.Switch(path, KvPolicy.Keep);
                measured.Batch.Run(session);
            }
            ticks += Stopwatch.GetTimestamp() - start;
            session.Switch(home, KvPolicy.Keep);
            place.Store.Release(node);
        }
        return (double)ticks / Stopwatch.Frequency;
    }
}
