using EdgeLora.Models;
using Microsoft.Extensions.AI;
using Turn = EdgeLora.Models.ChatMessage;

namespace EdgeLora.Extensions.AI;

/// <summary>What a call asks for, in the engine's words.</summary>
/// <param name="Turns">The dialogue.</param>
/// <param name="Node">The node that answers.</param>
/// <param name="Conversation">What the caller calls the conversation; null: nothing.</param>
/// <param name="Generation">How.</param>
internal sealed record ChatCall(IReadOnlyList<Turn> Turns, string Node, string? Conversation, GenerationOptions Generation)
{
    /// <summary>Reads a call. Throws <see cref="NotSupportedException"/> that names all of it that a language model alone cannot do.</summary>
    public static ChatCall Of(EdgeChatClient client, IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages, ChatOptions? options, EdgeHost host, EdgeChatClientOptions defaults)
    {
        List<string> faults = [];
        List<Turn> turns = [];
        if (!string.IsNullOrEmpty(options?.Instructions))
            turns.Add(new("system", options.Instructions));
        int index = 0;
        foreach (Microsoft.Extensions.AI.ChatMessage message in messages)
        {
            foreach (AIContent content in message.Contents)
                if (content is not (TextContent or UsageContent))
                    faults.Add($"message {index}: expected text, found {content.GetType().Name}");
            index++;
            turns.Add(new(message.Role.Value, message.Text));
        }
        if (options?.Tools is { Count: > 0 } && options.ToolMode is not NoneChatToolMode)
            faults.Add($"{nameof(options.Tools)}: expected none, found {options.Tools.Count}");
        if (options?.ResponseFormat is ChatResponseFormatJson)
            faults.Add($"{nameof(options.ResponseFormat)}: expected text, found JSON");
        if (options?.ConversationId is { } id)
            faults.Add($"{nameof(options.ConversationId)}: expected none, found {id}; the client keeps no history, so each call brings the whole dialogue");
        if (faults.Count > 0)
            throw new NotSupportedException($"chat call: {faults.Count} fault{(faults.Count == 1 ? "" : "s")}\n" + string.Join('\n', faults));
        return new(turns, NodeOf(options, host, defaults), TextOf(options, EdgeChatClient.ConversationProperty), GenerationOf(client, options, defaults));
    }

    private static string NodeOf(ChatOptions? options, EdgeHost host, EdgeChatClientOptions defaults)
    {
        string node = TextOf(options, EdgeChatClient.NodeProperty) ?? options?.ModelId ?? defaults.Node;
        return node == host.BaseName && host.Tree.Find(node) is null ? "" : node;
    }

    private static GenerationOptions GenerationOf(EdgeChatClient client, ChatOptions? options, EdgeChatClientOptions defaults)
    {
        GenerationOptions generation = defaults.Generation;
        if (options is null)
            return Seeded(generation, null);
        generation = options.RawRepresentationFactory?.Invoke(client) as GenerationOptions ?? generation;
        SamplingOptions sampling = generation.Sampling;
        return Seeded(generation with
        {
            MaxTokens = options.MaxOutputTokens ?? generation.MaxTokens,
            StopStrings = options.StopSequences is { Count: > 0 } stops ? [.. stops] : generation.StopStrings,
            Sampling = sampling with
            {
                Temperature = Exact(options.Temperature) ?? sampling.Temperature,
                TopP = Exact(options.TopP) ?? sampling.TopP,
                TopK = options.TopK ?? sampling.TopK,
                FrequencyPenalty = Exact(options.FrequencyPenalty) ?? sampling.FrequencyPenalty,
                PresencePenalty = Exact(options.PresencePenalty) ?? sampling.PresencePenalty,
            },
        }, options.Seed);
    }

    // Without a seed, of the call or of the defaults, each call draws anew.
    private static GenerationOptions Seeded(GenerationOptions generation, long? seed) => seed is null && (generation.Sampling.Temperature == 0 || generation.Sampling.Seed != 0)
        ? generation
        : generation with { Sampling = generation.Sampling with { Seed = unchecked((ulong)(seed ?? Random.Shared.NextInt64())) } };

    // 0.7f is meant as 0.7, not as the double that it is. What no decimal holds is refused where options are checked, or is too large to matter.
    private static double? Exact(float? value) => value is { } v ? Math.Abs(v) < 1e9f ? (double)(decimal)v : v : null;

    private static string? TextOf(ChatOptions? options, string property) => options?.AdditionalProperties?.TryGetValue(property, out object? value) == true
        ? value as string ?? throw new ArgumentException($"{property}: expected a text, found {value ?? "null"}")
        : null;
}
