using System.Buffers;
using System.Text;
using MessagePack;

namespace EdgeLora.Core;

/// <summary>
/// The MessagePack header of a <c>.elora</c> file: one map with exactly these keys, "version" first, nothing after it.
/// <code>
/// version  1                      base      32 hexadecimal digits or ""      targets  [string]
/// name     string                 rank      0 to 65536                       config   JSON text
/// parent   digits or ""           alpha     finite float                     metadata {string: string}
/// tensors  [[name, type, [dimension], offset from the first data byte, XxHash64 of the bytes]]
/// </code>
/// No value is skipped or read without a schema, so nesting is never deeper than this page; counts are held against the bytes that are left.
/// </summary>
internal static class EdgeAdapterIndex
{
    private const int Version = 1, MaxDimensions = 32;

    private static readonly string[] Keys = ["version", "name", "parent", "base", "rank", "alpha", "targets", "config", "metadata", "tensors"];

    /// <summary>One tensor of the index.</summary>
    internal readonly record struct Entry(string Name, DType Type, Shape Shape, long Offset, ulong Checksum);

    public static (EdgeAdapterHeader Header, List<Entry> Entries) Read(string path, ReadOnlyMemory<byte> body)
    {
        MessagePackReader reader = new(body);
        string field = "header";
        try
        {
            return Read(path, ref reader, ref field);
        }
        // What the reader throws on its own: bytes that end too soon, a number too large for its field, a code that is no value.
        catch (Exception e) when (e is MessagePackSerializationException or EndOfStreamException or OverflowException or InvalidOperationException or DecoderFallbackException)
        {
            throw new ModelFileException(path, $"{field}: {e.Message}", e);
        }
    }

    public static void Write(ArrayBufferWriter<byte> destination, EdgeAdapterHeader header, List<Entry> entries)
    {
        MessagePackWriter writer = new(destination);
        writer.WriteMapHeader(Keys.Length);
        writer.Write("version");
        writer.Write(Version);
        writer.Write("name");
        writer.Write(header.Name);
        writer.Write("parent");
        writer.Write(header.ParentFingerprint);
        writer.Write("base");
        writer.Write(header.BaseFingerprint);
        writer.Write("rank");
        writer.Write(header.Rank);
        writer.Write("alpha");
        writer.Write(header.Alpha);
        writer.Write("targets");
        writer.WriteArrayHeader(header.Targets.Count);
        foreach (string target in header.Targets)
            writer.Write(target);
        writer.Write("config");
        writer.Write(header.ConfigJson);
        writer.Write("metadata");
        writer.WriteMapHeader(header.Metadata.Count);
        foreach ((string key, string value) in header.Metadata.OrderBy(m => m.Key, StringComparer.Ordinal))
        {
            writer.Write(key);
            writer.Write(value);
        }
        writer.Write("tensors");
        writer.WriteArrayHeader(entries.Count);
        foreach (Entry entry in entries)
        {
            writer.WriteArrayHeader(5);
            writer.Write(entry.Name);
            writer.Write(entry.Type.ToString());
            writer.WriteArrayHeader(entry.Shape.Rank);
            foreach (long d in entry.Shape.Dimensions)
                writer.Write(d);
            writer.Write(entry.Offset);
            writer.Write(entry.Checksum);
        }
        writer.Flush();
    }

    private static (EdgeAdapterHeader Header, List<Entry> Entries) Read(string path, ref MessagePackReader reader, ref string field)
    {
        Expect(ref reader, MessagePackType.Map, "a map");
        int count = Count(ref reader, reader.ReadMapHeader(), 2);
        EdgeAdapterHeader header = new() { Name = "" };
        List<Entry> entries = [];
        FaultList faults = new(path);
        HashSet<string> seen = [];
        for (int i = 0; i < count; i++)
        {
            field = "header";
            string key = Text(ref reader);
            field = key.Length <= 60 ? key : key[..60] + "...";
            if (!seen.Add(key))
                throw new ModelFileException(path, $"{field}: the key is given twice");
            switch (key)
            {
                case "version":
                    Expect(ref reader, MessagePackType.Integer, "a whole number");
                    if (reader.ReadInt32() is not Version and int version)
                        throw new ModelFileException(path, $"version: expected {Version}, found {version}");
                    break;
                case "name":
                    header = header with { Name = Text(ref reader) };
                    break;
                case "parent":
                    header = header with { ParentFingerprint = Text(ref reader) };
                    break;
                case "base":
                    header = header with { BaseFingerprint = Text(ref reader) };
                    break;
                case "rank":
                    Expect(ref reader, MessagePackType.Integer, "a whole number");
                    header = header with { Rank = reader.ReadInt32() };
                    break;
                case "alpha":
                    if (reader.NextMessagePackType != MessagePackType.Integer)
                        Expect(ref reader, MessagePackType.Float, "a number");
                    header = header with { Alpha = reader.ReadDouble() };
                    break;
                case "targets":
                    header = header with { Targets = Texts(ref reader) };
                    break;
                case "config":
                    header = header with { ConfigJson = Text(ref reader) };
                    break;
                case "metadata":
                    header = header with { Metadata = Map(path, ref reader) };
                    break;
                case "tensors":
                    entries = Tensors(path, ref reader, ref field);
                    break;
                default:
                    throw new ModelFileException(path, $"{field}: the key is unknown");
            }
        }
        if (!reader.End)
            faults.Add("header: bytes follow the end of the map");
        foreach (string key in Keys)
            if (!seen.Contains(key))
                faults.Add($"{key} is missing");
        header.Check(path, faults);
        faults.ThrowIfAny();
        return (header, entries);
    }

