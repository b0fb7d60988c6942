using System.Buffers;
using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace EdgeLora.Core;

/// <summary>
/// safetensors, one file:
/// <code>
/// 0      8  N: header length, uint64 little-endian, at most 100 000 000
/// 8      N  header: a JSON object in UTF-8 that begins with '{', padded with spaces to a multiple of 8
///             name -> { "dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end] }   offsets from 8 + N
///             "__metadata__" -> { string: string }
/// 8 + N     tensor data, row-major, little-endian: the tensors cover it without a gap, an overlap or a rest
/// </code>
/// Specification: github.com/huggingface/safetensors (README, "Format"). Stricter than it: a name or field given twice is refused.
/// Several files are held together by <c>model.safetensors.index.json</c>: see <see cref="SafetensorsIndex"/>.
/// </summary>
public static class Safetensors
{
    private const long MaxHeader = 100_000_000;

    // The order is the reference writer's: it lays tensors out by descending position here, so that each stays aligned.
    private static readonly (string Code, DType Type)[] Codes =
    [
        ("BOOL", DType.Bool), ("F4", DType.F4), ("F6_E2M3", DType.F6E2M3), ("F6_E3M2", DType.F6E3M2), ("U8", DType.U8), ("I8", DType.I8),
        ("F8_E5M2", DType.F8E5M2), ("F8_E4M3", DType.F8E4M3), ("F8_E8M0", DType.F8E8M0), ("F8_E4M3FNUZ", DType.F8E4M3Fnuz), ("F8_E5M2FNUZ", DType.F8E5M2Fnuz), ("I16", DType.I16), ("U16", DType.U16), ("F16", DType.F16),
        ("BF16", DType.BF16), ("I32", DType.I32), ("U32", DType.U32), ("F32", DType.F32), ("C64", DType.C64), ("F64", DType.F64), ("I64", DType.I64), ("U64", DType.U64),
    ];

    private static readonly string[] FolderNames =
        ["model.safetensors", "model.safetensors.index.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json", "adapter_model.safetensors"];

