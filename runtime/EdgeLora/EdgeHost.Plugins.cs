using System.Diagnostics;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora;

// Adapters that come, change and go.
public sealed partial class EdgeHost
{
    /// <summary>Mounts an adapter from anywhere at a place of the tree, reads and validates it. Fails with <see cref="ModelFileException"/>, and mounts nothing, where it is refused; with <see cref="ArgumentException"/> where the place is taken.</summary>
    /// <param name="folder">The adapter's folder or file.</param>
    /// <param name="parent">What it builds on; empty: the base.</param>
    /// <param name="name">Its name there; null: the folder's.</param>
    public async Task<AdapterHandle> MountAsync(string folder, string parent = "", string? name = null)
    {
        TaskCompletionSource staged = new(TaskCreationOptions.RunContinuationsAsynchronously);
        AdapterNode? node = null;
        await Request(() =>
        {
            _ = Sessions;
            string full = Path.GetFullPath(folder);
            node = Tree.Mount(Tree.Get(parent), name ?? Path.GetFileNameWithoutExtension(full.TrimEnd(Path.DirectorySeparatorChar)), full);
            Tell(AdapterEventKind.Discovered, node);
            _staging!.Add(node, staged);
        }).ConfigureAwait(false);
        try
        {
            await staged.Task.ConfigureAwait(false);
        }
        catch (ModelFileException)
        {
            await UnmountAsync(node!.Path).ConfigureAwait(false);
            throw;
        }
        return new(node!.Path, node.Generation);
    }

    /// <summary>Takes a node and what builds on it out of the tree; its files stay. Sessions on it stay until they switch. Fails with <see cref="KeyNotFoundException"/>.</summary>
    public Task UnmountAsync(string node) => Request(() => Unmount(Tree.Get(node)));

    /// <summary>Reads a node's files again and, if they are good, puts another generation in place. Fails with <see cref="ModelFileException"/>, with the last good generation in place, where they are refused.</summary>
    public async Task<AdapterHandle> ReloadAsync(string node)
    {
        TaskCompletionSource staged = new(TaskCreationOptions.RunContinuationsAsynchronously);
        AdapterNode? found = null;
        await Request(() =>
        {
            _ = Sessions;
            found = Tree.Get(node);
            if (found.Parent is null)
                throw new ArgumentException("the base cannot be reloaded");
            _staging!.Add(found, staged);
        }).ConfigureAwait(false);
        await staged.Task.ConfigureAwait(false);
        return new(found!.Path, found.Generation);
    }

    private void Apply(TreeChange change)
    {
        AdapterNode? node = Tree.Find(change.Path);
        if (change.Kind == TreeChangeKind.Removed)
        {
            if (node is not null)
                Unmount(node);
            return;
        }
        if (node is null)
        {
            int slash = change.Path.LastIndexOf('/');
            // A parent that was unmounted by hand takes no children.
            if (Tree.Find(slash < 0 ? "" : change.Path[..slash]) is not { } parent)
                return;
            node = Tree.Mount(parent, change.Path[(slash + 1)..], change.Folder);
            Tell(AdapterEventKind.Discovered, node);
        }
        else
        {
            // What was pushed over it gives way to the file that was saved after.
            Store.Relocate(node, change.Folder);
        }
        _staging!.Add(node);
    }

    // True where another generation took the place of one that was there.
    private bool Commit(StagedPlugin staged)
    {
        AdapterNode node = staged.Node;
        if (Tree.Find(node.Path) != node)
        {
            staged.Adapter?.Dispose();
            staged.Done?.TrySetException(new KeyNotFoundException($"{node.Path}: was unmounted while it was read"));
            return false;
        }
        long start = Stopwatch.GetTimestamp();
        bool known = node.ByteLength > 0;
        try
        {
            if (staged.Fault is not null)
                throw staged.Fault;
            if (known)
            {
                Store.Replace(node, staged.Adapter!);
                Tell(AdapterEventKind.Reloaded, node);
                Meter.Reloaded(node.Path, refused: false);
            }
            else
            {
                Store.Stage(node, staged.Adapter!);
            }
            staged.Done?.TrySetResult();
            return known;
        }
        catch (Exception e)
        {
            // Whatever it is, also a device that has no room or is gone: it is the node's, and the host goes on.
            Refuse(node, e as ModelFileException ?? new ModelFileException(node.Folder, e.Message));
            staged.Done?.TrySetException(e);
            if (known)
                Meter.Reloaded(node.Path, refused: true);
            return false;
        }
        finally
        {
            Profile.Add(known ? "reload" : "stage", start, node.Path);
        }
    }

    private void Unmount(AdapterNode node)
    {
        IReadOnlyList<AdapterNode> gone = Tree.Unmount(node);
        Store.Remove(gone);
        foreach (AdapterNode each in gone)
            Tell(AdapterEventKind.Unmounted, each);
    }

    private void OnStateChanged(AdapterNode node, AdapterState from, AdapterState to)
    {
        AdapterEventKind? kind = to switch
        {
            AdapterState.Staged => AdapterEventKind.Staged,
            AdapterState.Resident when from != AdapterState.Active => AdapterEventKind.Resident,
            AdapterState.Active => AdapterEventKind.Activated,
            AdapterState.Evicted => AdapterEventKind.Evicted,
            _ => null,
        };
        if (kind is { } known)
            Tell(known, node);
    }

    private void Tell(AdapterEventKind kind, AdapterNode node) => _events.Enqueue(new(kind, node.Path, node.Generation, [], DateTimeOffset.UtcNow));
}
