using System.Text.Json;
using System.Text.Json.Nodes;

namespace EdgeLora.Models;

/// <summary>One turn of a dialogue.</summary>
/// <param name="Role">For example <c>system</c>, <c>user</c>, <c>assistant</c> or <c>tool</c>.</param>
/// <param name="Content">What was said.</param>
public sealed record ChatMessage(string Role, string Content);

/// <summary>What a chat template is rendered with: the arguments of Hugging Face's apply_chat_template.</summary>
public sealed record ChatTemplateInput
{
    /// <summary>The dialogue as JSON: an array of objects with role, content and whatever else the template reads. Counts before <see cref="Turns"/>.</summary>
    public JsonElement? Messages { get; init; }

    /// <summary>The dialogue where every turn is a role and a text.</summary>
    public IReadOnlyList<ChatMessage> Turns { get; init; } = [];

    /// <summary>Tool descriptions, a JSON array; absent where there are none.</summary>
    public JsonElement? Tools { get; init; }

    /// <summary>Documents to answer from, a JSON array of objects; absent where there are none.</summary>
    public JsonElement? Documents { get; init; }

    /// <summary>Ends with the beginning of an answer.</summary>
    public bool AddGenerationPrompt { get; init; }

    /// <summary>Ends inside the last message, so that a model goes on with it. Not together with <see cref="AddGenerationPrompt"/>.</summary>
    public bool ContinueFinalMessage { get; init; }

    /// <summary>The field that <see cref="ContinueFinalMessage"/> goes on with.</summary>
    public string ContinueField { get; init; } = "content";

    /// <summary>More variables, for example enable_thinking: null, bools, numbers, texts, JSON, and lists and dictionaries of them. They replace special tokens of the same name.</summary>
    public IReadOnlyDictionary<string, object?> Variables { get; init; } = new Dictionary<string, object?>();

    /// <summary>The tokenizer's special tokens by name: bos_token, eos_token and so on.</summary>
    public IReadOnlyDictionary<string, string> SpecialTokens { get; init; } = new Dictionary<string, string>();

    /// <summary>What strftime_now reads; the local time if not given.</summary>
    public Func<DateTimeOffset> Clock { get; init; } = () => DateTimeOffset.Now;

    /// <summary>Input with the dialogue as a JSON tree.</summary>
    /// <param name="messages">An array of messages.</param>
    public static ChatTemplateInput Of(JsonNode messages)
    {
        ArgumentNullException.ThrowIfNull(messages);
        using JsonDocument document = JsonDocument.Parse(messages.ToJsonString());
        return new() { Messages = document.RootElement.Clone() };
    }

    /// <summary>Input with a dialogue of roles and texts.</summary>
    /// <param name="turns">The messages.</param>
    public static ChatTemplateInput Of(params ChatMessage[] turns) => new() { Turns = turns };
}

/// <summary>A rendered template and where the model's own words stand in it.</summary>
/// <param name="Text">The rendered text.</param>
/// <param name="GenerationSpans">Start and end of each generation block, in code points of <paramref name="Text"/>.</param>
public sealed record RenderedChat(string Text, IReadOnlyList<(int Start, int End)> GenerationSpans);
