using System.Diagnostics;
using System.Threading.Channels;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora;

/// <summary>
/// The host's sessions and who is served next: continuous batching with a share for each. Sessions join and leave between steps. The tick's thread only.
/// </summary>
internal sealed class SessionTable : IDisposable
{
    // Shortest step that is worth its fixed cost when the rest of a budget is almost nothing.
    private const double LeastSeconds = 50e-6;

    private readonly EdgeHost _host;
    private readonly Batch _batch;
    private readonly int _mostRows;
    private readonly long _budgetBytes;
    private readonly List<ServedSession> _all = [];
    private readonly List<ServedSession> _waiting = [];
    private readonly List<ServedSession> _running = [];
    private readonly StepCost _cost = new();
    private SessionRows[] _work = new SessionRows[16];
    private ServedSession[] _workers = new ServedSession[16];
    private bool[] _complete = new bool[16];
    private long _steps;

    public SessionTable(EdgeHost host, EdgeHostOptions options)
    {
        _host = host;
        _mostRows = options.MaxBatchRows;
        _budgetBytes = options.KvBudgetBytes;
        _batch = new(host.Model, options.MaxBatchRows);
    }

    /// <summary>Sessions that generate.</summary>
    public int Running => _running.Count;

    /// <summary>Sessions that wait for room.</summary>
    public int Waiting => _waiting.Count;

    /// <summary>All sessions.</summary>
    public IEnumerable<HostSession> Faces => _all.Select(s => s.Face);

    /// <summary>Bytes of all keys and values.</summary>
    public long KvBytes => _all.Sum(s => s.Core.KvBytes);

    public void Open(HostSession face, string node)
    {
        AdapterLease lease = _host.Store.Lease(_host.Tree.Get(node));
        ServedSession session = new(face, new Session(_host.Model, lease.Path, face.Options.ReserveTokens, retainedPaths: 1), lease);
        _all.Add(session);
        Show(session);
    }

    public void Switch(HostSession face, string node, KvPolicy policy) => Move(Get(face), node, policy);

    public void Truncate(HostSession face, int count)
    {
        ServedSession session = Get(face);
        if (session.Generator is not null)
            throw new InvalidOperationException($"session {face.Id} generates: cancel it first");
        session.Core.Truncate(count);
        Show(session);
    }

    public void Begin(HostSession face, int[] tokens, GenerationOptions options, ChannelWriter<GeneratedPiece> output, GenerationTrace trace, CancellationToken cancellation)
    {
        ServedSession session = Get(face);
        if (session.Generator is not null)
            throw new InvalidOperationException($"session {face.Id} generates already");
        long token = 2L * sizeof(float) * _host.Model.Config.Layers * _host.Model.Config.KvHeads * _host.Model.Config.HeadSize;
        long needed = token * Math.Min((long)session.Core.Count + tokens.Length + options.MaxTokens, _host.Model.Config.ContextLength);
        if (needed > _budgetBytes)
            throw new InvalidOperationException($"session {face.Id}: its keys and values may come to {needed} bytes; the host has {_budgetBytes} for all sessions");
        if (session.Core.Count + tokens.Length == 0)
            throw new InvalidOperationException($"session {face.Id} has no text: a generation begins after at least one token");
        if (session.Lease.IsStale && _host.Tree.Find(session.Lease.Node.Path) == session.Lease.Node)
            Move(session, session.Lease.Node.Path, KvPolicy.Recompute);
        // A sampler says what is wrong with its options before anything is appended.
        options.Sampling.Validate(_host.Model.Config.Vocabulary);
        session.Core.Append(tokens);
        session.Begin(new Generator(_host.Model, session.Core, options, _batch), _host.Tokenizer is { } tokenizer ? new(tokenizer, options) : null, output, trace, cancellation);
        session.NeededBytes = needed;
        int at = _waiting.FindIndex(s => s.Face.Options.Priority < face.Options.Priority);
        _waiting.Insert(at < 0 ? _waiting.Count : at, session);
        Admit();
    }

