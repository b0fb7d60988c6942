using System.Collections.Concurrent;
using System.Diagnostics;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora;

// The engine's loop: requests and staged plugins are committed, sessions run, events are told, within a budget.
public sealed partial class EdgeHost
{
    // Forward passes get the time that is left when committing took its share.
    private const double CommitShare = 0.5;

    private readonly ConcurrentQueue<(Action Action, TaskCompletionSource Done)> _requests = new();
    private readonly ConcurrentQueue<AdapterEvent> _events = new();
    private readonly ManualResetEventSlim _wake = new(false);
    private readonly Lock _ticking = new();
    private readonly List<TimeSpan> _times = [];
    private readonly EdgeHostOptions _options;
    private PluginStaging? _staging;
    private TreeWatch? _watch;
    private Canary? _canary;
    private SessionTable? _sessions;
    private long _ticks, _ticksKept, _steps, _promptTokens, _newTokens, _nextSession;
    private bool _disposed;

    /// <summary>Told, at the end of a tick and on its thread, what happened to adapters.</summary>
    public event Action<AdapterEvent>? AdapterChanged;

    /// <summary>Told of every tick, on its thread.</summary>
    public event Action<TickReport>? Ticked;

    internal SessionTable Sessions => _sessions ??= StartServing();

    /// <summary>
    /// One turn for applications with a loop of their own: commits what was requested, read or changed, runs as many forward passes as <paramref name="budget"/> allows (at least one where there is work), tells events.
    /// A prompt is cut so that a pass fits what is left. One thread at a time.
    /// </summary>
    public TickReport Tick(TimeSpan budget)
    {
        lock (_ticking)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            SessionTable sessions = Sessions;
            long start = Stopwatch.GetTimestamp(), end = start + (long)(budget.TotalSeconds * Stopwatch.Frequency);
            _wake.Reset();
            long loads = Store.BytesLoaded;
            Commit(start + (long)((end - start) * CommitShare));
            TimeSpan commit = Stopwatch.GetElapsedTime(start);
            Profile.Add("commit", start);
            long running = Stopwatch.GetTimestamp();
            (int steps, int prompt, int fresh, TimeSpan longest) = sessions.Run(end);
            TimeSpan run = Stopwatch.GetElapsedTime(running);
            long telling = Stopwatch.GetTimestamp();
            while (_events.TryDequeue(out AdapterEvent? happened))
            {
                Log.Told(happened);
                AdapterChanged?.Invoke(happened);
            }
            Profile.Add("events", telling);
            TickReport report = new(_ticks++, budget, Stopwatch.GetElapsedTime(start), commit, run, Stopwatch.GetElapsedTime(telling), longest, steps, prompt, fresh, Store.BytesLoaded - loads, sessions.Running, sessions.Waiting);
            Count(report);
            Meter.Ticked(report);
            Log.Ticked(report);
            Profile.Add(ChromeTrace.Tick, start, null, ("promptTokens", prompt), ("newTokens", fresh));
            Ticked?.Invoke(report);
            return report;
        }
    }

    /// <summary>
    /// Ticks until cancelled, for applications without a loop of their own; sleeps while there is nothing to do. A tick that throws (a device that was lost, an event's handler) ends it and every generation with that exception.
    /// </summary>
    /// <param name="cancellation">Ends it.</param>
    /// <param name="budget">Of each tick; null: 10 ms.</param>
    public Task RunAsync(CancellationToken cancellation, TimeSpan? budget = null) => Task.Factory.StartNew(
        () =>
        {
            try
            {
                while (!cancellation.IsCancellationRequested)
                    if (Tick(budget ?? TimeSpan.FromMilliseconds(10)) is { Running: 0 })
                        WaitForWork(TimeSpan.FromMilliseconds(200), cancellation);
            }
            catch (Exception e)
            {
                lock (_ticking)
                    _sessions?.FailAll(e);
                throw;
            }
        },
        CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>For a loop that ticks only when there is something to commit: waits until something was requested, read or changed since the last tick began, or the time is over, or it is cancelled. True: there is work.</summary>
    public bool WaitForWork(TimeSpan timeout, CancellationToken cancellation = default)
    {
        try
        {
            return _wake.Wait(timeout, cancellation);
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    /// <summary>Opens a conversation that the ticks serve. Fails with <see cref="KeyNotFoundException"/> for an unknown node and <see cref="ModelFileException"/> for a refused adapter.</summary>
    public async Task<HostSession> OpenSessionAsync(string node = "", HostSessionOptions? options = null)
    {
        options ??= new();
        if (!(options.Weight > 0) || !double.IsFinite(options.Weight))
            throw new ArgumentException($"weight: expected more than 0, found {options.Weight}");
        HostSession session = new(this, Interlocked.Increment(ref _nextSession), options);
        await Request(() => Sessions.Open(session, node)).ConfigureAwait(false);
        return session;
    }

    /// <summary>Sessions that are open.</summary>
    public async Task<IReadOnlyList<HostSession>> SessionsAsync()
    {
        HostSession[] all = [];
        await Request(() => all = [.. Sessions.Faces]).ConfigureAwait(false);
        return all;
    }

    /// <summary>The host in numbers.</summary>
    public async Task<HostStats> StatsAsync()
    {
        HostStats? stats = null;
        await Request(() =>
        {
            TimeSpan[] times = [.. _times.Order()];
            TimeSpan At(double share) => times.Length == 0 ? default : times[(int)(share * (times.Length - 1))];
            stats = new(_ticks, _ticksKept, _steps, _promptTokens, _newTokens, At(0.5), At(0.99), Sessions.Faces.Count(), Sessions.Running, Sessions.Waiting, Sessions.KvBytes,
                Store.ResidentCount, Store.ResidentBytes, Store.StagedCount, Store.StagedBytes, Store.RetiredCount, Store.Loads, Store.Evictions, Model.ByteLength);
        }).ConfigureAwait(false);
        return stats!;
    }

    /// <summary>Does something at the start of the next tick, on its thread.</summary>
    internal Task Request(Action action)
    {
        TaskCompletionSource done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        if (_disposed)
        {
            done.SetException(new ObjectDisposedException(Name));
            return done.Task;
        }
        _requests.Enqueue((action, done));
        _wake.Set();
        return done.Task;
    }

    private SessionTable StartServing()
    {
        Tree.Observe(OnStateChanged);
        _canary = new(Model, _options.MaxDrift);
        Store.Canary = path =>
        {
            long start = Stopwatch.GetTimestamp();
            string? refused = _canary.Check(path);
            Profile.Add("canary", start, path.Name);
            return refused;
        };
        _staging = new(Store, Profile, _wake.Set);
        if (_options.Watch)
            _watch = new(Tree, _options.WatchInterval, _options.WatchQuiet, _wake.Set);
        return new(this, _options);
    }

    private void StopServing()
    {
        _watch?.Dispose();
        _staging?.Dispose();
        _sessions?.Dispose();
        _canary?.Dispose();
        while (_requests.TryDequeue(out (Action, TaskCompletionSource Done) left))
            left.Done.TrySetException(new ObjectDisposedException(Name));
        _wake.Dispose();
    }

    private void Commit(long until)
    {
        while (_requests.TryDequeue(out (Action Action, TaskCompletionSource Done) request))
            try
            {
                request.Action();
                request.Done.SetResult();
            }
            catch (Exception e)
            {
                request.Done.SetException(e);
            }
        while (_watch is not null && _watch.TryTake(out TreeChange change))
            Apply(change);
        long bytes = 0;
        bool reloaded = false;
        // At least one a tick, however large it is.
        while (_staging!.TryTake(bytes == 0 ? long.MaxValue : _options.TickBytes - bytes) is { } staged)
        {
            bytes += staged.Adapter?.ByteLength ?? 1;
            reloaded |= Commit(staged);
            if (Stopwatch.GetTimestamp() >= until)
                break;
        }
        if (reloaded)
            Sessions.Follow();
    }

    private void Count(in TickReport report)
    {
        _ticksKept += report.KeptWithinOneStep ? 1 : 0;
        _steps += report.Steps;
        _promptTokens += report.PromptTokens;
        _newTokens += report.NewTokens;
        if (report.Steps == 0)
            return;
        if (_times.Count == 1024)
            _times.RemoveRange(0, 512);
        _times.Add(report.Elapsed);
    }
}
