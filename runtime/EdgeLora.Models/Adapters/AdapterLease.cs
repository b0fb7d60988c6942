namespace EdgeLora.Models;

/// <summary>A pinned place in the tree: its path stays usable, also when the node is reloaded or unmounted, until the lease is given back.</summary>
public sealed class AdapterLease : IDisposable
{
    private Action? _release;

    internal AdapterLease(AdapterNode node, int generation, AdapterPath path, Action? release) => (Node, Generation, Path, _release) = (node, generation, path, release);

    /// <summary>The node.</summary>
    public AdapterNode Node { get; }

    /// <summary>The node's generation that the path is of.</summary>
    public int Generation { get; }

    /// <summary>Where one stands.</summary>
    public AdapterPath Path { get; }

    /// <summary>Whether the node has been reloaded since.</summary>
    public bool IsStale => Node.Generation != Generation;

    /// <summary>Gives it back. The path must not be used afterwards.</summary>
    public void Dispose() => Interlocked.Exchange(ref _release, null)?.Invoke();
}
