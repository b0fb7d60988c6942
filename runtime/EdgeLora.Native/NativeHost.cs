using System.Collections.Concurrent;

namespace EdgeLora.Native;

/// <summary>A host as C has it: who uses it, who ticks it, its events and sessions.</summary>
internal sealed class NativeHost(EdgeHost host)
{
    private const int MostEvents = 4096;

    [ThreadStatic]
    private static int s_callbacks;

    private readonly object _gate = new();
    private readonly Queue<AdapterEvent> _events = new();
    private readonly ConcurrentDictionary<ulong, NativeSession> _sessions = new();
    private CancellationTokenSource? _stop;
    private Thread? _runner;
    private Exception? _runFault;
    private int _uses, _ticking, _lost;
    private volatile bool _closed;

    /// <summary>All hosts.</summary>
    public static HandleTable<NativeHost> Table { get; } = new(0x48, "host");

    /// <summary>What it stands for.</summary>
    public EdgeHost Host { get; } = host;

    /// <summary>Opens one.</summary>
    public static ulong Open(string tree, EdgeHostOptions options)
    {
        EdgeHost host = EdgeHost.Open(tree, options);
        NativeHost native = new(host);
        host.AdapterChanged += native.Keep;
        return Table.Add(native);
    }

    /// <summary>Uses a host until the result is disposed: so long it is not closed. Throws for a handle that is none.</summary>
    public static HostUse Use(ulong handle) => Table.Get(handle).Use();

    /// <inheritdoc cref="Use(ulong)"/>
    public HostUse Use()
    {
        lock (_gate)
        {
            ThrowIfClosed();
            _uses++;
        }
        return new(this);
    }

    /// <summary>Ends a use.</summary>
    public void Leave()
    {
        lock (_gate)
        {
            _uses--;
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Closes it and its sessions, when those who use it have left.</summary>
    public static void Close(ulong handle)
    {
        ThrowInCallback("close");
        NativeHost native = Table.Remove(handle);
        lock (native._gate)
            native._closed = true;
        native.Stop();
        lock (native._gate)
            while (native._uses > 0)
                Monitor.Wait(native._gate);
        foreach (NativeSession session in native._sessions.Values)
            NativeSession.TryClose(session.Handle);
        native.Host.Dispose();
    }

    /// <summary>One tick on this thread, and the callbacks of what it brought.</summary>
    public TickReport Tick(TimeSpan budget)
    {
        if (_runner is not null)
            throw new InvalidOperationException("the host ticks on a thread of its own: stop it first");
        if (Interlocked.Exchange(ref _ticking, 1) != 0)
            throw new InvalidOperationException("the host is in a tick already, on another thread or around this callback");
        try
        {
            TickReport report = Host.Tick(budget);
            Deliver();
            return report;
        }
        finally
        {
            Volatile.Write(ref _ticking, 0);
        }
    }

    /// <summary>Starts a thread that ticks.</summary>
    public void Run(TimeSpan budget)
    {
        lock (_gate)
        {
            ThrowIfClosed();
            if (_runner is not null)
                throw new InvalidOperationException("the host ticks on a thread of its own already");
            _stop = new();
            _runFault = null;
            CancellationToken stop = _stop.Token;
            _runner = new(() => Work(budget, stop)) { IsBackground = true, Name = "EdgeLora ticks" };
            _runner.Start();
        }
    }

    /// <summary>Ends that thread; nothing where there is none. Throws what it failed with.</summary>
    public void Stop()
    {
        ThrowInCallback("stop");
        Thread? runner;
        lock (_gate)
        {
            runner = _runner;
            _stop?.Cancel();
        }
        runner?.Join();
        lock (_gate)
        {
            if (_runner == runner)
                (_runner, _stop) = (null, null);
            if (_runFault is { } fault && !_closed)
                throw new InvalidOperationException($"the host's thread ended with a fault: {fault.Message}", fault);
        }
    }

    /// <summary>Waits for a request; ticks meanwhile where no other thread does.</summary>
    public void Wait(Task request)
    {
        while (!request.IsCompleted)
        {
            ThrowIfClosed();
            if (_runFault is { } fault)
                throw new InvalidOperationException($"the host's thread ended with a fault: {fault.Message}", fault);
            if (_runner is null || _runner == Thread.CurrentThread)
                Host.Tick(TimeSpan.Zero);
            // Not Task.Wait, which would wrap the fault.
            Task.WaitAny([request], 1);
        }
        request.GetAwaiter().GetResult();
    }

    /// <inheritdoc cref="Wait(Task)"/>
    public T Wait<T>(Task<T> request)
    {
        Wait((Task)request);
        return request.Result;
    }

    /// <summary>Lets a request be, and tells its fault as an event where the host does not tell it itself.</summary>
    public void Leave(Task request, string node) => request.ContinueWith(
        done =>
        {
            if (done.Exception?.InnerException is { } fault and not Core.ModelFileException)
                Keep(new(AdapterEventKind.Faulted, node, Host.Tree.Find(node)?.Generation ?? 0, [fault.Message], DateTimeOffset.UtcNow));
        },
        CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

    /// <summary>The next event; null: there is none. <paramref name="lost"/>: how many were dropped before it.</summary>
    public AdapterEvent? NextEvent(out int lost)
    {
        lock (_events)
        {
            if (!_events.TryDequeue(out AdapterEvent? happened))
            {
                lost = 0;
                return null;
            }
            (lost, _lost) = (_lost, 0);
            return happened;
        }
    }

    public void Add(NativeSession session) => _sessions[session.Handle] = session;

    public void Remove(NativeSession session) => _sessions.TryRemove(session.Handle, out _);

    /// <summary>Calls into C: what must not be called from there knows.</summary>
    public static void InCallback(Action call)
    {
        s_callbacks++;
        try
        {
            call();
        }
        finally
        {
            s_callbacks--;
        }
    }

    private static void ThrowInCallback(string what)
    {
        if (s_callbacks > 0)
            throw new InvalidOperationException($"a host cannot {what} within a callback");
    }

    private void ThrowIfClosed()
    {
        if (_closed)
            throw new NativeException(Status.Handle, $"{Host.Name}: the host is closed");
    }

    private void Work(TimeSpan budget, CancellationToken stop)
    {
        try
        {
            while (!stop.IsCancellationRequested)
            {
                TickReport report = Host.Tick(budget);
                Deliver();
                if (report.Running == 0)
                    Host.WaitForWork(TimeSpan.FromMilliseconds(200), stop);
            }
        }
        catch (Exception e)
        {
            _runFault = e;
        }
    }

    private void Deliver()
    {
        foreach (NativeSession session in _sessions.Values)
            session.Deliver();
    }

    private void Keep(AdapterEvent happened)
    {
        lock (_events)
        {
            if (_events.Count == MostEvents)
            {
                _events.Dequeue();
                _lost++;
            }
            _events.Enqueue(happened);
        }
    }
}

/// <summary>A use of a host: it is not closed before it ends.</summary>
internal readonly struct HostUse(NativeHost native) : IDisposable
{
    public NativeHost Native => native;

    public EdgeHost Host => native.Host;

    public void Dispose() => native.Leave();
}