    private static List<Entry> Tensors(string path, ref MessagePackReader reader, ref string field)
    {
        Expect(ref reader, MessagePackType.Array, "a list");
        // Name, type, shape, offset and checksum take at least six bytes.
        int count = Count(ref reader, reader.ReadArrayHeader(), 6);
        List<Entry> entries = new(count);
        for (int i = 0; i < count; i++)
        {
            field = $"tensors[{i}]";
            Expect(ref reader, MessagePackType.Array, "a list");
            if (reader.ReadArrayHeader() is not 5 and int parts)
                throw new ModelFileException(path, $"{field}: expected 5 entries, found {parts}");
            string name = Text(ref reader);
            field = name;
            string type = Text(ref reader);
            // Parsing also takes numbers and other letter cases: only the name itself is right.
            if (!Enum.TryParse(type, out DType dtype) || dtype.ToString() != type)
                throw new ModelFileException(path, $"{name}: type {type} is unknown");
            Shape shape = Dimensions(path, ref reader, name);
            Expect(ref reader, MessagePackType.Integer, "an offset");
            long offset = reader.ReadInt64();
            Expect(ref reader, MessagePackType.Integer, "a checksum");
            entries.Add(new(name, dtype, shape, offset, reader.ReadUInt64()));
        }
        return entries;
    }

    private static Shape Dimensions(string path, ref MessagePackReader reader, string name)
    {
        Expect(ref reader, MessagePackType.Array, "a list");
        int rank = Count(ref reader, reader.ReadArrayHeader(), 1);
        if (rank > MaxDimensions)
            throw new ModelFileException(path, $"{name}: expected at most {MaxDimensions} dimensions, found {rank}");
        Span<long> dimensions = stackalloc long[rank];
        for (int i = 0; i < rank; i++)
        {
            Expect(ref reader, MessagePackType.Integer, "a dimension");
            dimensions[i] = reader.ReadInt64();
            if (dimensions[i] < 0)
                throw new ModelFileException(path, $"{name}: dimension {i} is {dimensions[i]}");
        }
        return new Shape(dimensions);
    }

    private static Dictionary<string, string> Map(string path, ref MessagePackReader reader)
    {
        Expect(ref reader, MessagePackType.Map, "a map");
        int count = Count(ref reader, reader.ReadMapHeader(), 2);
        Dictionary<string, string> result = [];
        for (int i = 0; i < count; i++)
        {
            string key = Text(ref reader);
            if (!result.TryAdd(key, Text(ref reader)))
                throw new ModelFileException(path, $"metadata.{key}: the key is given twice");
        }
        return result;
    }

    private static List<string> Texts(ref MessagePackReader reader)
    {
        Expect(ref reader, MessagePackType.Array, "a list");
        int count = Count(ref reader, reader.ReadArrayHeader(), 1);
        List<string> result = [];
        for (int i = 0; i < count; i++)
            result.Add(Text(ref reader));
        return result;
    }

    // The library's own string reader turns bad UTF-8 into question marks: two names could become one.
    private static string Text(ref MessagePackReader reader)
    {
        Expect(ref reader, MessagePackType.String, "a string");
        ReadOnlySequence<byte> bytes = reader.ReadStringSequence() ?? throw new MessagePackSerializationException("expected a string, found nil");
        return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes);
    }

    private static int Count(ref MessagePackReader reader, int count, int leastBytes)
    {
        long left = reader.Sequence.Slice(reader.Position).Length;
        return count <= left / leastBytes ? count : throw new MessagePackSerializationException($"{count} entries are promised, {left} bytes are left");
    }

    private static void Expect(ref MessagePackReader reader, MessagePackType type, string what)
    {
        if (reader.NextMessagePackType != type)
            throw new MessagePackSerializationException($"expected {what}, found {reader.NextMessagePackType}");
    }
}
