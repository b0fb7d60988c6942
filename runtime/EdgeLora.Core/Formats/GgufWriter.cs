using System.Text;

namespace EdgeLora.Core;

/// <summary>The writing half of <see cref="GgufFile"/>.</summary>
internal static class GgufWriter
{
    private const int DefaultAlignment = 32;

    public static void Write(string path, IEnumerable<KeyValuePair<string, object>> metadata, IReadOnlyList<TensorOutput> tensors, Action<long>? written, CancellationToken cancellation)
    {
        KeyValuePair<string, object>[] pairs = [.. metadata];
        int alignment = AlignmentOf(pairs);
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
            using TensorCopier copier = new(stream, written, cancellation);
            foreach (TensorOutput tensor in tensors)
            {
                Pad(writer, alignment);
                copier.Write(tensor);
            }
            Pad(writer, alignment);
        });
    }

    /// <summary>
    /// Writes <c>stem-00001-of-0000N.gguf</c> and so on, each but a single larger tensor's at most <paramref name="pieceBytes"/> of tensors; the other metadata lies in the first, which is
    /// written last: without it no piece opens. Gives the paths.
    /// </summary>
    public static IReadOnlyList<string> WriteSplit(string stem, IEnumerable<KeyValuePair<string, object>> metadata, IReadOnlyList<TensorOutput> tensors, long pieceBytes, Action<long>? written, CancellationToken cancellation)
    {
        List<List<TensorOutput>> pieces = [[]];
        long held = 0;
        foreach (TensorOutput tensor in tensors)
        {
            if (held > 0 && held + tensor.ByteLength > pieceBytes)
            {
                pieces.Add([]);
                held = 0;
            }
            pieces[^1].Add(tensor);
            held += tensor.ByteLength;
        }
        string[] paths = [.. Enumerable.Range(1, pieces.Count).Select(i => new GgufPieceName(stem, i, pieces.Count).PathOf(i))];
        long before = 0;
        try
        {
            for (int i = pieces.Count - 1; i >= 0; i--)
            {
                KeyValuePair<string, object>[] split =
                    [new("split.no", (ushort)i), new("split.count", (ushort)pieces.Count), new("split.tensors.count", tensors.Count)];
                long start = before;
                Write(paths[i], i == 0 ? [.. metadata, .. split] : split, pieces[i], done => written?.Invoke(start + done), cancellation);
                before += pieces[i].Sum(t => t.ByteLength);
            }
        }
        catch
        {
            foreach (string path in paths.Skip(1))
                File.Delete(path);
            throw;
        }
        return paths;
    }

    private static int AlignmentOf(KeyValuePair<string, object>[] pairs) =>
        Array.Find(pairs, p => p.Key == "general.alignment").Value is uint given ? checked((int)given) : DefaultAlignment;

    private static void Describe(BinaryWriter writer, IReadOnlyList<TensorOutput> tensors, int alignment)
    {
        HashSet<string> names = [];
        long offset = 0;
        foreach (TensorOutput tensor in tensors)
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
