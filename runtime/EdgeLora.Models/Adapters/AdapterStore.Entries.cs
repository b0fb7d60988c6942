using EdgeLora.Core;

namespace EdgeLora.Models;

// Loading, evicting, reloading.
public sealed partial class AdapterStore
{
    private readonly List<Entry> _retired = [];

    /// <summary>
    /// A check of every path that comes to the device, before anyone stands on it: null, or why it is refused. Called under the store's lock, on the thread that asked for the node.
    /// </summary>
    public Func<AdapterPath, string?>? Canary { get; set; }

    /// <summary>Adapters' files are read into memory, not mapped, and one that waits in RAM is used also when its file has changed: for who watches the files and calls <see cref="Replace"/>.</summary>
    public bool IsWatched { get; init; }

    /// <summary>Bytes of <c>.elora</c> files are taken as they are: <see cref="AdapterOptions.TrustElora"/>.</summary>
    public bool TrustElora { get; init; }

    /// <summary>Generations that were replaced or unmounted, and still have users.</summary>
    public int RetiredCount
    {
        get
        {
            lock (_lock)
                return _retired.Count;
        }
    }

    /// <summary>Reads and validates a node's files, on any thread, without the store's lock. Throws <see cref="ModelFileException"/>.</summary>
    public LoraAdapter ReadFile(AdapterNode node) => ReadFile(node.Folder, node.Name);

    /// <summary>As <see cref="ReadFile(AdapterNode)"/>, for files that no node has yet.</summary>
    /// <param name="folder">The adapter's folder or file.</param>
    /// <param name="name">Its name.</param>
    public LoraAdapter ReadFile(string folder, string name)
    {
        if (!IsWatched)
            return LoraAdapter.Load(folder, name, _model.Sites, TrustElora);
        using (MappedFile.ReadIntoMemory())
            try
            {
                return LoraAdapter.Load(folder, name, _model.Sites, TrustElora);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new ModelFileException(folder, e.Message);
            }
    }

    /// <summary>Puts a validated adapter into RAM for a node that has none yet. Takes ownership. A node that is there already keeps what it has.</summary>
    public void Stage(AdapterNode node, LoraAdapter adapter)
    {
        lock (_lock)
        {
            if (_entries.ContainsKey(node) || _staged.Contains(node))
            {
                adapter.Dispose();
                return;
            }
            Describe(node, adapter);
            node.State = _staged.Put(node, adapter, node.FileStamp(), Dropped) ? AdapterState.Staged : AdapterState.Discovered;
        }
    }

    /// <summary>
    /// Puts another generation of a node in place of the one that is there. Takes ownership of <paramref name="adapter"/>, also when it throws. What builds on the node is loaded anew when it is asked for next; who
    /// stands on the old generation stays on it. Where there is a <see cref="Canary"/>, one that only waited in RAM comes to the device for it. Throws <see cref="ModelFileException"/>, with the old generation in place,
    /// where the new one is refused.
    /// </summary>
    /// <param name="node">The node.</param>
    /// <param name="adapter">The new generation.</param>
    /// <param name="folder">Where its files are, from now on the node's; null: where they were.</param>
    public void Replace(AdapterNode node, LoraAdapter adapter, string? folder = null)
    {
        lock (_lock)
        {
            string before = node.Folder;
            node.Folder = folder ?? before;
            Entry? old = _entries.GetValueOrDefault(node), parent = old?.Parent;
            if (old is null && (Canary is null || !TryLoadParent(node, out parent)))
            {
                _staged.Take(node, anyStamp: true)?.Dispose();
                Describe(node, adapter);
                node.State = _staged.Put(node, adapter, node.FileStamp(), Dropped) ? AdapterState.Staged : AdapterState.Discovered;
            }
            else
            {
                Entry entry;
                // Room for the new one is not made by evicting the old one.
                if (old is not null)
                    old.Pins++;
                try
                {
                    entry = Bring(node, parent, adapter, node.FileStamp());
                }
                catch
                {
                    node.Folder = before;
                    throw;
                }
                finally
                {
                    if (old is not null)
                        old.Pins--;
                }
                if (old is not null)
                    Retire(old);
                _staged.Take(node, anyStamp: true)?.Dispose();
                _entries.Add(node, entry);
                Describe(node, entry.Adapter.Adapter);
                node.State = AdapterState.Resident;
            }
            Renew(node);
            Trim();
        }
    }

