using System.Buffers;
using System.Text.Json;
using EdgeLora.Core;
using MessagePack;

namespace EdgeLora.Cli.Bench;

// Layout: one MessagePack value, the object that BenchJson writes. Objects are maps with string keys in the order of the JSON, arrays are arrays; whole numbers are integers, all others
// float 64, bit for bit. Specification: msgpack.org.

/// <summary>A report with all its raw samples as MessagePack: a third of the JSON's bytes.</summary>
internal static class BenchArchive
{
    /// <summary>The file extension, with its dot.</summary>
    public const string Extension = ".msgpack";

    private const int DeepestLevel = 32;

    /// <summary>Writes a report.</summary>
    public static void Write(string path, BenchReport report)
    {
        using JsonDocument json = JsonDocument.Parse(BenchJson.ToUtf8(report));
        ArrayBufferWriter<byte> bytes = new();
        MessagePackWriter writer = new(bytes);
        Write(ref writer, json.RootElement);
        writer.Flush();
        AtomicFile.WriteBytes(path, bytes.WrittenMemory);
    }

    /// <summary>Reads a report. Throws <see cref="ModelFileException"/> for a file that is none.</summary>
    public static BenchReport Read(string path)
    {
        ArrayBufferWriter<byte> bytes = new();
        try
        {
            MessagePackReader reader = new(File.ReadAllBytes(path));
            using (Utf8JsonWriter writer = new(bytes))
                Read(ref reader, writer, DeepestLevel);
            if (!reader.End)
                throw new ModelFileException(path, "expected one MessagePack value, found more after it");
        }
        catch (Exception e) when (e is MessagePackSerializationException or EndOfStreamException or InvalidOperationException or ArgumentException or OverflowException)
        {
            throw new ModelFileException(path, $"is no MessagePack archive of 'edgelora bench': {e.Message}");
        }
        using JsonDocument json = JsonDocument.Parse(bytes.WrittenMemory);
        return BenchJson.Read(path, json.RootElement);
    }

    private static void Write(ref MessagePackWriter writer, JsonElement value)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.Object:
                writer.WriteMapHeader(value.GetPropertyCount());
                foreach (JsonProperty property in value.EnumerateObject())
                {
                    writer.Write(property.Name);
                    Write(ref writer, property.Value);
                }
                break;
            case JsonValueKind.Array:
                writer.WriteArrayHeader(value.GetArrayLength());
                foreach (JsonElement element in value.EnumerateArray())
                    Write(ref writer, element);
                break;
            case JsonValueKind.String:
                writer.Write(value.GetString());
                break;
            case JsonValueKind.Number when value.TryGetInt64(out long whole):
                writer.Write(whole);
                break;
            case JsonValueKind.Number:
                writer.Write(value.GetDouble());
                break;
            case JsonValueKind.True or JsonValueKind.False:
                writer.Write(value.GetBoolean());
                break;
            default:
                writer.WriteNil();
                break;
        }
    }

    private static void Read(ref MessagePackReader reader, Utf8JsonWriter writer, int levels)
    {
        if (levels == 0)
            throw new InvalidOperationException($"values nest deeper than {DeepestLevel} levels");
        switch (reader.NextMessagePackType)
        {
            case MessagePackType.Map:
                writer.WriteStartObject();
                for (int left = reader.ReadMapHeader(); left > 0; left--)
                {
                    writer.WritePropertyName(reader.ReadString() ?? throw new InvalidOperationException("a key is nil"));
                    Read(ref reader, writer, levels - 1);
                }
                writer.WriteEndObject();
                break;
            case MessagePackType.Array:
                writer.WriteStartArray();
                for (int left = reader.ReadArrayHeader(); left > 0; left--)
                    Read(ref reader, writer, levels - 1);
                writer.WriteEndArray();
                break;
            case MessagePackType.String:
                writer.WriteStringValue(reader.ReadString());
                break;
            case MessagePackType.Integer:
                writer.WriteNumberValue(reader.ReadInt64());
                break;
            case MessagePackType.Float:
                writer.WriteNumberValue(reader.ReadDouble());
                break;
            case MessagePackType.Boolean:
                writer.WriteBooleanValue(reader.ReadBoolean());
                break;
            case MessagePackType.Nil:
                reader.ReadNil();
                writer.WriteNullValue();
                break;
            default:
                throw new InvalidOperationException($"expected what JSON knows too, found {reader.NextMessagePackType}");
        }
    }
}
