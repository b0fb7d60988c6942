namespace EdgeLora.Extensions.AI;

/// <summary>Conversations between calls, the last used ones up to a bound. A call that goes on where one ended takes it, and computes keys and values for what is new only. Thread-safe.</summary>
/// <param name="host">Opens sessions.</param>
/// <param name="most">Conversations to keep.</param>
/// <param name="options">Of the sessions.</param>
internal sealed class ConversationStore(EdgeHost host, int most, HostSessionOptions options) : IDisposable
{
    private readonly Lock _lock = new();
    // The longest unused first.
    private readonly List<Conversation> _idle = [];
    private bool _disposed;

    /// <summary>A conversation whose session stands on <paramref name="node"/> and holds a beginning of the prompt, and how many tokens that is. Ended by <see cref="Give"/>, or by disposing its session.</summary>
    /// <param name="node">Where it shall stand.</param>
    /// <param name="name">What the caller calls it; null: whichever fits.</param>
    /// <param name="prompt">The whole prompt.</param>
    /// <param name="cancellation">Ends the waiting for a tick.</param>
    public async Task<(Conversation Conversation, int Shared)> TakeAsync(string node, string? name, int[] prompt, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        if (Find(node, name, prompt) is not { } found)
        {
            Task<HostSession> opening = host.OpenSessionAsync(node, options);
            try
            {
                return (new(await opening.WaitAsync(cancellation).ConfigureAwait(false), node, name), 0);
            }
            catch (OperationCanceledException)
            {
                // It may still open when the host ticks again.
                _ = opening.ContinueWith(static o => o.Result.Dispose(), CancellationToken.None, TaskContinuationOptions.OnlyOnRanToCompletion, TaskScheduler.Default);
                throw;
            }
        }
        try
        {
            int shared = found.Shared(prompt);
            await found.Session.TruncateAsync(shared).WaitAsync(cancellation).ConfigureAwait(false);
            found.Tokens.RemoveRange(shared, found.Tokens.Count - shared);
            if (found.Node != node)
            {
                await found.Session.SwitchAsync(node).WaitAsync(cancellation).ConfigureAwait(false);
                found.Node = node;
            }
            return (found, shared);
        }
        catch
        {
            found.Session.Dispose();
            throw;
        }
    }

    /// <summary>Keeps a conversation whose generation was read to its end.</summary>
    public void Give(Conversation conversation)
    {
        lock (_lock)
        {
            if (!_disposed)
                _idle.Add(conversation);
            else
                conversation.Session.Dispose();
            while (_idle.Count > most)
            {
                _idle[0].Session.Dispose();
                _idle.RemoveAt(0);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            foreach (Conversation idle in _idle)
                idle.Session.Dispose();
            _idle.Clear();
        }
    }

    private Conversation? Find(string node, string? name, int[] prompt)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, typeof(EdgeChatClient));
            Conversation? best = null;
            int longest = -1;
            foreach (Conversation idle in _idle)
            {
                // Another conversation's session is not taken for the template's first words: half of what it holds must be of use.
                int shared = idle.Shared(prompt);
                if (idle.Name == name && (name is not null || idle.Node == node && shared * 2 >= idle.Tokens.Count) && shared > longest)
                    (best, longest) = (idle, shared);
            }
            if (best is not null)
                _idle.Remove(best);
            return best;
        }
    }
}
