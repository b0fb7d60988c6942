using System.Text;
using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Training;

/// <summary>Reads the rows of a data file by its extension. What is wrong with a row goes to the fault list, and reading goes on with the next one.</summary>
internal static class RowFile
{
    private static readonly JsonDocumentOptions s_options = new() { MaxDepth = SafeJson.MaxDepth, AllowDuplicateProperties = false };

    /// <summary>Whether the file holds plain text and not rows.</summary>
    /// <exception cref="ModelFileException">The extension is none that is read.</exception>
    public static bool IsPlainText(string path) => Path.GetExtension(path).ToLowerInvariant() switch
    {
        ".txt" or ".md" => true,
        ".jsonl" or ".ndjson" or ".json" or ".csv" or ".tsv" => false,
        _ => throw new ModelFileException(path, $"expected .jsonl, .ndjson, .json, .csv, .tsv, .txt or .md, found \"{Path.GetExtension(path)}\""),
    };

    public static IEnumerable<DataRow> Read(string path, FaultList faults) => Path.GetExtension(path).ToLowerInvariant() switch
    {
        ".csv" => CsvRows.Read(path, ',', faults),
        ".tsv" => CsvRows.Read(path, '\t', faults),
        ".json" => ReadJson(path, faults),
        _ => ReadLines(SafeJson.ReadBytes(path, int.MaxValue), faults),
    };

    /// <summary>A text file, without a byte order mark.</summary>
    public static string ReadText(string path)
    {
        ReadOnlyMemory<byte> bytes = SafeJson.ReadBytes(path, int.MaxValue);
        SafeJson.RequireUtf8(path, bytes.Span, "the text");
        return Encoding.UTF8.GetString(bytes.Span);
    }

    // A list of rows, or, as many .json files are, one row on each line.
    private static IEnumerable<DataRow> ReadJson(string path, FaultList faults)
    {
        ReadOnlyMemory<byte> bytes = SafeJson.ReadBytes(path, int.MaxValue);
        ReadOnlySpan<byte> start = bytes.Span.TrimStart(" \t\r\n"u8);
        if (start.StartsWith("["u8))
            return ReadArray(bytes, faults);
        int end = start.IndexOf((byte)'\n');
        if (start.StartsWith("{"u8) && IsObject(end < 0 ? start : start[..end]))
            return ReadLines(bytes, faults);
        throw new ModelFileException(path, "expected a list of rows, or one JSON object on each line");
    }

    private static bool IsObject(ReadOnlySpan<byte> line)
    {
        try
        {
            Utf8JsonReader reader = new(line, SafeJson.ReaderOptions);
            while (reader.Read())
            {
            }
            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static IEnumerable<DataRow> ReadArray(ReadOnlyMemory<byte> bytes, FaultList faults)
    {
        List<(int Start, int Length, int Line)> items;
        try
        {
            items = Items(bytes.Span);
        }
        catch (JsonException e)
        {
            faults.Add($"line {(e.LineNumber ?? 0) + 1}: {SafeJson.Reason(e)}");
            yield break;
        }
        foreach ((int start, int length, int line) in items)
        {
            using JsonDocument? row = Parse(bytes.Slice(start, length), line, faults);
            if (row is not null)
                yield return new(line, row.RootElement);
        }
    }

    private static List<(int Start, int Length, int Line)> Items(ReadOnlySpan<byte> json)
    {
        List<(int, int, int)> items = [];
        Utf8JsonReader reader = new(json, SafeJson.ReaderOptions);
        reader.Read();
        int line = 1, counted = 0;
        while (reader.Read() && reader.CurrentDepth > 0)
        {
            int start = (int)reader.TokenStartIndex;
            line += json[counted..start].Count((byte)'\n');
            counted = start;
            reader.Skip();
            items.Add((start, (int)reader.BytesConsumed - start, line));
        }
        reader.Read();
        return items;
    }

    private static IEnumerable<DataRow> ReadLines(ReadOnlyMemory<byte> bytes, FaultList faults)
    {
        for (int line = 1; bytes.Length > 0; line++)
        {
            int end = bytes.Span.IndexOf((byte)'\n');
            ReadOnlyMemory<byte> text = end < 0 ? bytes : bytes[..end];
            bytes = end < 0 ? default : bytes[(end + 1)..];
            if (text.Span.Trim(" \t\r"u8).IsEmpty)
                continue;
            using JsonDocument? row = Parse(text, line, faults);
            if (row is not null)
                yield return new(line, row.RootElement);
        }
    }

    private static JsonDocument? Parse(ReadOnlyMemory<byte> text, int line, FaultList faults)
    {
        if (!System.Text.Unicode.Utf8.IsValid(text.Span))
        {
            faults.Add($"line {line}: not UTF-8");
            return null;
        }
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(text, s_options);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            faults.Add($"line {line + ((e as JsonException)?.LineNumber ?? 0)}: {SafeJson.Reason(e)}");
            return null;
        }
        if (document.RootElement.ValueKind == JsonValueKind.Object)
            return document;
        faults.Add($"line {line}: expected an object, found {SafeJson.Kind(document.RootElement.ValueKind)}");
        document.Dispose();
        return null;
    }
}
