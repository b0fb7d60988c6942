using System.Text;

namespace EdgeLora.Tests.Text;

/// <summary>The metadata of a GGUF file, for these tests alone: values boxed as they come, arrays typed.</summary>
internal static class GgufMetadata
{
    public static Dictionary<string, object> Read(string path)
    {
        using BinaryReader reader = new(File.OpenRead(path));
        reader.ReadUInt32();
        reader.ReadUInt32();
        reader.ReadUInt64();
        ulong count = reader.ReadUInt64();
        Dictionary<string, object> metadata = [];
        for (ulong i = 0; i < count; i++)
        {
            string key = Text(reader);
            metadata[key] = Value(reader, reader.ReadUInt32());
        }
        return metadata;
    }

    private static string Text(BinaryReader reader) => Encoding.UTF8.GetString(reader.ReadBytes(checked((int)reader.ReadUInt64())));

    private static object Value(BinaryReader reader, uint type) => type switch
    {
        0 => reader.ReadByte(),
        1 => reader.ReadSByte(),
        2 => reader.ReadUInt16(),
        3 => reader.ReadInt16(),
        4 => reader.ReadUInt32(),
        5 => reader.ReadInt32(),
        6 => reader.ReadSingle(),
        7 => reader.ReadByte() != 0,
        8 => Text(reader),
        9 => Items(reader),
        10 => reader.ReadUInt64(),
        11 => reader.ReadInt64(),
        12 => reader.ReadDouble(),
        _ => throw new InvalidDataException($"type {type}"),
    };

    private static object Items(BinaryReader reader)
    {
        uint type = reader.ReadUInt32();
        object[] items = new object[checked((int)reader.ReadUInt64())];
        for (int i = 0; i < items.Length; i++)
            items[i] = Value(reader, type);
        return type switch
        {
            5 => Array.ConvertAll(items, x => (int)x),
            6 => Array.ConvertAll(items, x => (float)x),
            8 => Array.ConvertAll(items, x => (string)x),
            _ => items,
        };
    }
}
