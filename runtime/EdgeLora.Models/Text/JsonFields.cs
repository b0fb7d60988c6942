using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Checked access to a JSON file; every fault names the file and the field.</summary>
internal sealed class JsonFields(string path)
{
    private static readonly JsonDocumentOptions s_options = new() { MaxDepth = 64 };

    /// <summary>Parses a file whose root must be an object. <paramref name="kind"/> is the name that the file is known by.</summary>
    public static JsonDocument Parse(string path, string kind)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(File.ReadAllBytes(path), s_options);
        }
        catch (JsonException e)
        {
            throw new ModelFileException(path, $"not a {kind}: {e.Message}", e);
        }
        if (document.RootElement.ValueKind == JsonValueKind.Object)
            return document;
        JsonValueKind found = document.RootElement.ValueKind;
        document.Dispose();
        throw new ModelFileException(path, $"not a {kind}: expected an object, found {found}");
    }

    public string Path { get; } = path;

    public ModelFileException Fault(string fault, Exception? inner = null) => new(Path, fault, inner);

    /// <summary>The member, or null where it is absent or null.</summary>
    public static JsonElement? Get(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    public string Text(JsonElement value, string where) => Text(value, where, -1);

    /// <summary>A text of a list, whose place is named only where it is wrong: lists of tokens have hundreds of thousands.</summary>
    public string Text(JsonElement value, string where, int index)
    {
        if (value.ValueKind != JsonValueKind.String)
            throw Fault($"{At()}: expected a string, found {Show(value)}");
        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw Fault($"{At()}: not a valid Unicode text", e);
        }

        string At() => index < 0 ? where : $"{where}[{index}]";
    }

    public string Text(JsonElement element, string name, string where, string? absent = null) =>
        Get(element, name) is { } value ? Text(value, $"{where}.{name}") : absent ?? throw Fault($"{where}.{name} is missing");

    public bool Flag(JsonElement element, string name, string where, bool absent) => Get(element, name) switch
    {
        null => absent,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } value => throw Fault($"{where}.{name}: expected true or false, found {Show(value)}"),
    };

    /// <summary>A number from 0 to int.MaxValue.</summary>
    public int Count(JsonElement value, string where) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number >= 0
            ? number
            : throw Fault($"{where}: expected a whole number from 0 to {int.MaxValue}, found {Show(value)}");

    public int Count(JsonElement element, string name, string where, int? absent = null) =>
        Get(element, name) is { } value ? Count(value, $"{where}.{name}") : absent ?? throw Fault($"{where}.{name} is missing");

    public JsonElement Required(JsonElement element, string name, string where, JsonValueKind kind)
    {
        JsonElement value = Get(element, name) ?? throw Fault($"{where} is missing");
        return value.ValueKind == kind ? value : throw Fault($"{where}: expected {kind}, found {Show(value)}");
    }

    private static string Show(JsonElement value)
    {
        string raw = value.GetRawText();
        return raw.Length > 60 ? raw[..60] + "…" : raw;
    }
}