    /// <summary>Makes a node resident, where it is not, without pinning it. Throws <see cref="ModelFileException"/>.</summary>
    public void MakeResident(AdapterNode node)
    {
        lock (_lock)
        {
            Load(node);
            Trim();
        }
    }

    /// <summary>From now on a node's files are read from <paramref name="folder"/>; what is on the device or in RAM stays.</summary>
    public void Relocate(AdapterNode node, string folder)
    {
        lock (_lock)
            node.Folder = folder;
    }

    /// <summary>Takes nodes, children before parents, off the device and out of RAM. Who stands on one stays on it.</summary>
    public void Remove(IReadOnlyList<AdapterNode> nodes)
    {
        lock (_lock)
            foreach (AdapterNode node in nodes)
            {
                _staged.Take(node, anyStamp: true)?.Dispose();
                if (_entries.TryGetValue(node, out Entry? entry))
                    Retire(entry);
                node.Generation++;
            }
    }

    /// <summary>Whether a node is on the device.</summary>
    public bool IsResident(AdapterNode node)
    {
        lock (_lock)
            return _entries.ContainsKey(node);
    }

    /// <summary>Whether a node waits in RAM.</summary>
    public bool IsStaged(AdapterNode node)
    {
        lock (_lock)
            return _staged.Contains(node);
    }

    /// <summary>Bytes brought to the device since the store was made.</summary>
    public long BytesLoaded { get; private set; }

    /// <summary>Notes why a new file of a node was refused. A node with a good generation keeps serving it, and its state.</summary>
    public void Refuse(AdapterNode node, ModelFileException fault)
    {
        lock (_lock)
        {
            if (_entries.ContainsKey(node) || _staged.Contains(node))
                node.Faults = fault.Faults;
            else
                Fault(node, fault);
        }
    }

    private static void Dropped(AdapterNode node) => node.State = AdapterState.Evicted;

    // A node and all that builds on it have another generation: the paths are others.
    private static void Renew(AdapterNode node)
    {
        node.Generation++;
        foreach (AdapterNode child in node.Children)
            Renew(child);
    }

    // False where what a node builds on is refused: nobody can stand on the node before that is mended.
    private bool TryLoadParent(AdapterNode node, out Entry? parent)
    {
        parent = null;
        try
        {
            parent = node.Parent!.Parent is null ? null : Load(node.Parent);
            return true;
        }
        catch (ModelFileException)
        {
            return false;
        }
    }

    private Entry Load(AdapterNode node)
    {
        if (_entries.TryGetValue(node, out Entry? entry))
        {
            entry.LastUse = ++_clock;
            return entry;
        }
        Entry? parent = node.Parent!.Parent is null ? null : Load(node.Parent);
        LoraAdapter file = Read(node, out long stamp);
        try
        {
            entry = Bring(node, parent, file, stamp);
        }
        catch (ModelFileException e)
        {
            Fault(node, e);
            throw;
        }
        node.State = AdapterState.Resident;
        _entries.Add(node, entry);
        return entry;
    }

    // Brings an adapter to the device and resolves its path; counted, but not yet the node's.
    private Entry Bring(AdapterNode node, Entry? parent, LoraAdapter file, long stamp)
    {
        MakeRoom(file.ByteLength, parent);
        ResidentAdapter adapter = ResidentAdapter.Stage(file, _model.Backend);
        try
        {
            AdapterPath path = PathResolver.Extend(parent?.Path ?? AdapterPath.Root, node.Path, _model.Sites, _model.Backend, adapter);
            if (Canary?.Invoke(path) is { } reason)
                throw new ModelFileException(node.Folder, reason);
            if (parent is not null)
                parent.Children++;
            ResidentBytes += adapter.ByteLength;
            Loads++;
            BytesLoaded += adapter.ByteLength;
            return new(node, adapter, path, parent, stamp) { LastUse = ++_clock };
        }
        catch
        {
            adapter.Dispose();
            throw;
        }
    }

