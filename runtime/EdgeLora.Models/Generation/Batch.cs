using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Runs sessions together: one batch row a pending token, each on its own path. Prompts are cut into chunks. Results do not depend on who shares the batch.</summary>
/// <param name="model">The base that all sessions share.</param>
/// <param name="chunk">Most rows of one forward.</param>
public sealed class Batch(ICausalLM model, int chunk = 128)
{
    private readonly BatchLayout _layout = new();
    private int[] _logitRows = new int[4];
    private int[] _owners = new int[4];
    private float[] _logits = [];

    /// <summary>Brings one session's keys and values up to its last token and fills its logits.</summary>
    public void Run(Session session) => Run([session]);

    /// <summary>Brings every session's keys and values up to its last token and fills its logits. A session without tokens throws <see cref="InvalidOperationException"/>.</summary>
    public void Run(params ReadOnlySpan<Session> sessions)
    {
        foreach (Session session in sessions)
            if (session.Count == 0)
                throw new InvalidOperationException("a session without tokens has no next token: append at least one");
        if (_logitRows.Length < sessions.Length)
        {
            _logitRows = new int[sessions.Length];
            _owners = new int[sessions.Length];
        }
        int vocabulary = model.Config.Vocabulary;
        for (int next = 0; next < sessions.Length;)
        {
            _layout.Clear();
            int done = 0;
            while (next < sessions.Length && _layout.Rows < chunk)
            {
                Session session = sessions[next];
                int pending = session.Pending, rows = Math.Min(pending, chunk - _layout.Rows);
                session.AddRows(_layout, rows);
                if (rows < pending)
                    break;
                _logitRows[done] = _layout.Rows - 1;
                _owners[done++] = next++;
            }
            if (_logits.Length < done * vocabulary)
                _logits = new float[done * vocabulary];
            model.Forward(_layout, _logitRows.AsSpan(0, done), _logits);
            for (int i = 0; i < done; i++)
                _logits.AsSpan(i * vocabulary, vocabulary).CopyTo(sessions[_owners[i]].LogitsBuffer);
        }
        // Between steps nothing holds on to paths: a dropped overlay's memory goes back at once.
        _layout.Clear();
    }
}
