using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora;

// Other processes.
public sealed partial class EdgeHost
{
    private readonly Lock _linking = new();
    private readonly List<HostLink> _links = [];

    /// <summary>Folders of pushed adapters.</summary>
    internal PushFolders Pushes { get; } = new();

    /// <summary>
    /// Lets other processes of this user list, push, mount, reload, switch and watch, until the result or the host is disposed. What they ask for is done by ticks, as all else. Throws <see cref="LinkException"/> where it
    /// cannot listen, <see cref="ArgumentException"/> for a short token.
    /// </summary>
    public HostLink Listen(LinkOptions? options = null)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        HostLink link = new(this, options ?? new());
        lock (_linking)
            _links.Add(link);
        return link;
    }

    /// <summary>
    /// Reads an adapter off the tick, then at a tick mounts it or puts it in place of the node's generation, after a canary pass in either case. Fails with <see cref="ModelFileException"/>, with everything as it was, where it is
    /// refused. The files must stay where they are.
    /// </summary>
    internal async Task<AdapterHandle> PutAsync(string folder, PushTarget target)
    {
        LoraAdapter adapter;
        try
        {
            adapter = Store.ReadFile(folder, target.Name);
        }
        catch (Exception e)
        {
            // Whatever a file does, the host goes on and says which file it was.
            ModelFileException fault = e as ModelFileException ?? new(folder, e.Message);
            await Request(() =>
            {
                if (target.Find(Tree) is not { } node)
                    return;
                Refuse(node, fault);
                Meter.Reloaded(node.Path, refused: true);
            }).ConfigureAwait(false);
            throw fault;
        }
        AdapterHandle handle = default;
        await Request(() => handle = Put(folder, target, adapter)).ConfigureAwait(false);
        return handle;
    }

    private AdapterHandle Put(string folder, PushTarget target, LoraAdapter adapter)
    {
        AdapterNode? node;
        bool isNew;
        try
        {
            node = target.Find(Tree);
            isNew = node is null;
            node ??= Tree.Mount(Tree.Get(target.Parent), target.Name, folder);
        }
        catch
        {
            adapter.Dispose();
            throw;
        }
        try
        {
            if (isNew)
            {
                Tell(AdapterEventKind.Discovered, node);
                Store.Stage(node, adapter);
            }
            else
            {
                Replace(node, adapter, folder);
            }
            // Only what is on the device has passed the canary.
            Store.MakeResident(node);
        }
        catch (ModelFileException e)
        {
            Refuse(node, e);
            if (isNew)
                Unmount(node);
            else
                Meter.Reloaded(node.Path, refused: true);
            throw;
        }
        if (!isNew)
        {
            Tell(AdapterEventKind.Reloaded, node);
            Meter.Reloaded(node.Path, refused: false);
            Sessions.Follow();
        }
        return new(node.Path, node.Generation);
    }

    // What it builds on comes first: a parent that is refused leaves the node as it was.
    private void Replace(AdapterNode node, LoraAdapter adapter, string folder)
    {
        try
        {
            if (node.Parent is { Parent: not null } parent)
                Store.MakeResident(parent);
        }
        catch
        {
            adapter.Dispose();
            throw;
        }
        Store.Replace(node, adapter, folder);
    }

    private void Refuse(AdapterNode node, ModelFileException fault)
    {
        Store.Refuse(node, fault);
        _events.Enqueue(new(AdapterEventKind.Faulted, node.Path, node.Generation, fault.Faults, DateTimeOffset.UtcNow));
    }

    private void StopLinks()
    {
        HostLink[] links;
        lock (_linking)
            links = [.. _links];
        foreach (HostLink link in links)
            link.Dispose();
    }
}
