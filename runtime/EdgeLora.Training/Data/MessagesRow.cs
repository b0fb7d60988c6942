using System.Text.Json;
using System.Text.Json.Nodes;

namespace EdgeLora.Training;

/// <summary>OpenAI's shape: messages of {"role", "content"}, with tool_calls, parts of type text, and "weight": 0 for an answer that does not teach.</summary>
internal static class MessagesRow
{
    private static readonly string[] s_known = ["role", "content", "tool_calls", "weight"];

    public static Dialogue Read(JsonElement row, string column, DataColumns columns)
    {
        List<Turn> turns = [];
        SortedSet<string> more = new(StringComparer.Ordinal);
        if (RowFields.Find(row, columns.System) is { } system && RowFields.Text(system, columns.System) is { Length: > 0 } prompt)
            turns.Add(Turn.Of("system", prompt));
        foreach ((JsonElement message, int i) in RowFields.List(RowFields.Require(row, column), column).Select((message, i) => (message, i)))
        {
            turns.Add(ReadTurn(message, $"{column}[{i}]"));
            more.UnionWith(message.EnumerateObject().Select(p => p.Name).Where(name => !s_known.Contains(name)));
        }
        return new(turns, Dialogue.ReadTools(row, columns.Tools), [column, columns.System, columns.Tools], more);
    }

    /// <summary>Whether a message teaches: its "weight", 1 where it has none.</summary>
    public static bool Trains(JsonElement message, string role, string where)
    {
        if (RowFields.Find(message, "weight") is not { } weight)
            return true;
        if (weight.ValueKind != JsonValueKind.Number || weight.GetDouble() is not (0 or 1))
            throw RowFields.Expected("0 or 1", weight, $"{where}.weight");
        return role != "assistant" || weight.GetDouble() == 1;
    }

    private static Turn ReadTurn(JsonElement message, string where)
    {
        JsonObject kept = Dialogue.Node(RowFields.Object(message, where));
        string role = RowFields.Text(RowFields.Require(message, "role", where), $"{where}.role");
        if (role is not ("system" or "developer" or "user" or "assistant" or "tool"))
            throw new RowFault($"{where}.role: expected system, developer, user, assistant or tool, found \"{role}\"");
        string? text = RowFields.Find(message, "content") is { } content ? Text(content, $"{where}.content") : null;
        JsonElement? calls = RowFields.Find(message, "tool_calls");
        if (calls is not null && role != "assistant")
            throw new RowFault($"{where}.tool_calls: expected in an assistant's message, found in one of role {role}");
        if (text is null && calls is null)
            throw new RowFault($"{where}.content is missing");
        kept.Remove("weight");
        kept["content"] = text;
        if (calls is { } list)
            kept["tool_calls"] = new JsonArray([.. RowFields.List(list, $"{where}.tool_calls").Select((call, i) => Dialogue.Function(call, $"{where}.tool_calls[{i}]"))]);
        return new(role, text, kept, Trains(message, role, where));
    }

    // Parts become one text, a line each, for templates of text models take no parts.
    private static string Text(JsonElement content, string where)
    {
        if (content.ValueKind == JsonValueKind.String)
            return RowFields.Text(content, where);
        List<string> texts = [];
        foreach ((JsonElement part, int i) in RowFields.List(content, where).Select((part, i) => (part, i)))
        {
            string at = $"{where}[{i}]", type = RowFields.Text(RowFields.Require(RowFields.Object(part, at), "type", at), $"{at}.type");
            if (type != "text")
                throw new RowFault($"{at}.type: expected text, found \"{type}\"");
            texts.Add(RowFields.Text(RowFields.Require(part, "text", at), $"{at}.text"));
        }
        return string.Join('\n', texts);
    }
}
