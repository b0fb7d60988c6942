using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>A row as it stands in a file.</summary>
/// <param name="Line">The line where it begins, from 1.</param>
/// <param name="Value">A JSON object; valid until the next row is asked for.</param>
internal readonly record struct DataRow(int Line, JsonElement Value);

/// <summary>Why a row cannot be used; the reader puts file and line in front.</summary>
internal sealed class RowFault(string fault, Exception? inner = null) : Exception(fault, inner);

/// <summary>Checked access to the fields of a row.</summary>
internal static class RowFields
{
    /// <summary>The field, or null where it is absent or null.</summary>
    public static JsonElement? Find(JsonElement row, string name) =>
        row.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>The field, which must be there; <paramref name="where"/> is the object's place in the row.</summary>
    public static JsonElement Require(JsonElement row, string name, string where = "") => Find(row, name) ?? throw new RowFault($"{(where.Length > 0 ? where + "." : "")}{name} is missing");

    /// <summary>The items of a field that must be a list.</summary>
    public static JsonElement[] List(JsonElement value, string where) =>
        value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : throw Expected("a list", value, where);

    /// <summary>A value that must be a text.</summary>
    public static string Text(JsonElement value, string where)
    {
        if (value.ValueKind != JsonValueKind.String)
            throw Expected("a text", value, where);
        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw new RowFault($"{where}: not a valid Unicode text", e);
        }
    }

    /// <summary>A value that must be an object.</summary>
    public static JsonElement Object(JsonElement value, string where) =>
        value.ValueKind == JsonValueKind.Object ? value : throw Expected("an object", value, where);

    public static RowFault Expected(string expected, JsonElement found, string where) =>
        new($"{where}: expected {expected}, found {(found.ValueKind is JsonValueKind.Object or JsonValueKind.Array ? SafeJson.Kind(found.ValueKind) : SafeJson.Excerpt(found))}");
}