    /// <summary>Ends a generation whose reader left; nothing where it has ended.</summary>
    public void Leave(HostSession face, ChannelWriter<GeneratedPiece> output)
    {
        if (_all.Find(s => s.Face == face) is not { Generator: { } generator } session || !session.WritesTo(output))
            return;
        generator.End(StopReason.Cancelled);
        _waiting.Remove(session);
        Finish(session);
    }

    public void Close(HostSession face)
    {
        if (_all.Find(s => s.Face == face) is not { } session)
            return;
        session.Generator?.End(StopReason.Cancelled);
        session.End();
        _all.Remove(session);
        _running.Remove(session);
        _waiting.Remove(session);
        session.Dispose();
        face.State = HostSessionState.Closed;
        face.WaitingPlace = 0;
        Admit();
    }

    /// <summary>Moves the sessions that want to be moved to the generation that a node, or one that it builds on, has now.</summary>
    public void Follow()
    {
        foreach (ServedSession session in _all)
            if (session.Face.Options.Reload == ReloadPolicy.MoveAtOnce && session.Lease.IsStale && _host.Tree.Find(session.Lease.Node.Path) == session.Lease.Node)
                try
                {
                    Move(session, session.Lease.Node.Path, KvPolicy.Recompute);
                }
                catch (ModelFileException)
                {
                    // It stays on the generation it has; the node's fault was told already.
                }
    }

    /// <summary>Runs steps until <paramref name="until"/> (of <see cref="Stopwatch.GetTimestamp"/>); at least one where there is work.</summary>
    public (int Steps, int Prompt, int New, TimeSpan Longest) Run(long until)
    {
        int steps = 0, prompt = 0, fresh = 0;
        TimeSpan longest = default;
        while (true)
        {
            DropCancelled();
            double left = (until - Stopwatch.GetTimestamp()) / (double)Stopwatch.Frequency;
            if (_running.Count == 0 || (steps > 0 && (left < LeastSeconds || _cost.Seconds(1) > left)))
                break;
            int count = Choose(left, out int rows);
            if (count == 0)
                break;
            long start = Stopwatch.GetTimestamp();
            try
            {
                _batch.Step(_work.AsSpan(0, count));
            }
            catch (Exception e)
            {
                // Whatever the device could not do: nobody waits for tokens that do not come.
                for (int i = 0; i < count; i++)
                    Fail(_workers[i], e);
                throw;
            }
            _host.Profile.Add("forward", start, null, ("rows", rows), ("sessions", count));
            for (int i = 0; i < count; i++)
            {
                ServedSession session = _workers[i];
                session.Served += _work[i].Rows / session.Face.Options.Weight;
                session.LastServed = _steps;
                // Those whose text is complete have logits; the last token itself always counts as pending.
                if (_complete[i])
                {
                    prompt += _work[i].Rows - 1;
                    fresh++;
                    if (session.Choose())
                        Show(session);
                    else
                        Finish(session);
                }
                else
                {
                    prompt += _work[i].Rows;
                    Show(session);
                }
            }
            TimeSpan took = Stopwatch.GetElapsedTime(start);
            _cost.Add(rows, took.TotalSeconds);
            _host.Profile.Add("step", start);
            longest = took > longest ? took : longest;
            steps++;
            _steps++;
        }
        Array.Clear(_work);
        Array.Clear(_workers);
        return (steps, prompt, fresh, longest);
    }

    /// <summary>Ends every generation with a fault.</summary>
    public void FailAll(Exception fault)
    {
        foreach (ServedSession session in _running.Concat(_waiting).ToArray())
            Fail(session, fault);
    }

    public void Dispose()
    {
        foreach (ServedSession session in _all)
        {
            session.Generator?.End(StopReason.Cancelled);
            session.End();
            session.Dispose();
        }
        _all.Clear();
        _running.Clear();
        _waiting.Clear();
    }

