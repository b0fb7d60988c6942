using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>So many of a session's pending tokens.</summary>
/// <param name="Session">The session.</param>
/// <param name="Rows">From 1 to <see cref="Session.Pending"/>.</param>
public readonly record struct SessionRows(Session Session, int Rows);

/// <summary>Runs sessions together: one batch row a pending token, each on its own path. Prompts are cut into chunks. Results do not depend on who shares the batch.</summary>
/// <param name="model">The base that all sessions share.</param>
/// <param name="chunk">Most rows of one forward.</param>
public sealed class Batch(ICausalLM model, int chunk = 128)
{
    private readonly BatchLayout _layout = new();
    private int[] _logitRows = new int[4];
    private int[] _owners = new int[4];
    private float[] _logits = [];
    private SessionRows[] _work = [];

    /// <summary>Brings one session's keys and values up to its last token and fills its logits.</summary>
    public void Run(Session session) => Run([session]);

    /// <summary>Brings every session's keys and values up to its last token and fills its logits. A session without tokens throws <see cref="InvalidOperationException"/>.</summary>
    public void Run(params ReadOnlySpan<Session> sessions)
    {
        foreach (Session session in sessions)
            if (session.Count == 0)
                throw new InvalidOperationException("a session without tokens has no next token: append at least one");
        if (_work.Length < sessions.Length)
            _work = new SessionRows[sessions.Length];
        for (int next = 0; next < sessions.Length;)
        {
            int count = 0, rows = 0;
            for (int i = next; i < sessions.Length && rows < chunk; i++)
            {
                int some = Math.Min(sessions[i].Pending, chunk - rows);
                _work[count++] = new(sessions[i], some);
                rows += some;
            }
            next += Step(_work.AsSpan(0, count));
        }
        Array.Clear(_work);
    }

    /// <summary>
    /// One forward of some of each session's pending tokens. Those that have none left afterwards get their logits; returns how many. A session whose text is not complete may only be the last,
    /// or anywhere where the caller looks at <see cref="Session.Pending"/> before the step.
    /// </summary>
    public int Step(ReadOnlySpan<SessionRows> work)
    {
        if (_logitRows.Length < work.Length)
        {
            _logitRows = new int[work.Length];
            _owners = new int[work.Length];
        }
        int vocabulary = model.Config.Vocabulary, done = 0;
        _layout.Clear();
        for (int i = 0; i < work.Length; i++)
        {
            (Session session, int rows) = work[i];
            bool complete = rows == session.Pending;
            session.AddRows(_layout, rows);
            if (!complete)
                continue;
            _logitRows[done] = _layout.Rows - 1;
            _owners[done++] = i;
        }
        if (_logits.Length < done * vocabulary)
            _logits = new float[done * vocabulary];
        model.Forward(_layout, _logitRows.AsSpan(0, done), _logits);
        for (int i = 0; i < done; i++)
            _logits.AsSpan(i * vocabulary, vocabulary).CopyTo(work[_owners[i]].Session.LogitsBuffer);
        // Between steps nothing holds on to paths: a dropped overlay's memory goes back at once.
        _layout.Clear();
        return done;
    }
}
