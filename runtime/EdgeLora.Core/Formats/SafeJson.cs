using System.Buffers.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace EdgeLora.Core;

/// <summary>
/// The one door for JSON that others wrote: bounded size, depth <see cref="MaxDepth"/>, valid UTF-8, no comments, no trailing commas, no second document,
/// and no key twice unless the caller allows it. Every refusal is a <see cref="ModelFileException"/> with the file, the line and the reason.
/// </summary>
public static class SafeJson
{
    /// <summary>Deepest nesting of objects and arrays.</summary>
    public const int MaxDepth = 64;

    /// <summary>Largest file that <see cref="ReadFile"/> takes unless told otherwise.</summary>
    public const long DefaultMaxBytes = 64L << 20;

    /// <summary>Options for <see cref="Utf8JsonReader"/> over bytes that were checked with <see cref="RequireUtf8"/>.</summary>
    public static JsonReaderOptions ReaderOptions => new() { MaxDepth = MaxDepth, CommentHandling = JsonCommentHandling.Disallow };

    /// <summary>Reads and parses a JSON file of at most <paramref name="maxBytes"/>; a byte order mark is skipped.</summary>
    public static JsonDocument ReadFile(string path, long maxBytes = DefaultMaxBytes, bool allowDuplicates = false) =>
        Parse(path, ReadBytes(path, maxBytes), "JSON", allowDuplicates);

    /// <summary>All bytes of a file of at most <paramref name="maxBytes"/>, without a byte order mark. A missing, unreadable or larger file is refused.</summary>
    public static ReadOnlyMemory<byte> ReadBytes(string path, long maxBytes = DefaultMaxBytes)
    {
        try
        {
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1);
            if (stream.Length > maxBytes)
                throw new ModelFileException(path, $"JSON: the file has {stream.Length} bytes; at most {maxBytes} are read");
            byte[] bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
            return bytes.AsSpan().StartsWith("\uFEFF"u8) ? bytes.AsMemory(3) : bytes;
        }
        catch (Exception e) when (e is (IOException or UnauthorizedAccessException) and not ModelFileException)
        {
            throw new ModelFileException(path, $"cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Parses <paramref name="utf8"/>, which stands in <paramref name="path"/> as its <paramref name="what"/> (a word for the message: "JSON", "header").</summary>
    public static JsonDocument Parse(string path, ReadOnlyMemory<byte> utf8, string what = "JSON", bool allowDuplicates = false)
    {
        RequireUtf8(path, utf8.Span, what);
        try
        {
            JsonDocument document = JsonDocument.Parse(utf8, new JsonDocumentOptions { MaxDepth = MaxDepth });
            if (HasHalfPair(utf8.Span))
                using (document)
                    throw new ModelFileException(path, $"{(HalfPairIn(document.RootElement) is { Length: > 0 } field ? field : what)}: a string holds half of a surrogate pair, which is no character");
            if (!allowDuplicates)
                DuplicateKeys.Refuse(utf8.Span);
            return document;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw Refusal(path, what, e);
        }
    }

    /// <summary>Refuses bytes that are not UTF-8.</summary>
    public static void RequireUtf8(string path, ReadOnlySpan<byte> bytes, string what)
    {
        if (!Utf8.IsValid(bytes))
            throw new ModelFileException(path, $"{what} is not UTF-8");
    }

    // "\ud800" alone is no text: the reader takes it and throws when it is asked for the string.
    private static bool HasHalfPair(ReadOnlySpan<byte> utf8)
    {
        int expected = 0, next;
        for (int at = 0; (next = utf8[at..].IndexOf((byte)'\\')) >= 0;)
        {
            if (expected > 0 && next > 0)
                break;
            at += next + 1;
            if (at >= utf8.Length || utf8[at] != 'u')
            {
                if (expected > 0)
                    break;
                at = Math.Min(at + 1, utf8.Length);
                continue;
            }
            ReadOnlySpan<byte> digits = utf8.Slice(at + 1, Math.Min(4, utf8.Length - at - 1));
            at += 1 + digits.Length;
            int unit = digits.Length == 4 && Utf8Parser.TryParse(digits, out ushort value, out int used, 'X') && used == 4 ? value : 0;
            bool low = unit is >= 0xDC00 and <= 0xDFFF;
            if (low != expected > 0)
            {
                expected = 1;
                break;
            }
            expected = unit is >= 0xD800 and <= 0xDBFF ? 1 : 0;
        }
        return expected > 0;
    }

    // The field whose string, or whose members' name, cannot be read; null where there is none. Named on the way out: most names are never needed.
    private static string? HalfPairIn(JsonElement element)
    {
        try
        {
            if (element.ValueKind == JsonValueKind.String)
                element.GetString();
            if (element.ValueKind == JsonValueKind.Object)
                foreach (JsonProperty property in element.EnumerateObject())
                    if (HalfPairIn(property.Value) is { } found)
                        return found.Length == 0 ? property.Name : $"{property.Name}.{found}";
            if (element.ValueKind == JsonValueKind.Array)
                foreach (JsonElement item in element.EnumerateArray())
                    if (HalfPairIn(item) is { } found)
                        return found;
            return null;
        }
        catch (InvalidOperationException)
        {
            return "";
        }
    }

    /// <summary>The refusal for an exception of the JSON reader: <c>file: what, line 3: reason</c>.</summary>
    public static ModelFileException Refusal(string path, string what, Exception e)
    {
        string line = e is JsonException { LineNumber: long n } ? $", line {n + 1}" : "";
        return new(path, $"{what}{line}: {Reason(e)}", e);
    }

    /// <summary>What the JSON reader says is wrong, without the position that it ends with: callers put theirs in front. Of a reason that quotes half of the file, the ends.</summary>
    public static string Reason(Exception e)
    {
        string message = e.Message;
        int position = message.IndexOf(" LineNumber:", StringComparison.Ordinal), length = position < 0 ? message.Length : position;
        return length <= 240 ? message[..length] : string.Concat(message.AsSpan(0, 120), "…", message.AsSpan(length - 100, 100));
    }

    /// <summary>The JSON word for a kind of value, for messages: "a number", "an object".</summary>
    public static string Kind(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "a list",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => "a number",
        JsonValueKind.True or JsonValueKind.False => "a boolean",
        JsonValueKind.Null => "null",
        _ => "nothing",
    };

    /// <summary>The value as it stands in the file, cut to a length that fits a message.</summary>
    public static string Excerpt(JsonElement element)
    {
        string text = element.GetRawText();
        return text.Length <= 60 ? text : text[..57] + "...";
    }
}