    // Who is in the next step, and with how many tokens: by priority, then by who was served least. Those that only decode first, so that a long prompt fills what they leave.
    private int Choose(double seconds, out int rows)
    {
        _running.Sort(static (a, b) => a.Face.Options.Priority != b.Face.Options.Priority ? b.Face.Options.Priority.CompareTo(a.Face.Options.Priority)
            : a.Served != b.Served ? a.Served.CompareTo(b.Served) : a.Face.Id.CompareTo(b.Face.Id));
        int room = Math.Min(_mostRows, _cost.Rows(seconds, _mostRows)), count = 0;
        rows = 0;
        if (_work.Length < _running.Count)
            (_work, _workers, _complete) = (new SessionRows[_running.Count], new ServedSession[_running.Count], new bool[_running.Count]);
        for (int pass = 0; pass < 2; pass++)
            foreach (ServedSession session in _running)
            {
                int pending = session.Core.Pending, some = Math.Min(pending, room - rows);
                if (some <= 0)
                    break;
                if (pending == 1 != (pass == 0))
                    continue;
                _work[count] = new(session.Core, some);
                _complete[count] = some == pending;
                _workers[count++] = session;
                rows += some;
            }
        return count;
    }

    private void Fail(ServedSession session, Exception fault)
    {
        session.Fail(fault);
        _waiting.Remove(session);
        Finish(session);
    }

    private void Finish(ServedSession session)
    {
        session.End();
        session.Runs = false;
        _running.Remove(session);
        Show(session);
        Admit();
    }

    private void DropCancelled()
    {
        for (int i = _running.Count - 1; i >= 0; i--)
            if (_running[i].Cancellation.IsCancellationRequested)
            {
                _running[i].Generator!.End(StopReason.Cancelled);
                Finish(_running[i]);
            }
        for (int i = _waiting.Count - 1; i >= 0; i--)
            if (_waiting[i].Cancellation.IsCancellationRequested)
            {
                ServedSession session = _waiting[i];
                _waiting.RemoveAt(i);
                session.Generator!.End(StopReason.Cancelled);
                session.End();
                Show(session);
            }
    }

    // Lets those in that there is room for, in their order: nobody overtakes. Idle sessions' keys and values make room, the longest idle first.
    private void Admit()
    {
        while (_waiting.Count > 0)
        {
            ServedSession next = _waiting[0];
            long used = _running.Sum(s => s.NeededBytes);
            if (used + next.NeededBytes > _budgetBytes)
                break;
            foreach (ServedSession idle in _all.Where(s => s.Generator is null && s.Core.KvBytes > 0).OrderBy(s => s.LastServed))
            {
                if (used + next.NeededBytes + _all.Where(s => s.Generator is null).Sum(s => s.Core.KvBytes) <= _budgetBytes)
                    break;
                idle.Core.ReleaseKeyValues();
                Show(idle);
            }
            _waiting.RemoveAt(0);
            // Who comes back does not catch up what it did not ask for.
            if (_running.Count > 0)
                next.Served = Math.Max(next.Served, _running.Min(s => s.Served));
            _running.Add(next);
            next.Runs = true;
            Show(next);
        }
        for (int i = 0; i < _waiting.Count; i++)
        {
            _waiting[i].Face.WaitingPlace = i + 1;
            _waiting[i].Face.State = HostSessionState.Waiting;
        }
    }

    private void Move(ServedSession session, string node, KvPolicy policy)
    {
        long start = Stopwatch.GetTimestamp(), loads = _host.Store.Loads;
        AdapterLease lease = _host.Store.Lease(_host.Tree.Get(node));
        session.Core.Switch(lease.Path, policy);
        session.Lease.Dispose();
        session.Lease = lease;
        Show(session);
        _host.Meter.Switched(start, node, loaded: _host.Store.Loads > loads);
        _host.Profile.Add("switch", start, node, ("session", session.Face.Id));
    }

    private ServedSession Get(HostSession face) => _all.Find(s => s.Face == face) ?? throw new ObjectDisposedException($"session {face.Id}");

    private void Show(ServedSession session)
    {
        HostSession face = session.Face;
        face.Node = new(session.Lease.Node.Path, session.Lease.Generation);
        face.State = session.Generator is null ? HostSessionState.Idle : session.Runs ? HostSessionState.Running : HostSessionState.Waiting;
        if (face.State != HostSessionState.Waiting)
            face.WaitingPlace = 0;
        face.TokenCount = session.Core.Count;
        face.KvBytes = session.Core.KvBytes;
    }
}
