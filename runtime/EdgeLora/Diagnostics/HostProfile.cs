using System.Diagnostics;

namespace EdgeLora;

/// <summary>
/// Where a host's time goes: ticks with their commits, forward passes, reloads, canaries and switches, and files that are read beside them, kept in a ring and written as a trace for Perfetto or
/// chrome://tracing. Off until started; any thread.
/// </summary>
public sealed class HostProfile
{
    private readonly Lock _lock = new();
    private readonly Dictionary<int, string> _threads = [];
    private ProfileScope[] _ring = [];
    private long _written, _epoch;
    private volatile bool _running;

    internal HostProfile()
    {
    }

    /// <summary>Whether scopes are kept.</summary>
    public bool IsRunning => _running;

    /// <summary>Scopes that are kept.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
                return (int)Math.Min(_written, _ring.Length);
        }
    }

    /// <summary>Scopes that went for later ones.</summary>
    public long Dropped
    {
        get
        {
            lock (_lock)
                return _written - Math.Min(_written, _ring.Length);
        }
    }

    /// <summary>Begins with an empty ring.</summary>
    /// <param name="capacity">Scopes to keep, the last ones; about 100 bytes each.</param>
    public void Start(int capacity = 1 << 16)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        lock (_lock)
        {
            if (_ring.Length != capacity)
                _ring = new ProfileScope[capacity];
            _threads.Clear();
            _written = 0;
            _epoch = Stopwatch.GetTimestamp();
            _running = true;
        }
    }

    /// <summary>Keeps what there is and adds nothing more.</summary>
    public void Stop() => _running = false;

    /// <summary>Writes the trace: a JSON array of events, time in microseconds since <see cref="Start"/>.</summary>
    public void WriteTo(Stream stream)
    {
        ProfileScope[] scopes;
        KeyValuePair<int, string>[] threads;
        lock (_lock)
        {
            int count = (int)Math.Min(_written, _ring.Length);
            scopes = new ProfileScope[count];
            for (int i = 0; i < count; i++)
                scopes[i] = _ring[(_written - count + i) % _ring.Length];
            threads = [.. _threads];
        }
        ChromeTrace.Write(stream, scopes, threads, _epoch);
    }

    /// <summary>Writes the trace to a file.</summary>
    public void Save(string path)
    {
        using FileStream file = File.Create(path);
        WriteTo(file);
    }

    /// <summary>Keeps a scope that ends now.</summary>
    internal void Add(string name, long start, string? node = null, (string, long)? first = null, (string, long)? second = null)
    {
        if (!_running)
            return;
        long end = Stopwatch.GetTimestamp();
        lock (_lock)
        {
            // What began before the profile did is told of by its parts only.
            if (start < _epoch)
                return;
            int thread = Environment.CurrentManagedThreadId;
            if (name == ChromeTrace.Tick)
                _threads[thread] = "EdgeLora ticks";
            else
                _threads.TryAdd(thread, Thread.CurrentThread.Name ?? $"thread {thread}");
            _ring[_written++ % _ring.Length] = new(name, start, end, thread, node, first, second);
        }
    }
}