    /// <summary>
    /// Opens one .safetensors file, an .index.json with its shards, or a folder that holds either. Tensors are views into mapped files: nothing is copied.
    /// Throws <see cref="ModelFileException"/> with every fault found.
    /// </summary>
    public static TensorFile Open(string path)
    {
        if (Directory.Exists(path))
            path = FindIn(path);
        if (path.EndsWith(".index.json", StringComparison.OrdinalIgnoreCase))
            return SafetensorsIndex.Open(path);
        MappedFile file = Map(path);
        try
        {
            (Dictionary<string, Tensor> tensors, Dictionary<string, string> metadata) = Read(path, file);
            return new TensorFile(path, tensors, metadata, [file]);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Writes <paramref name="tensors"/> in the reference library's layout: larger element types first, then by name; header padded to 8 bytes. Atomic, and
    /// streamed: memory stays constant. Throws <see cref="ArgumentException"/> for a name given twice or a type that the format does not have,
    /// <see cref="OperationCanceledException"/> between two tensors, with nothing left behind.
    /// </summary>
    public static void Write(string path, IEnumerable<Tensor> tensors, IReadOnlyDictionary<string, string>? metadata = null, CancellationToken cancellation = default) =>
        Write(path, tensors.Select(TensorOutput.Same), metadata, null, cancellation);

    /// <summary>As the other, with tensors converted and put in order on their way; <paramref name="written"/> is told the bytes of tensors written so far. Throws <see cref="OverflowException"/> for numbers that a type cannot hold.</summary>
    public static void Write(string path, IEnumerable<TensorOutput> tensors, IReadOnlyDictionary<string, string>? metadata, Action<long>? written, CancellationToken cancellation)
    {
        List<TensorOutput> ordered = [.. tensors];
        ordered.Sort((a, b) => Rank(a.Name, a.Type) != Rank(b.Name, b.Type) ? Rank(b.Name, b.Type).CompareTo(Rank(a.Name, a.Type)) : string.CompareOrdinal(a.Name, b.Name));
        HashSet<string> names = ["__metadata__"];
        foreach (TensorOutput tensor in ordered)
            if (!names.Add(tensor.Name))
                throw new ArgumentException($"{tensor.Name}: the name is given twice or is reserved");
        ArrayBufferWriter<byte> header = Header(ordered.Select(t => (t.Name, t.Type, t.Shape)), metadata);
        byte[] length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.WrittenCount);
        AtomicFile.Write(path, stream =>
        {
            stream.Write(length);
            stream.Write(header.WrittenSpan);
            using TensorCopier copier = new(stream, written, cancellation);
            foreach (TensorOutput tensor in ordered)
                copier.Write(tensor);
        });
    }

    /// <summary>Bytes of the file that <see cref="Write(string, IEnumerable{Tensor}, IReadOnlyDictionary{string, string}?, CancellationToken)"/> makes of such tensors, without writing it.</summary>
    public static long FileLength(IReadOnlyCollection<(string Name, DType Type, Shape Shape)> tensors, IReadOnlyDictionary<string, string>? metadata = null) =>
        8 + Header(tensors.OrderByDescending(t => Rank(t.Name, t.Type)).ThenBy(t => t.Name, StringComparer.Ordinal), metadata).WrittenCount + tensors.Sum(t => t.Type.Bytes(t.Shape.Elements));

    internal static MappedFile Map(string path)
    {
        try
        {
            return new MappedFile(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelFileException(path, $"cannot be opened: {e.Message}", e);
        }
    }

    internal static (Dictionary<string, Tensor> Tensors, Dictionary<string, string> Metadata) Read(string path, MappedFile file)
    {
        if (file.Length < 8)
            throw new ModelFileException(path, $"header: expected 8 bytes of length, found a file of {file.Length}");
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(file.Bytes(0, 8));
        if (length > MaxHeader)
            throw new ModelFileException(path, $"header: length {length} is over the format's {MaxHeader}");
        if ((long)length > file.Length - 8)
            throw new ModelFileException(path, $"header: length {length}, but only {file.Length - 8} bytes follow");
        ReadOnlySpan<byte> json = file.Bytes(8, (int)length);
        if (json.Length == 0 || json[0] != '{')
            throw new ModelFileException(path, json.Length == 0 ? "header: is empty" : "header: expected '{' as its first byte");
        SafeJson.RequireUtf8(path, json, "header");
        FaultList faults = new(path);
        SafetensorsHeader header = new(faults);
        try
        {
            header.Parse(json);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw SafeJson.Refusal(path, "header", e);
        }
        Dictionary<string, Tensor> tensors = Place(header, file, 8 + (long)length, faults);
        faults.ThrowIfAny();
        return (tensors, header.Metadata);
    }

    internal static bool TryType(string code, out DType type)
    {
        foreach ((string c, DType t) in Codes)
            if (c == code)
            {
                type = t;
                return true;
            }
        type = default;
        return false;
    }

    private static Dictionary<string, Tensor> Place(SafetensorsHeader header, MappedFile file, long dataStart, FaultList faults)
    {
        long dataLength = file.Length - dataStart;
        Dictionary<string, Tensor> tensors = new(header.Entries.Count);
        foreach ((string name, SafetensorsHeader.Entry e) in header.Entries)
        {
            if (e.Faulty)
                continue;
            if (e.End > dataLength)
            {
                faults.Add($"{name}: ends at byte {e.End} of the data, which has {dataLength}");
                continue;
            }
            try
            {
                Tensor tensor = new(name, e.Type, e.Shape, file, dataStart + e.Begin);
                if (tensor.ByteLength == e.End - e.Begin)
                    tensors.Add(name, tensor);
                else
                    faults.Add($"{name}: {e.Type} {e.Shape} is {tensor.ByteLength} bytes, data_offsets give {e.End - e.Begin}");
            }
            catch (Exception fault) when (fault is ArgumentException or OverflowException)
            {
                faults.Add($"{name}: {e.Type} {e.Shape} in {e.End - e.Begin} bytes: {fault.Message}");
            }
        }
        if (faults.Count == 0)
            CheckCover(header, dataLength, faults);
        return tensors;
    }

    // The reader must not be able to see two meanings of one byte, nor bytes that no tensor owns (polyglot files).
    private static void CheckCover(SafetensorsHeader header, long dataLength, FaultList faults)
    {
        (string Name, long Begin, long End)[] spans = new (string, long, long)[header.Entries.Count];
        int n = 0;
        foreach ((string name, SafetensorsHeader.Entry e) in header.Entries)
            spans[n++] = (name, e.Begin, e.End);
        Array.Sort(spans, (a, b) => a.Begin != b.Begin ? a.Begin.CompareTo(b.Begin) : a.End.CompareTo(b.End));
        long at = 0;
        string before = "the start";
        foreach ((string name, long begin, long end) in spans)
        {
            if (begin < at)
                faults.Add($"{name}: bytes {begin}..{end} overlap {before}, which ends at {at}");
            else if (begin > at)
                faults.Add($"{name}: begins at byte {begin}; {begin - at} bytes after {before} belong to no tensor");
            (at, before) = (Math.Max(at, end), name);
        }
        if (at != dataLength)
            faults.Add($"{dataLength - at} bytes after the end of the last tensor belong to none");
    }

    private static int Rank(string name, DType type)
    {
        int rank = Array.FindIndex(Codes, c => c.Type == type);
        return rank >= 0 ? rank : throw new ArgumentException($"{name}: safetensors has no type for {type}");
    }

    private static ArrayBufferWriter<byte> Header(IEnumerable<(string Name, DType Type, Shape Shape)> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        ArrayBufferWriter<byte> header = new();
        using (Utf8JsonWriter writer = new(header, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true }))
            WriteHeader(writer, tensors, metadata);
        int padding = (8 - header.WrittenCount % 8) % 8;
        header.GetSpan(padding)[..padding].Fill((byte)' ');
        header.Advance(padding);
        return header;
    }

    private static void WriteHeader(Utf8JsonWriter writer, IEnumerable<(string Name, DType Type, Shape Shape)> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        writer.WriteStartObject();
        if (metadata is { Count: > 0 })
        {
            writer.WriteStartObject("__metadata__");
            foreach ((string key, string value) in metadata.OrderBy(m => m.Key, StringComparer.Ordinal))
                writer.WriteString(key, value);
            writer.WriteEndObject();
        }
        long at = 0;
        foreach ((string name, DType type, Shape shape) in tensors)
        {
            writer.WriteStartObject(name);
            writer.WriteString("dtype", Codes[Rank(name, type)].Code);
            writer.WriteStartArray("shape");
            foreach (long d in shape.Dimensions)
                writer.WriteNumberValue(d);
            writer.WriteEndArray();
            writer.WriteStartArray("data_offsets");
            writer.WriteNumberValue(at);
            writer.WriteNumberValue(at += type.Bytes(shape.Elements));
            writer.WriteEndArray();
            writer.WriteEndObject();
        }
        writer.WriteEndObject();
    }

    private static string FindIn(string folder)
    {
        foreach (string name in FolderNames)
            if (Path.Combine(folder, name) is string path && File.Exists(path))
                return path;
        string[] all = Directory.GetFiles(folder, "*.safetensors");
        return all.Length == 1
            ? all[0]
            : throw new ModelFileException(folder, $"expected model.safetensors or model.safetensors.index.json, found {all.Length} other .safetensors files");
    }
}