    // Takes a generation out of the way, with all that builds on it; what nobody uses goes at once.
    private void Retire(Entry entry)
    {
        foreach (Entry child in _entries.Values.Where(e => e.Parent == entry).ToArray())
            Retire(child);
        _entries.Remove(entry.Node);
        _retired.Add(entry);
        DropIfUnused(entry);
    }

    private void Unpin(Entry entry)
    {
        if (--entry.Pins == 0 && _entries.GetValueOrDefault(entry.Node) == entry)
            entry.Node.State = AdapterState.Resident;
        DropIfUnused(entry);
        Trim();
    }

    private void DropIfUnused(Entry entry)
    {
        if (entry is not { Pins: 0, Children: 0 } || !_retired.Remove(entry))
            return;
        ResidentBytes -= entry.Adapter.ByteLength;
        entry.Adapter.Dispose();
        if (entry.Parent is { } parent)
        {
            parent.Children--;
            DropIfUnused(parent);
        }
    }

    // From RAM where it waits there, else from disk.
    private LoraAdapter Read(AdapterNode node, out long stamp)
    {
        stamp = node.FileStamp();
        if (_staged.Take(node, anyStamp: IsWatched) is { } waiting)
            return waiting;
        try
        {
            LoraAdapter file = ReadFile(node);
            DiskLoads++;
            Describe(node, file);
            return file;
        }
        catch (ModelFileException e)
        {
            Fault(node, e);
            throw;
        }
    }

    private static void Fault(AdapterNode node, ModelFileException e)
    {
        node.State = AdapterState.Faulted;
        node.Faults = e.Faults;
    }

    private static void Describe(AdapterNode node, LoraAdapter adapter)
    {
        node.ByteLength = adapter.ByteLength;
        node.MinRank = adapter.MinRank;
        node.MaxRank = adapter.MaxRank;
        node.Alpha = adapter.Alpha;
        node.Form = adapter.Form;
        node.Faults = [];
    }

    private void Trim() => MakeRoom(0, null);

    // Before an adapter is brought in, so that the device never holds more than the budget; the node it builds on stays.
    private void MakeRoom(long bytes, Entry? parent)
    {
        while (ResidentBytes + bytes > BudgetBytes)
        {
            AdapterNode? victim = null;
            long oldest = long.MaxValue;
            foreach ((AdapterNode node, Entry entry) in _entries)
                if (entry is { Pins: 0, Children: 0 } && entry != parent && entry.LastUse < oldest)
                    (victim, oldest) = (node, entry.LastUse);
            if (victim is null)
                return;
            _entries.Remove(victim, out Entry? evicted);
            ResidentBytes -= evicted!.Adapter.ByteLength;
            if (evicted.Parent is not null)
                evicted.Parent.Children--;
            bool kept = _staged.Put(victim, evicted.Adapter.Detach(), evicted.Stamp, Dropped);
            victim.State = kept ? AdapterState.Staged : AdapterState.Evicted;
            Evictions++;
        }
    }

    // One generation of a node on the device. It lives as long as it is pinned or something builds on it.
    private sealed class Entry(AdapterNode node, ResidentAdapter adapter, AdapterPath path, Entry? parent, long stamp)
    {
        public readonly AdapterNode Node = node;
        public readonly ResidentAdapter Adapter = adapter;
        public readonly AdapterPath Path = path;
        public readonly Entry? Parent = parent;
        public readonly long Stamp = stamp;
        public int Pins;
        public int Leases;
        public int Children;
        public long LastUse;
    }
}
