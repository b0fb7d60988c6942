using EdgeLora.Models;

namespace EdgeLora.Extensions.AI;

/// <summary>How a chat client answers where a call leaves it open.</summary>
public sealed record EdgeChatClientOptions
{
    /// <summary>The node that answers; empty: the base.</summary>
    public string Node { get; init; } = "";

    /// <summary>What a call's ChatOptions do not say. Greedy and at most 256 tokens, if not given.</summary>
    public GenerationOptions Generation { get; init; } = new() { MaxTokens = 256 };

    /// <summary>The template that messages are written with; null: the base's own.</summary>
    public string? ChatTemplate { get; init; }

    /// <summary>Conversations whose keys and values are kept between calls, the last used ones. 0 keeps none.</summary>
    public int KeptConversations { get; init; } = 8;

    /// <summary>Of two sessions the one with the higher priority is always served first.</summary>
    public int Priority { get; init; }
}
