namespace EdgeLora.Models;

/// <summary>The tier between disk and device: adapters that were validated and left the device, still mapped, so that coming back needs no reading and no checking. Least recently left goes first. Not thread-safe.</summary>
/// <param name="budgetBytes">Bytes they may take together.</param>
internal sealed class StagedAdapters(long budgetBytes) : IDisposable
{
    private readonly LinkedList<(AdapterNode Node, LoraAdapter Adapter, long Stamp)> _all = new();
    private readonly Dictionary<AdapterNode, LinkedListNode<(AdapterNode Node, LoraAdapter Adapter, long Stamp)>> _byNode = [];

    /// <summary>Bytes of the adapters in it.</summary>
    public long Bytes { get; private set; }

    /// <summary>Adapters in it.</summary>
    public int Count => _all.Count;

    /// <summary>Whether a node's adapter is here.</summary>
    public bool Contains(AdapterNode node) => _byNode.ContainsKey(node);

    /// <summary>Takes a node's adapter out; null where it is not here, or, unless <paramref name="anyStamp"/>, its files have changed since.</summary>
    public LoraAdapter? Take(AdapterNode node, bool anyStamp)
    {
        if (!_byNode.TryGetValue(node, out var found))
            return null;
        Remove(found);
        if (anyStamp || found.Value.Stamp == node.FileStamp())
            return found.Value.Adapter;
        found.Value.Adapter.Dispose();
        return null;
    }

    /// <summary>Keeps an adapter that left the device. Owned from now on. Returns false where it does not fit at all; it is disposed then.</summary>
    /// <param name="node">Whose it is.</param>
    /// <param name="adapter">The adapter.</param>
    /// <param name="stamp">What <see cref="AdapterNode.FileStamp"/> said when it was read.</param>
    /// <param name="dropped">Told which nodes went for it.</param>
    public bool Put(AdapterNode node, LoraAdapter adapter, long stamp, Action<AdapterNode> dropped)
    {
        if (adapter.ByteLength > budgetBytes)
        {
            adapter.Dispose();
            return false;
        }
        _byNode.Add(node, _all.AddLast((node, adapter, stamp)));
        Bytes += adapter.ByteLength;
        while (Bytes > budgetBytes)
        {
            var oldest = _all.First!;
            Remove(oldest);
            oldest.Value.Adapter.Dispose();
            dropped(oldest.Value.Node);
        }
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var entry in _all)
            entry.Adapter.Dispose();
        _all.Clear();
        _byNode.Clear();
        Bytes = 0;
    }

    private void Remove(LinkedListNode<(AdapterNode Node, LoraAdapter Adapter, long Stamp)> entry)
    {
        _all.Remove(entry);
        _byNode.Remove(entry.Value.Node);
        Bytes -= entry.Value.Adapter.ByteLength;
    }
}
