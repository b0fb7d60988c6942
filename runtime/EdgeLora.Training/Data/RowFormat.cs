using System.Text.Json;

namespace EdgeLora.Training;

/// <summary>What the fields of a row mean.</summary>
internal enum RowFormat
{
    Alpaca,
    ShareGpt,
    Messages,
    Text,
    Tokens,
}

/// <summary>Names and recognises row formats.</summary>
internal static class RowFormats
{
    public const string Names = "auto, alpaca, sharegpt, messages (openai), text or tokens";

    // Rows that compare answers: their answers must not all be learned.
    private static readonly string[] s_preference = ["chosen", "rejected", "kto_tag"];

    /// <summary>Reads a format's name; null and auto give null.</summary>
    public static bool TryParse(string? name, out RowFormat? format)
    {
        format = name?.ToLowerInvariant() switch
        {
            "alpaca" => RowFormat.Alpaca,
            "sharegpt" => RowFormat.ShareGpt,
            "messages" or "openai" => RowFormat.Messages,
            "text" => RowFormat.Text,
            "tokens" => RowFormat.Tokens,
            _ => null,
        };
        return format is not null || name is null || name.Equals("auto", StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>The one format that the row's fields fit.</summary>
    /// <exception cref="RowFault">None fits, or more than one.</exception>
    public static RowFormat Detect(JsonElement row, DataColumns columns)
    {
        bool Has(string name) => row.TryGetProperty(name, out _);
        List<(RowFormat Format, string Name)> fits = [];
        if (Has("input_ids"))
            fits.Add((RowFormat.Tokens, "tokens (input_ids)"));
        foreach (string name in columns.Messages is { } only ? [only] : (string[])["messages", "conversations"])
            if (Has(name))
                fits.Add(TurnsAreShareGpt(row.GetProperty(name), name) ? (RowFormat.ShareGpt, $"sharegpt ({name})") : (RowFormat.Messages, $"messages ({name})"));
        if (Has(columns.Response) && (Has(columns.Prompt) || Has(columns.Query)))
            fits.Add((RowFormat.Alpaca, $"alpaca ({columns.Prompt}, {columns.Response})"));
        if (Has(columns.Text))
            fits.Add((RowFormat.Text, $"text ({columns.Text})"));
        if (fits.Count == 1)
            return fits[0].Format;
        string found = string.Join(", ", row.EnumerateObject().Select(p => p.Name));
        throw new RowFault(fits.Count > 1
            ? $"the fields fit {string.Join(" and ", fits.Select(f => f.Name))}: give the format"
            : $"the format cannot be told from the fields {found}: expected messages, conversations, {columns.Prompt} with {columns.Response}, {columns.Text}, or input_ids with labels; name the columns or give the format");
    }

    /// <summary>Refuses rows for another kind of training.</summary>
    public static void RefusePreference(JsonElement row)
    {
        string? field = s_preference.FirstOrDefault(name => row.TryGetProperty(name, out _))
            ?? (row.TryGetProperty("label", out JsonElement label) && label.ValueKind is JsonValueKind.True or JsonValueKind.False ? "label" : null);
        if (field is not null)
            throw new RowFault($"\"{field}\" marks preference data, which is not supervised training data");
    }

    /// <summary>The field with the turns.</summary>
    public static string TurnsColumn(JsonElement row, RowFormat format, DataColumns columns)
    {
        (string first, string second) = format == RowFormat.ShareGpt ? ("conversations", "messages") : ("messages", "conversations");
        return columns.Messages ?? (row.TryGetProperty(first, out _) || !row.TryGetProperty(second, out _) ? first : second);
    }

    private static bool TurnsAreShareGpt(JsonElement turns, string name)
    {
        if (turns.ValueKind == JsonValueKind.Array && turns.GetArrayLength() > 0 && turns[0].ValueKind == JsonValueKind.Object)
            return turns[0].TryGetProperty("from", out _);
        return name == "conversations";
    }
}
