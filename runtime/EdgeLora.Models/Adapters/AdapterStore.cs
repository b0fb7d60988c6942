using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Adapters on the device under a byte budget: loaded on demand, each resident once however many paths share it, least recently used evicted first, into RAM under a budget of its own.
/// A node is pinned by its users and by its resident children, so ancestors stay. Thread-safe.
/// </summary>
public sealed partial class AdapterStore : IDisposable
{
    private readonly Lock _lock = new();
    private readonly ITrainableModel _model;
    private readonly Dictionary<AdapterNode, Entry> _entries = [];
    private readonly StagedAdapters _staged;
    private long _clock;

    /// <summary>A store for one base.</summary>
    /// <param name="model">The base.</param>
    /// <param name="budgetBytes">Bytes that resident adapters may take together; pinned ones may exceed it.</param>
    /// <param name="stagedBudgetBytes">Bytes that adapters may keep in RAM, validated and mapped, after they left the device.</param>
    public AdapterStore(ITrainableModel model, long budgetBytes = long.MaxValue, long stagedBudgetBytes = 0)
    {
        _model = model;
        _staged = new(stagedBudgetBytes);
        BudgetBytes = budgetBytes;
    }

    /// <summary>Bytes that resident adapters may take together.</summary>
    public long BudgetBytes { get; }

    /// <summary>Bytes of the resident adapters, each counted once.</summary>
    public long ResidentBytes { get; private set; }

    /// <summary>Resident adapters.</summary>
    public int ResidentCount => _entries.Count;

    /// <summary>Bytes of the adapters that wait in RAM.</summary>
    public long StagedBytes => _staged.Bytes;

    /// <summary>Adapters that wait in RAM.</summary>
    public int StagedCount => _staged.Count;

    /// <summary>Adapters brought to the device since the store was made: a resident switch adds none.</summary>
    public long Loads { get; private set; }

    /// <summary>Those of <see cref="Loads"/> that were read from disk; the others waited in RAM.</summary>
    public long DiskLoads { get; private set; }

    /// <summary>Adapters evicted since the store was made.</summary>
    public long Evictions { get; private set; }

    /// <summary>
    /// Makes a node resident with all its ancestors, pins it, and returns its path. Allocates nothing where it is resident. Throws <see cref="ModelFileException"/>
    /// with every fault when an adapter on the path is refused; the base is never served in its place.
    /// </summary>
    public AdapterPath Acquire(AdapterNode node)
    {
        lock (_lock)
        {
            if (node.Parent is null)
                return AdapterPath.Root;
            Entry entry = Load(node);
            entry.Pins++;
            node.State = AdapterState.Active;
            Trim();
            return entry.Path;
        }
    }

    /// <summary>Gives back one <see cref="Acquire"/>, of the generation that was resident then at the earliest.</summary>
    public void Release(AdapterNode node)
    {
        lock (_lock)
        {
            if (node.Parent is null)
                return;
            // Generations that a reload took out of the way are given back first.
            Entry? entry = _retired.Find(e => e.Node == node && e.Pins > e.Leases) ?? _entries.GetValueOrDefault(node);
            if (entry is null)
                return;
            if (entry.Pins <= entry.Leases)
                throw new InvalidOperationException($"{node}: released more often than acquired");
            Unpin(entry);
        }
    }

    /// <summary>As <see cref="Acquire"/>, for who may stay through a reload: the lease belongs to the generation that is resident now.</summary>
    public AdapterLease Lease(AdapterNode node)
    {
        lock (_lock)
        {
            if (node.Parent is null)
                return new(node, node.Generation, AdapterPath.Root, null);
            Acquire(node);
            Entry entry = _entries[node];
            entry.Leases++;
            return new(node, node.Generation, entry.Path, () =>
            {
                lock (_lock)
                {
                    entry.Leases--;
                    Unpin(entry);
                }
            });
        }
    }

    /// <summary>Reads and validates a node and its ancestors without pinning them, so that their ranks, bytes and faults are known. False where one is refused.</summary>
    public bool TryStage(AdapterNode node)
    {
        try
        {
            Acquire(node);
            Release(node);
            return true;
        }
        catch (ModelFileException)
        {
            return false;
        }
    }

    /// <summary>
    /// Makes children and siblings of a node resident, children first, as long as there is room without evicting anyone and at most <paramref name="bytes"/> are moved. Returns the bytes moved.
    /// A refused adapter is left out: who asks for it is told.
    /// </summary>
    public long Prefetch(AdapterNode node, long bytes)
    {
        lock (_lock)
        {
            long moved = 0;
            foreach (AdapterNode candidate in node.Children.Concat(node.Parent?.Children ?? []))
            {
                if (_entries.ContainsKey(candidate) || candidate.State == AdapterState.Faulted)
                    continue;
                try
                {
                    if (candidate.ByteLength == 0)
                        _staged.Put(candidate, Read(candidate, out long stamp), stamp, Dropped);
                    if (ResidentBytes + candidate.ByteLength > BudgetBytes || moved + candidate.ByteLength > bytes)
                        break;
                    long before = ResidentBytes;
                    Load(candidate);
                    moved += ResidentBytes - before;
                }
                catch (ModelFileException)
                {
                    // The node keeps its faults for who asks for it.
                }
            }
            return moved;
        }
    }

    /// <summary>A weighted sum of nodes: each node's whole path with its own strength. The nodes stay pinned until <see cref="Dispose"/> of the store or <see cref="Release"/> of each.</summary>
    public AdapterPath Blend(IReadOnlyList<(AdapterNode Node, float Strength)> parts)
    {
        lock (_lock)
        {
            foreach ((AdapterNode node, float strength) in parts)
                if (!float.IsFinite(strength))
                    throw new ArgumentException($"{node}: strength {strength} is no finite number");
            int acquired = 0;
            try
            {
                List<(ResidentAdapter, float)> steps = [];
                foreach ((AdapterNode node, float strength) in parts)
                {
                    Acquire(node);
                    acquired++;
                    foreach (AdapterNode n in node.Chain())
                        steps.Add((_entries[n].Adapter, strength));
                }
                string name = string.Join(",", parts.Select(p => FormattableString.Invariant($"{p.Node.Path}={p.Strength}")));
                return PathResolver.Resolve(name, _model.Sites, _model.Backend, steps);
            }
            catch
            {
                // A blend that is refused leaves nothing pinned.
                foreach ((AdapterNode node, _) in parts.Take(acquired))
                    Release(node);
                throw;
            }
        }
    }

    /// <summary>The resident adapter of a node that was acquired.</summary>
    public ResidentAdapter Resident(AdapterNode node)
    {
        lock (_lock)
            return _entries.TryGetValue(node, out Entry? entry) ? entry.Adapter : throw new InvalidOperationException($"{node}: is not resident");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
        {
            foreach (Entry entry in _entries.Values.Concat(_retired))
                entry.Adapter.Dispose();
            _entries.Clear();
            _retired.Clear();
            _staged.Dispose();
            ResidentBytes = 0;
        }
    }
}
