using System.Collections.Concurrent;
using System.Diagnostics;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora;

/// <summary>What came of reading an adapter.</summary>
/// <param name="Node">The node.</param>
/// <param name="Adapter">Validated, in RAM; null where it was refused. Whoever takes the result owns it.</param>
/// <param name="Fault">Why it was refused.</param>
/// <param name="Done">Told when the result was committed.</param>
internal sealed record StagedPlugin(AdapterNode Node, LoraAdapter? Adapter, ModelFileException? Fault, TaskCompletionSource? Done);

/// <summary>Reads and validates adapters on a thread of its own, so that no tick waits for a disk.</summary>
internal sealed class PluginStaging : IDisposable
{
    private const int MostAttempts = 4;

    private readonly AdapterStore _store;
    private readonly HostProfile _profile;
    private readonly Action _wake;
    private readonly BlockingCollection<(AdapterNode Node, TaskCompletionSource? Done)> _requests = [];
    private readonly ConcurrentQueue<StagedPlugin> _results = new();
    private readonly Thread _thread;

    /// <param name="store">Reads files.</param>
    /// <param name="profile">Told of every file.</param>
    /// <param name="wake">Called when a result is there.</param>
    public PluginStaging(AdapterStore store, HostProfile profile, Action wake)
    {
        (_store, _profile, _wake) = (store, profile, wake);
        _thread = new(Work) { IsBackground = true, Name = "EdgeLora staging" };
        _thread.Start();
    }

    /// <summary>Asks for a node to be read.</summary>
    public void Add(AdapterNode node, TaskCompletionSource? done = null) => _requests.Add((node, done));

    /// <summary>The next result, if there is one whose bytes fit into <paramref name="bytes"/>.</summary>
    public StagedPlugin? TryTake(long bytes) => _results.TryPeek(out StagedPlugin? next) && (next.Adapter?.ByteLength ?? 0) <= bytes && _results.TryDequeue(out next) ? next : null;

    /// <inheritdoc/>
    public void Dispose()
    {
        _requests.CompleteAdding();
        _thread.Join();
        while (_results.TryDequeue(out StagedPlugin? left))
        {
            left.Adapter?.Dispose();
            left.Done?.TrySetCanceled();
        }
        _requests.Dispose();
    }

    private void Work()
    {
        foreach ((AdapterNode node, TaskCompletionSource? done) in _requests.GetConsumingEnumerable())
        {
            if (_requests.IsAddingCompleted)
            {
                done?.TrySetCanceled();
                continue;
            }
            long start = Stopwatch.GetTimestamp();
            _results.Enqueue(Read(node, done));
            _profile.Add("read", start, node.Path);
            _wake();
        }
    }

    // Files that are written to while they are read may come out as half of the one and half of the other.
    private StagedPlugin Read(AdapterNode node, TaskCompletionSource? done)
    {
        for (int attempt = 1; ; attempt++)
        {
            long before = node.FileStamp();
            StagedPlugin result = ReadOnce(node, done);
            if (node.FileStamp() == before)
                return result;
            result.Adapter?.Dispose();
            if (attempt == MostAttempts)
                return new(node, null, new ModelFileException(node.Folder, $"its files were written to each of the {MostAttempts} times that they were read"), done);
            Thread.Sleep(5 << attempt);
        }
    }

    private StagedPlugin ReadOnce(AdapterNode node, TaskCompletionSource? done)
    {
        try
        {
            return new(node, _store.ReadFile(node), null, done);
        }
        catch (ModelFileException e)
        {
            return new(node, null, e, done);
        }
        catch (Exception e)
        {
            // Whatever a file does, the host goes on and says which file it was.
            return new(node, null, new ModelFileException(node.Folder, e.Message), done);
        }
    }
}
