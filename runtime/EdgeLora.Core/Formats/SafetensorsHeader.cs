using System.Globalization;
using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>The JSON header of one .safetensors file while it is read: straight from the mapped bytes, no document in between.</summary>
internal sealed class SafetensorsHeader(FaultList faults)
{
    /// <summary>What the header says of one tensor; offsets count from the first data byte.</summary>
    internal record struct Entry(DType Type, Shape Shape, long Begin, long End, bool Faulty);

    /// <summary>Tensors in header order.</summary>
    public Dictionary<string, Entry> Entries { get; } = [];

    /// <summary><c>__metadata__</c>.</summary>
    public Dictionary<string, string> Metadata { get; } = [];

    public void Parse(ReadOnlySpan<byte> json)
    {
        Utf8JsonReader reader = new(json, SafeJson.ReaderOptions);
        bool metadataSeen = false;
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            if (name == "__metadata__")
            {
                if (metadataSeen)
                    faults.Add("__metadata__: given twice");
                metadataSeen = true;
                ReadMetadata(ref reader);
            }
            else if (!Entries.TryAdd(name, ReadEntry(ref reader, name)))
                faults.Add($"{name}: the name is given twice");
        }
        // Reads past the closing brace: anything but white space throws.
        reader.Read();
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        // MLX writes null where there is none, and the library takes it.
        if (reader.TokenType == JsonTokenType.Null)
            return;
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            faults.Add($"__metadata__: expected an object of strings, found {reader.TokenType}");
            reader.Skip();
            return;
        }
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
            {
                faults.Add($"__metadata__.{key}: expected a string, found {reader.TokenType}");
                reader.Skip();
            }
            else if (!Metadata.TryAdd(key, reader.GetString()!))
                faults.Add($"__metadata__.{key}: given twice");
        }
    }

    private Entry ReadEntry(ref Utf8JsonReader reader, string name)
    {
        int before = faults.Count;
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            faults.Add($"{name}: expected an object with dtype, shape and data_offsets, found {reader.TokenType}");
            reader.Skip();
            return new Entry { Faulty = true };
        }
        Entry entry = default;
        bool type = false, shape = false, offsets = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("dtype"u8))
            {
                Once(name, "dtype", ref type);
                reader.Read();
                entry.Type = ReadType(ref reader, name);
            }
            else if (reader.ValueTextEquals("shape"u8))
            {
                Once(name, "shape", ref shape);
                reader.Read();
                entry.Shape = ReadShape(ref reader, name);
            }
            else if (reader.ValueTextEquals("data_offsets"u8))
            {
                Once(name, "data_offsets", ref offsets);
                reader.Read();
                (entry.Begin, entry.End) = ReadOffsets(ref reader, name);
            }
            else
            {
                reader.Read();
                reader.Skip();
            }
        }
        if (!type)
            faults.Add($"{name}: dtype is missing");
        if (!shape)
            faults.Add($"{name}: shape is missing");
        if (!offsets)
            faults.Add($"{name}: data_offsets are missing");
        return entry with { Faulty = faults.Count > before };
    }

    private void Once(string name, string field, ref bool seen)
    {
        if (seen)
            faults.Add($"{name}: {field} is given twice");
        seen = true;
    }

    private DType ReadType(ref Utf8JsonReader reader, string name)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            faults.Add($"{name}: dtype: expected a string, found {reader.TokenType}");
            reader.Skip();
            return default;
        }
        string code = reader.GetString()!;
        if (!Safetensors.TryType(code, out DType type))
            faults.Add($"{name}: dtype {code} is unknown");
        return type;
    }

    private Shape ReadShape(ref Utf8JsonReader reader, string name)
    {
        if (!TryNumbers(ref reader, name, "shape", out List<long> dimensions))
            return default;
        try
        {
            return new Shape(dimensions.ToArray());
        }
        catch (OverflowException)
        {
            faults.Add($"{name}: shape [{string.Join(", ", dimensions)}] has more elements than 64 bits count");
            return default;
        }
    }

    private (long Begin, long End) ReadOffsets(ref Utf8JsonReader reader, string name)
    {
        if (!TryNumbers(ref reader, name, "data_offsets", out List<long> numbers))
            return default;
        if (numbers.Count != 2)
            faults.Add($"{name}: data_offsets: expected two numbers, found {numbers.Count}");
        else if (numbers[1] < numbers[0])
            faults.Add($"{name}: data_offsets end at {numbers[1]} before they begin at {numbers[0]}");
        else
            return (numbers[0], numbers[1]);
        return default;
    }

    private bool TryNumbers(ref Utf8JsonReader reader, string name, string field, out List<long> numbers)
    {
        numbers = new List<long>(2);
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            faults.Add($"{name}: {field}: expected a list of numbers, found {reader.TokenType}");
            reader.Skip();
            return false;
        }
        bool whole = true;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out long value) && value >= 0)
            {
                numbers.Add(value);
                continue;
            }
            if (whole)
                faults.Add($"{name}: {field}: expected whole numbers from 0 to {long.MaxValue.ToString(CultureInfo.InvariantCulture)}, found {Found(ref reader)}");
            whole = false;
            reader.Skip();
        }
        return whole;
    }

    private static string Found(ref Utf8JsonReader reader) => reader.TokenType == JsonTokenType.Number
        ? System.Text.Encoding.UTF8.GetString(reader.ValueSpan[..Math.Min(reader.ValueSpan.Length, 40)])
        : reader.TokenType.ToString();
}
