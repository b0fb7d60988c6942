using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace EdgeLora.Cpu;

/// <summary>
/// Threads that run one function on all parts of an op. Between regions a worker spins about a millisecond (a decode step enters hundreds
/// of regions, and waking a thread costs more than most of them), then yields, then parks. A part that no worker has begun when the caller is
/// through with its own is run by the caller: on a busy machine it does not wait for a thread that has no core. A region allocates nothing.
/// </summary>
internal sealed unsafe class WorkerPool : IDisposable
{
    private const double SpinSeconds = 1e-3;
    private const int YieldsBeforeParking = 50;

    private readonly Lock _gate = new();
    private readonly Thread[] _threads;
    private readonly SemaphoreSlim[] _wake;
    private readonly Flag[] _claimed;
    private readonly Flag[] _done;
    private readonly Flag[] _parked;
    private Flag _epoch;
    private delegate*<object, int, int, void> _body;
    private object? _context;
    private Exception? _fault;
    private volatile bool _stop;

    /// <summary>A pool of <paramref name="threads"/> threads, the caller's included.</summary>
    public WorkerPool(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        Threads = threads;
        _threads = new Thread[threads];
        _wake = new SemaphoreSlim[threads];
        _claimed = new Flag[threads];
        _done = new Flag[threads];
        _parked = new Flag[threads];
        for (int i = 1; i < threads; i++)
        {
            int id = i;
            _wake[i] = new SemaphoreSlim(0);
            _threads[i] = new Thread(() => Work(id)) { IsBackground = true, Name = $"EdgeLora cpu {i}" };
            _threads[i].Start();
        }
    }

    /// <summary>Parts of a region.</summary>
    public int Threads { get; }

    /// <summary>
    /// Calls <paramref name="body"/>(context, part, parts) once for every part, part 0 and those left over on this thread, and returns when all are done; rethrows the
    /// first exception. Host threads take turns. Throws <see cref="ObjectDisposedException"/> after <see cref="Dispose"/>.
    /// </summary>
    public void Run(delegate*<object, int, int, void> body, object context)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_stop, this);
            if (Threads == 1)
            {
                body(context, 0, 1);
                return;
            }
            _body = body;
            _context = context;
            int epoch = _epoch.Value + 1;
            // A full fence: the epoch must be visible before the parked flags are read, or a worker going to sleep is missed.
            Interlocked.Exchange(ref _epoch.Value, epoch);
            for (int i = 1; i < Threads; i++)
                if (Interlocked.Exchange(ref _parked[i].Value, 0) != 0)
                    _wake[i].Release();
            RunPart(0);
            // All that nobody has begun first, then the waiting.
            for (int i = 1; i < Threads; i++)
                if (Claim(i, epoch))
                {
                    RunPart(i);
                    Volatile.Write(ref _done[i].Value, epoch);
                }
            for (int i = 1; i < Threads; i++)
                Await(i, epoch);
            _context = null;
            if (_fault is { } thrown)
            {
                _fault = null;
                ExceptionDispatchInfo.Throw(thrown);
            }
        }
    }

    /// <summary>Ends and joins the threads.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_stop)
                return;
            _stop = true;
            Interlocked.Increment(ref _epoch.Value);
            for (int i = 1; i < Threads; i++)
            {
                _wake[i].Release();
                _threads[i].Join();
                _wake[i].Dispose();
            }
        }
    }

    /// <summary>The part of <paramref name="count"/> units that falls to <paramref name="part"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (int Start, int End) Split(int count, int part, int parts) => ((int)((long)count * part / parts), (int)((long)count * (part + 1) / parts));

    private void Work(int id)
    {
        int seen = 0;
        while (true)
        {
            seen = AwaitEpoch(id, seen);
            if (_stop)
                return;
            if (!Claim(id, seen))
                continue;
            RunPart(id);
            Volatile.Write(ref _done[id].Value, seen);
        }
    }

    // A part is its worker's or the caller's, whoever comes first. Who claims one of an epoch knows that the epoch is not over: it ends when every part is claimed and done.
    private bool Claim(int part, int epoch) => Interlocked.CompareExchange(ref _claimed[part].Value, epoch, epoch - 1) == epoch - 1;

    private void RunPart(int part)
    {
        try
        {
            _body(_context!, part, Threads);
        }
        catch (Exception fault)
        {
            Interlocked.CompareExchange(ref _fault, fault, null);
        }
    }

    private void Await(int part, int epoch)
    {
        for (int spins = 0; Volatile.Read(ref _done[part].Value) != epoch; spins++)
        {
            Thread.SpinWait(1);
            // More threads than free cores: the worker waits for ours.
            if (spins > 2000)
                Thread.Yield();
        }
    }

    // Returns the epoch that is on now.
    private int AwaitEpoch(int id, int seen)
    {
        long start = Stopwatch.GetTimestamp();
        for (int spins = 1; Volatile.Read(ref _epoch.Value) == seen; spins++)
        {
            Thread.SpinWait(1);
            if ((spins & 63) == 0 && Stopwatch.GetElapsedTime(start).TotalSeconds > SpinSeconds)
                break;
        }
        for (int yields = 0; yields < YieldsBeforeParking && Volatile.Read(ref _epoch.Value) == seen; yields++)
            Thread.Yield();
        while (Volatile.Read(ref _epoch.Value) == seen && !_stop)
        {
            Interlocked.Exchange(ref _parked[id].Value, 1);
            if (Volatile.Read(ref _epoch.Value) == seen && !_stop)
                _wake[id].Wait();
            // Whoever clears the flag owns the semaphore's count: a waker that came between leaves one for the next round, which is harmless.
            Interlocked.Exchange(ref _parked[id].Value, 0);
        }
        return Volatile.Read(ref _epoch.Value);
    }

    // Each flag on its own cache lines (two: adjacent lines are fetched in pairs).
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Flag
    {
        [FieldOffset(128)] public int Value;
    }
}
