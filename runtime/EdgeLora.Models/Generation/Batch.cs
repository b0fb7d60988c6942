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
    private TokenScores[] _scores = new TokenScores[4];
    private SessionRows[] _work = [];

    /// <summary>Brings one session's keys and values up to its last token and fills its scores.</summary>
    public void Run(Session session) => Run([session]);

    /// <summary>Brings every session's keys and values up to its last token and fills its scores. A session without tokens throws <see cref="InvalidOperationException"/>.</summary>
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
    /// One forward of some of each session's pending tokens. Those that have none left afterwards get their scores; returns how many. A session whose text is not complete may only be the last,
    /// or anywhere where the caller looks at <see cref="Session.Pending"/> before the step. Where it throws, the sessions' keys and values are given up: their next step makes them anew.
    /// </summary>
    public int Step(ReadOnlySpan<SessionRows> work)
    {
        if (_logitRows.Length < work.Length)
        {
            _logitRows = new int[work.Length];
            _scores = new TokenScores[work.Length];
        }
        int done = 0;
        try
        {
            for (int i = 0; i < work.Length; i++)
            {
                (Session session, int rows) = work[i];
                bool complete = rows == session.Pending;
                session.AddRows(_layout, rows);
                if (!complete)
                    continue;
                _logitRows[done] = _layout.Rows - 1;
                _scores[done++] = session.Scores;
            }
            model.Score(_layout, _logitRows.AsSpan(0, done), _scores.AsSpan(0, done));
        }
        catch
        {
            // Rows were counted whose keys and values may not be there.
            foreach (SessionRows one in work)
                one.Session.ReleaseKeyValues();
            throw;
        }
        finally
        {
            Array.Clear(_scores);
            // Between steps nothing holds on to paths: a dropped overlay's memory goes back at once.
            _layout.Clear();
        }
        return done;
    }
}
