namespace EdgeLora.Extensions.AI;

/// <summary>A session between calls and what it holds. Used by one call at a time.</summary>
/// <param name="session">The session.</param>
/// <param name="node">Where it stands.</param>
/// <param name="name">What the caller calls it; null: it is found by its text.</param>
internal sealed class Conversation(HostSession session, string node, string? name)
{
    public HostSession Session { get; } = session;

    public string Node { get; set; } = node;

    public string? Name { get; } = name;

    /// <summary>The session's tokens, as far as it was read to its end.</summary>
    public List<int> Tokens { get; } = [];

    /// <summary>Leading tokens that it has in common with a prompt. The last one of the prompt never counts: a generation begins after at least one token.</summary>
    public int Shared(ReadOnlySpan<int> prompt)
    {
        int most = Math.Min(Tokens.Count, prompt.Length - 1), shared = 0;
        while (shared < most && Tokens[shared] == prompt[shared])
            shared++;
        return shared;
    }
}
