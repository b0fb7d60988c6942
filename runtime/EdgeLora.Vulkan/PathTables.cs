using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeLora.Core;

namespace EdgeLora.Vulkan;

/// <summary>
/// The indirection tables of paths and KV caches on the device (layout: shaders/common/path.glsl, batch.glsl). A path's table is written once, when a batch first stands on it, and
/// comes back when the path itself is gone; a switch only points a row to another.
/// </summary>
internal sealed class PathTables(VulkanBackend backend, MemoryPool memory)
{
    private const int SiteWords = 16, StepWords = 16;

    private readonly ConditionalWeakTable<SiteTable, Table> _paths = [];
    private readonly ConditionalWeakTable<KvBuffer, Table> _caches = [];
    private readonly ConcurrentQueue<Allocation> _abandoned = new();
    private int[] _ranks = new int[64];

    /// <summary>Bytes written for tables so far.</summary>
    public long WrittenBytes { get; private set; }

    /// <summary>Largest sum of ranks that any path so far has at a site.</summary>
    public int MaxRank(int site) => (uint)site < (uint)_ranks.Length ? _ranks[site] : 0;

    /// <summary>Address of a path's table; 0: the base.</summary>
    public ulong Of(SiteTable path)
    {
        if (path.Count == 0)
            return 0;
        if (!_paths.TryGetValue(path, out Table? table))
            _paths.Add(path, table = Write(Words(path), 0));
        return table.Address;
    }

    /// <summary>Address of a cache's table of keys and values; 0: no cache. Written again when the cache has grown.</summary>
    public ulong Of(KvBuffer? cache)
    {
        if (cache is null)
            return 0;
        if (_caches.TryGetValue(cache, out Table? table))
        {
            if (table.Version == cache.Capacity)
                return table.Address;
            _caches.Remove(cache);
            table.Abandon();
        }
        _caches.Add(cache, table = Write(cache));
        return table.Address;
    }

    /// <summary>Gives memory of tables that nobody uses any more back.</summary>
    public void Collect()
    {
        while (_abandoned.TryDequeue(out Allocation? allocation))
            backend.Release(allocation, MemoryUse.Host);
    }

    private Table Write(KvBuffer cache)
    {
        uint[] words = new uint[4 * cache.Keys.Length];
        for (int layer = 0; layer < cache.Keys.Length; layer++)
        {
            PutTensor(words, 4 * layer, cache.Keys[layer]);
            PutTensor(words, 4 * layer + 2, cache.Values[layer]);
        }
        return Write(_ => words, words.Length, cache.Capacity);
    }

    private Table Write((int Count, Func<ulong, uint[]> Make) words, long version) => Write(words.Make, words.Count, version);

    private Table Write(Func<ulong, uint[]> make, int count, long version)
    {
        Collect();
        Allocation allocation = memory.Allocate(MemoryUse.Host, count * sizeof(uint));
        MemoryMarshal.AsBytes(make(allocation.Address).AsSpan()).CopyTo(allocation.Span(0, count * sizeof(uint)));
        WrittenBytes += count * sizeof(uint);
        // What was written to the tensors in this list did not say that paths read them.
        backend.WaitForPending();
        return new(allocation, version, _abandoned);
    }

    private (int Count, Func<ulong, uint[]> Make) Words(SiteTable path)
    {
        int words = 2 + 2 * path.Count;
        for (int i = 0; i < path.Count; i++)
            if (path[i] is { } site)
                words += SiteWords + StepWords * site.Steps.Length + (site.Rows?.Ids.Length + 1 & ~1 ?? 0);
        return (words, address =>
        {
            uint[] table = new uint[words];
            table[0] = (uint)path.Count;
            int at = 2 + 2 * path.Count;
            for (int i = 0; i < path.Count; i++)
                if (path[i] is { } site)
                {
                    Put(table, 2 + 2 * i, address + (ulong)at * sizeof(uint));
                    at = PutSite(table, at, address, site, i);
                }
            return table;
        }
        );
    }

    private int PutSite(uint[] table, int at, ulong address, SiteAdapter site, int index)
    {
        int end = at + SiteWords + StepWords * site.Steps.Length, rank = 0;
        for (int k = 0; k < site.Steps.Length; k++)
        {
            LowRankStep step = site.Steps[k];
            int w = at + SiteWords + StepWords * k;
            uint types = PutTensor(table, w, step.A) | PutTensor(table, w + 2, step.B) << 8 | PutTensor(table, w + 4, step.OutputBias) << 16 | PutTensor(table, w + 6, step.Gain) << 24;
            (table[w + 8], table[w + 9], table[w + 10], table[w + 11]) = (BitConverter.SingleToUInt32Bits(step.Scale), (uint)step.Rank, (uint)rank, types);
            rank += step.Rank;
        }
        (table[at], table[at + 1]) = ((uint)site.Steps.Length, (uint)rank);
        table[at + 4] = PutTensor(table, at + 2, site.Bias);
        table[at + 5] = PutTensor(table, at + 6, site.Weight);
        table[at + 8] = site.Weight is VulkanTensor weight ? weight.ScalesWord : 0;
        if (site.Rows is { } rows)
        {
            table[at + 9] = (uint)rows.Ids.Length;
            Put(table, at + 10, address + (ulong)end * sizeof(uint));
            table[at + 14] = PutTensor(table, at + 12, rows.Values);
            table[at + 15] = ((VulkanTensor)rows.Values).ScalesWord;
            foreach (int id in rows.Ids)
                table[end++] = (uint)id;
            end += end & 1;
        }
        if (index >= _ranks.Length)
            Array.Resize(ref _ranks, Math.Max(_ranks.Length * 2, index + 1));
        _ranks[index] = Math.Max(_ranks[index], rank);
        return end;
    }

    // Returns the type's number.
    private static uint PutTensor(uint[] table, int at, DeviceTensor? tensor)
    {
        if (tensor is not VulkanTensor own)
            return 0;
        own.Indirect = true;
        Put(table, at, own.Address);
        return (uint)own.Kind;
    }

    private static void Put(uint[] table, int at, ulong address) => (table[at], table[at + 1]) = ((uint)address, (uint)(address >> 32));

    // Comes back when the path or cache it belongs to is collected.
    private sealed class Table(Allocation allocation, long version, ConcurrentQueue<Allocation> abandoned)
    {
        private int _abandonedOnce;

        ~Table() => Abandon();

        public ulong Address => allocation.Address;

        public long Version => version;

        public void Abandon()
        {
            if (Interlocked.Exchange(ref _abandonedOnce, 1) == 0)
                abandoned.Enqueue(allocation);
        }
    }
}
