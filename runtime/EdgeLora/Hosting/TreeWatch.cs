using System.Collections.Concurrent;
using EdgeLora.Models;

namespace EdgeLora;

/// <summary>What became of a folder.</summary>
internal enum TreeChangeKind
{
    Added,
    Changed,
    Removed,
}

/// <summary>A folder of the tree that came, changed or went.</summary>
/// <param name="Kind">What became of it.</param>
/// <param name="Path">The node's path.</param>
/// <param name="Folder">Its folder.</param>
internal readonly record struct TreeChange(TreeChangeKind Kind, string Path, string Folder);

/// <summary>
/// Looks at the tree's folder when the system reports a change and every now and then anyway, and tells what came, changed and went once it has been quiet. A look compares names, lengths and
/// times, so that renames and editors that save by renaming are seen as what they come to.
/// </summary>
internal sealed class TreeWatch : IDisposable
{
    private readonly string _folder;
    private readonly TimeSpan _interval, _quiet;
    private readonly Action _wake;
    private readonly Dictionary<string, long> _known;
    private readonly ConcurrentQueue<TreeChange> _changes = new();
    private readonly AutoResetEvent _signal = new(false);
    private readonly FileSystemWatcher _watcher;
    private readonly Thread _thread;
    private Dictionary<string, long>? _seen;
    private volatile bool _stopped;

    /// <param name="tree">The tree as it is.</param>
    /// <param name="interval">Longest time between two looks.</param>
    /// <param name="quiet">How long files must stay as they are.</param>
    /// <param name="wake">Called when there are changes.</param>
    public TreeWatch(AdapterTree tree, TimeSpan interval, TimeSpan quiet, Action wake)
    {
        (_folder, _interval, _quiet, _wake) = (tree.Folder, interval, quiet, wake);
        _known = tree.Nodes.Skip(1).ToDictionary(n => n.Path, n => n.FileStamp(), StringComparer.Ordinal);
        _watcher = new(_folder) { IncludeSubdirectories = true, NotifyFilter = NotifyFilters.FileName | NotifyFilters.DirectoryName | NotifyFilters.LastWrite | NotifyFilters.Size };
        _watcher.Changed += Signal;
        _watcher.Created += Signal;
        _watcher.Deleted += Signal;
        _watcher.Renamed += Signal;
        // Too many at once: the next look sees them all.
        _watcher.Error += (_, _) => _signal.Set();
        _watcher.EnableRaisingEvents = true;
        _thread = new(Work) { IsBackground = true, Name = "EdgeLora watch" };
        _thread.Start();
    }

    /// <summary>The next change; parents come before their children, and go behind them.</summary>
    public bool TryTake(out TreeChange change) => _changes.TryDequeue(out change);

    /// <inheritdoc/>
    public void Dispose()
    {
        _stopped = true;
        _signal.Set();
        _thread.Join();
        _watcher.Dispose();
        _signal.Dispose();
    }

    private void Signal(object sender, FileSystemEventArgs e) => _signal.Set();

    private void Work()
    {
        while (!_stopped)
        {
            _signal.WaitOne(_interval);
            // Until a look sees what the look before it saw.
            while (!_stopped && !Look())
                Thread.Sleep(_quiet);
        }
    }

    // True when nothing is in motion.
    private bool Look()
    {
        AdapterTree now;
        Dictionary<string, long> stamps;
        try
        {
            now = AdapterTree.Open(_folder);
            stamps = now.Nodes.Skip(1).ToDictionary(n => n.Path, n => n.FileStamp(), StringComparer.Ordinal);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
        bool quiet = true, changed = false;
        foreach (AdapterNode node in now.Nodes.Skip(1))
        {
            long stamp = stamps[node.Path];
            bool known = _known.TryGetValue(node.Path, out long before);
            if (known && before == stamp)
                continue;
            if (_seen is null || !_seen.TryGetValue(node.Path, out long last) || last != stamp)
            {
                quiet = false;
                continue;
            }
            _known[node.Path] = stamp;
            _changes.Enqueue(new(known ? TreeChangeKind.Changed : TreeChangeKind.Added, node.Path, node.Folder));
            changed = true;
        }
        foreach (string gone in _known.Keys.Where(p => !stamps.ContainsKey(p)).OrderByDescending(p => p.Length).ToArray())
        {
            // A rename takes a file away for a moment: gone is what is gone twice.
            if (_seen is null || _seen.ContainsKey(gone))
            {
                quiet = false;
                continue;
            }
            _known.Remove(gone);
            _changes.Enqueue(new(TreeChangeKind.Removed, gone, ""));
            changed = true;
        }
        _seen = stamps;
        if (changed)
            _wake();
        return quiet;
    }
}
