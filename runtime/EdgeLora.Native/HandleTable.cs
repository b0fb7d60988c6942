namespace EdgeLora.Native;

/// <summary>
/// Owners behind numbers: a kind (8 bits), how often the place was used (24 bits), the place (32 bits). A number whose owner is gone finds nothing, though its place may have another owner. Any thread.
/// </summary>
/// <param name="kind">Keeps one table's numbers out of another's; not 0.</param>
/// <param name="noun">What it holds, for messages.</param>
internal sealed class HandleTable<T>(byte kind, string noun) where T : class
{
    private const uint UseMask = 0xFFFFFF;

    private readonly Lock _lock = new();
    private readonly List<(T? Owner, uint Use)> _places = [];
    private readonly Stack<int> _free = new();

    /// <summary>Owners in it.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
                return _places.Count - _free.Count;
        }
    }

    /// <summary>Takes an owner in.</summary>
    public ulong Add(T owner)
    {
        lock (_lock)
        {
            if (!_free.TryPop(out int place))
            {
                place = _places.Count;
                _places.Add((null, 0));
            }
            uint use = (_places[place].Use + 1) & UseMask;
            _places[place] = (owner, use);
            return ((ulong)kind << 56) | ((ulong)use << 32) | (uint)place;
        }
    }

    /// <summary>The owner. Throws where there is none.</summary>
    public T Get(ulong handle)
    {
        lock (_lock)
            return _places[Place(handle)].Owner!;
    }

    /// <summary>Takes an owner out. Throws where there is none.</summary>
    public T Remove(ulong handle)
    {
        lock (_lock)
        {
            int place = Place(handle);
            (T? owner, uint use) = _places[place];
            _places[place] = (null, use);
            _free.Push(place);
            return owner!;
        }
    }

    private int Place(ulong handle)
    {
        uint place = (uint)handle;
        return (byte)(handle >> 56) == kind && place < (uint)_places.Count && _places[(int)place] is { Owner: not null } there && there.Use == ((uint)(handle >> 32) & UseMask)
            ? (int)place
            : throw new NativeException(Status.Handle, $"0x{handle:x}: is no open {noun}");
    }
}
