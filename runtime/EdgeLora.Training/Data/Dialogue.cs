using System.Text.Json;
using System.Text.Json.Nodes;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Training;

/// <summary>One message of a dialogue, in the shape that chat templates read.</summary>
/// <param name="Role">system, developer, user, assistant or tool.</param>
/// <param name="Text">What is said; null for a call of functions alone.</param>
/// <param name="Message">The message with everything the template may read.</param>
/// <param name="Trains">Whether an answer teaches.</param>
internal sealed record Turn(string Role, string? Text, JsonObject Message, bool Trains = true)
{
    public static Turn Of(string role, string text) => new(role, text, new JsonObject { ["role"] = role, ["content"] = text });
}

/// <summary>The dialogue of one row.</summary>
/// <param name="Turns">Messages in order.</param>
/// <param name="Tools">Functions that the model may call.</param>
/// <param name="Fields">The row's fields that were read.</param>
/// <param name="TurnFields">Fields of messages that only a template may read.</param>
internal sealed record Dialogue(IReadOnlyList<Turn> Turns, JsonArray? Tools, IReadOnlyCollection<string> Fields, IReadOnlyCollection<string> TurnFields)
{
    // A date in a prompt must be the same in every run, or a run resumed tomorrow reads another text.
    private static readonly DateTimeOffset s_date = new(2024, 7, 26, 0, 0, 0, TimeSpan.Zero);

    public ChatTemplateInput ToInput(IReadOnlyDictionary<string, string> specialTokens) =>
        ChatTemplateInput.Of(new JsonArray([.. Turns.Select(t => t.Message)])) with { Tools = Tools is null ? null : Element(Tools), SpecialTokens = specialTokens, Clock = () => s_date };

    /// <summary>Names of the functions that are described or called: a template must not leave them out.</summary>
    public IEnumerable<string> FunctionNames()
    {
        IEnumerable<JsonNode?> calls = Turns.SelectMany(t => t.Message["tool_calls"] as JsonArray ?? []);
        return (Tools ?? []).Concat(calls).Select(call => (call as JsonObject)?["function"]?["name"]).OfType<JsonValue>().Select(n => n.ToString()).Distinct();
    }

    /// <summary>The functions of a row: a list, or its JSON text; each is put into the shape {"type": "function", "function": …}.</summary>
    public static JsonArray? ReadTools(JsonElement row, string column)
    {
        if (RowFields.Find(row, column) is not { } value)
            return null;
        if (value.ValueKind == JsonValueKind.String)
        {
            if (string.IsNullOrWhiteSpace(RowFields.Text(value, column)))
                return null;
            value = ParseText(value, column);
        }
        JsonElement[] tools = RowFields.List(value, column);
        return tools.Length == 0 ? null : new JsonArray([.. tools.Select((tool, i) => Function(tool, $"{column}[{i}]"))]);
    }

    /// <summary>A function or a call of one, in the shape {"type": "function", "function": {"name": …}}.</summary>
    public static JsonObject Function(JsonElement value, string where)
    {
        JsonObject outer = Node(RowFields.Object(value, where));
        if (!outer.ContainsKey("function"))
            outer = new JsonObject { ["type"] = "function", ["function"] = outer };
        if (outer["function"] is not JsonObject function || function["name"] is not JsonValue name || name.GetValueKind() != JsonValueKind.String)
            throw new RowFault($"{where}: expected a function with a name, found {SafeJson.Excerpt(value)}");
        // Templates write the arguments as JSON themselves: a JSON text would be quoted once more.
        if (function["arguments"] is JsonValue arguments && arguments.GetValueKind() == JsonValueKind.String)
            function["arguments"] = string.IsNullOrWhiteSpace(arguments.ToString()) ? new JsonObject() : JsonNode.Parse(ParseText(Element(arguments), $"{where}.arguments").GetRawText());
        return outer;
    }

    /// <summary>The JSON that stands in a text.</summary>
    public static JsonElement ParseText(JsonElement text, string where)
    {
        string json = RowFields.Text(text, where);
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = SafeJson.MaxDepth, AllowDuplicateProperties = false });
            return document.RootElement.Clone();
        }
        catch (JsonException e)
        {
            throw new RowFault($"{where}: expected JSON, found {SafeJson.Excerpt(text)}: {SafeJson.Reason(e)}", e);
        }
    }

    /// <summary>A copy of an object.</summary>
    public static JsonObject Node(JsonElement value) => (JsonObject)JsonNode.Parse(value.GetRawText())!;

    private static JsonElement Element(JsonNode node)
    {
        using JsonDocument document = JsonDocument.Parse(node.ToJsonString());
        return document.RootElement.Clone();
    }
}
