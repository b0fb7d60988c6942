using System.Text.Json;

namespace EdgeLora.Training;

/// <summary>Stanford Alpaca's shape: instruction, input, output; with system and history as in LLaMA-Factory.</summary>
internal static class AlpacaRow
{
    public static Dialogue Read(JsonElement row, DataColumns columns)
    {
        List<Turn> turns = [];
        if (Optional(row, columns.System) is { Length: > 0 } system)
            turns.Add(Turn.Of("system", system));
        if (RowFields.Find(row, columns.History) is { } history && !IsEmptyText(history))
            foreach ((JsonElement pair, int i) in RowFields.List(history, columns.History).Select((pair, i) => (pair, i)))
            {
                string where = $"{columns.History}[{i}]";
                JsonElement[] two = RowFields.List(pair, where);
                if (two.Length != 2)
                    throw new RowFault($"{where}: expected an instruction and its answer, found {two.Length} items");
                turns.Add(Turn.Of("user", RowFields.Text(two[0], where)));
                turns.Add(Turn.Of("assistant", RowFields.Text(two[1], where)));
            }
        string response = RowFields.Text(RowFields.Require(row, columns.Response), columns.Response);
        if (RowFields.Find(row, columns.Prompt) is null && RowFields.Find(row, columns.Query) is null)
            throw new RowFault($"{columns.Prompt} is missing");
        string prompt = string.Join('\n', new[] { Optional(row, columns.Prompt), Optional(row, columns.Query) }.Where(text => !string.IsNullOrEmpty(text)));
        turns.Add(Turn.Of("user", prompt));
        turns.Add(Turn.Of("assistant", response));
        return new(turns, null, [columns.Prompt, columns.Query, columns.Response, columns.System, columns.History], []);
    }

    private static string? Optional(JsonElement row, string name) => RowFields.Find(row, name) is { } value ? RowFields.Text(value, name) : null;

    // What a CSV file has instead of an absent list.
    private static bool IsEmptyText(JsonElement value) => value.ValueKind == JsonValueKind.String && value.ValueEquals("");
}
