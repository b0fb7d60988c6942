using System.Text;

namespace EdgeLora.Core;

/// <summary>The writing half of <see cref="GgufFile"/>.</summary>
internal static class GgufWriter
{
    private const int DefaultAlignment = 32;

    public static void Write(string path, IEnumerable<KeyValuePair<string, object>> metadata, IReadOnlyList<Tensor> tensors)
    {
        KeyValuePair<string, object>[] pairs = [.. metadata];
        int alignment = Array.Find(pairs, p => p.Key == "general.alignment").Value is uint given ? checked((int)given) : DefaultAlignment;
        AtomicFile.Write(path, stream =>
        {
            using BinaryWriter writer = new(stream, Encoding.UTF8, leaveOpen: true);
            writer.Write("GGUF"u8);
            writer.Write(3u);
            writer.Write((ulong)tensors.Count);
            writer.Write((ulong)pairs.Length);
            foreach ((string key, object value) in pairs)
            {
                Text(writer, key);
                writer.Write(TypeOf(key, value));
                Value(writer, key, value);
            }
            Describe(writer, tensors, alignment);
            foreach (Tensor tensor in tensors)
            {
                Pad(writer, alignment);
                writer.Write(tensor.Bytes);
            }
            Pad(writer, alignment);
        });
    }

    private static void Describe(BinaryWriter writer, IReadOnlyList<Tensor> tensors, int alignment)
    {
        HashSet<string> names = [];
        long offset = 0;
        foreach (Tensor tensor in tensors)
        {
            if (tensor.Name.Length == 0 || !names.Add(tensor.Name))
                throw new ArgumentException($"tensor '{tensor.Name}' has no name of its own");
            if (tensor.Shape.Rank > 4)
                throw new ArgumentException($"{tensor.Name}: {tensor.Shape} has more than the 4 dimensions of GGUF");
            GgufTensorType type = GgufTensorType.Of(tensor.Type) ?? throw new ArgumentException($"{tensor.Name}: GGUF has no {tensor.Type}");
            Text(writer, tensor.Name);
            writer.Write((uint)tensor.Shape.Rank);
            for (int axis = tensor.Shape.Rank - 1; axis >= 0; axis--)
                writer.Write((ulong)tensor.Shape[axis]);
            writer.Write(type.Id);
            writer.Write((ulong)offset);
            offset += (tensor.ByteLength + alignment - 1) / alignment * alignment;
        }
    }

    private static void Text(BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }

    private static void Pad(BinaryWriter writer, int alignment)
    {
        writer.Flush();
        for (long left = (alignment - writer.BaseStream.Position % alignment) % alignment; left > 0; left--)
            writer.Write((byte)0);
    }

    private static uint TypeOf(string key, object value) => value switch
    {
        byte => 0,
        sbyte => 1,
        ushort => 2,
        short => 3,
        uint => 4,
        int => 5,
        float => 6,
        bool => 7,
        string => 8,
        Array => 9,
        ulong => 10,
        long => 11,
        double => 12,
        _ => throw new ArgumentException($"key '{key}': GGUF has no {value.GetType().Name}"),
    };

    // By the array's own type: an empty array has one too.
    private static uint ElementType(string key, Array array) => array switch
    {
        sbyte[] when array.GetType() == typeof(sbyte[]) => 1,
        byte[] => 0,
        short[] when array.GetType() == typeof(short[]) => 3,
        ushort[] => 2,
        int[] when array.GetType() == typeof(int[]) => 5,
        uint[] => 4,
        float[] => 6,
        bool[] => 7,
        string[] => 8,
        long[] when array.GetType() == typeof(long[]) => 11,
        ulong[] => 10,
        double[] => 12,
        object[] => 9,
        _ => throw new ArgumentException($"key '{key}': GGUF has no {array.GetType().Name}"),
    };

    private static void Value(BinaryWriter writer, string key, object value)
    {
        switch (value)
        {
            case byte v: writer.Write(v); break;
            case sbyte v: writer.Write(v); break;
            case ushort v: writer.Write(v); break;
            case short v: writer.Write(v); break;
            case uint v: writer.Write(v); break;
            case int v: writer.Write(v); break;
            case float v: writer.Write(v); break;
            case bool v: writer.Write(v); break;
            case string v: Text(writer, v); break;
            case ulong v: writer.Write(v); break;
            case long v: writer.Write(v); break;
            case double v: writer.Write(v); break;
            case Array array:
                writer.Write(ElementType(key, array));
                writer.Write((ulong)array.Length);
                foreach (object element in array)
                    Value(writer, key, element is Array == array is object[] and not string[]? element : throw new ArgumentException($"key '{key}': an object[] holds arrays only"));
                break;
            default:
                throw new ArgumentException($"key '{key}': GGUF has no {value.GetType().Name}");
        }
    }
}
