using System.Text.Json;
using System.Text.Json.Nodes;

namespace EdgeLora.Training;

/// <summary>ShareGPT's shape: conversations of {"from", "value"}; a function_call is an assistant's turn, an observation is what the function gave back.</summary>
internal static class ShareGptRow
{
    public static Dialogue Read(JsonElement row, string column, DataColumns columns)
    {
        List<Turn> turns = [];
        SortedSet<string> more = new(StringComparer.Ordinal);
        if (RowFields.Find(row, columns.System) is { } system && RowFields.Text(system, columns.System) is { Length: > 0 } prompt)
            turns.Add(Turn.Of("system", prompt));
        foreach ((JsonElement turn, int i) in RowFields.List(RowFields.Require(row, column), column).Select((turn, i) => (turn, i)))
        {
            string where = $"{column}[{i}]";
            RowFields.Object(turn, where);
            string from = RowFields.Text(RowFields.Require(turn, "from", where), $"{where}.from");
            JsonElement value = RowFields.Require(turn, "value", where);
            string text = RowFields.Text(value, $"{where}.value");
            string role = from switch
            {
                "human" or "user" => "user",
                "gpt" or "assistant" or "function_call" => "assistant",
                "system" => "system",
                "observation" or "tool" => "tool",
                _ => throw new RowFault($"{where}.from: expected human, gpt, system, observation or function_call, found \"{from}\""),
            };
            bool trains = MessagesRow.Trains(turn, role, where);
            turns.Add(from == "function_call" ? new Turn(role, null, Call(value, where), trains) : Turn.Of(role, text) with { Trains = trains });
            more.UnionWith(turn.EnumerateObject().Select(p => p.Name).Where(name => name is not ("from" or "value" or "weight")));
        }
        return new(turns, Dialogue.ReadTools(row, columns.Tools), [column, columns.System, columns.Tools], more);
    }

    private static JsonObject Call(JsonElement value, string where)
    {
        JsonElement parsed = Dialogue.ParseText(value, $"{where}.value");
        JsonElement[] calls = parsed.ValueKind == JsonValueKind.Array ? [.. parsed.EnumerateArray()] : [parsed];
        return new() { ["role"] = "assistant", ["tool_calls"] = new JsonArray([.. calls.Select(call => Dialogue.Function(call, $"{where}.value"))]) };
    }
}
