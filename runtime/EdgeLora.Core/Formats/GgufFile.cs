using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace EdgeLora.Core;

// Layout (github.com/ggml-org/ggml/blob/master/docs/gguf.md), version 2 and 3:
//   "GGUF"  u32 version  u64 tensor count  u64 key count
//   key:    string name, u32 value type, value          string: u64 length, UTF-8 bytes
//           types 0 u8, 1 i8, 2 u16, 3 i16, 4 u32, 5 i32, 6 f32, 7 bool, 8 string, 9 array (u32 type, u64 count, values), 10 u64, 11 i64, 12 f64
//   tensor: string name, u32 rank, u64 dimensions (fastest first), u32 ggml type, u64 offset from the start of the data
//   data:   starts at, and every tensor lies at, a multiple of general.alignment (32 when absent)
// In a big-endian file every number, tensor data included, is big-endian; the magic's bytes are the same.
// A split model is <stem>-00001-of-0000N.gguf …: keys split.no, split.count, split.tensors.count; the other metadata is in the first.

/// <summary>An opened GGUF file (or all pieces of a split one): metadata parsed, tensors mapped without a copy. Thread-safe until disposed.</summary>
public sealed class GgufFile : IDisposable
{
    private readonly GgufPiece[] _pieces;
    private readonly Dictionary<string, GgufTensorInfo> _infos = [];
    private readonly Dictionary<string, Tensor> _swapped = [];

    private GgufFile(string path, GgufPiece[] pieces)
    {
        FilePath = path;
        _pieces = pieces;
        TensorInfos = pieces.Length == 1 ? pieces[0].Tensors : [.. pieces.SelectMany(p => p.Tensors)];
        foreach (GgufTensorInfo info in TensorInfos)
            if (!_infos.TryAdd(info.Name, info))
                throw new ModelFileException(path, $"tensor '{info.Name}': is there twice, in pieces {_infos[info.Name].Piece + 1} and {info.Piece + 1}");
    }

    /// <summary>The path that was opened.</summary>
    public string FilePath { get; }

    /// <summary>Format version: 2 or 3.</summary>
    public uint Version => _pieces[0].Version;

    /// <summary>True when the file's numbers are big-endian; tensors are swapped when asked for.</summary>
    public bool BigEndian => _pieces[0].BigEndian;

    /// <summary>Every tensor lies at a multiple of this many bytes.</summary>
    public int Alignment => _pieces[0].Alignment;

    /// <summary>Number of files the model is split into; 1 for an ordinary file.</summary>
    public int Pieces => _pieces.Length;

    /// <summary>
    /// Metadata in file order: string, bool, byte, sbyte, ushort, short, uint, int, ulong, long, float, double,
    /// arrays of these as typed arrays (<c>string[]</c>, <c>uint[]</c> …), arrays of arrays as <c>object[]</c>.
    /// </summary>
    public IReadOnlyDictionary<string, object> Metadata => _pieces[0].Metadata;

    /// <summary>Every tensor of every piece, in file order, whether or not its type can be read.</summary>
    public IReadOnlyList<GgufTensorInfo> TensorInfos { get; }

    /// <summary><c>general.architecture</c>. Throws <see cref="ModelFileException"/> when it is absent or no text.</summary>
    public string Architecture => GetString("general.architecture");

    /// <summary>
    /// Opens a GGUF file; for one piece of a split model, all its siblings. Reads headers only.
    /// Throws <see cref="ModelFileException"/> naming the key or tensor at fault.
    /// </summary>
    public static GgufFile Open(string path)
    {
        List<GgufPiece> pieces = [GgufPiece.Open(path, 0)];
        try
        {
            long count = SplitKey(path, pieces[0], "split.count") ?? 1;
            if (count <= 1)
                return new(path, [.. pieces]);
            GgufPieceName name = GgufPieceName.Parse(path) is { } parsed && parsed.Count == count
                ? parsed
                : throw new ModelFileException(path, $"key 'split.count': a piece of {count} is named <stem>-00001-of-{count:D5}.gguf; this name is not");
            GgufPiece opened = pieces[0];
            pieces.Clear();
            if (name.Number != 1)
                opened.Storage.Dispose();
            for (int i = 0; i < count; i++)
            {
                string piecePath = name.PathOf(i + 1);
                if (!File.Exists(piecePath))
                    throw new ModelFileException(path, $"piece {i + 1} of {count} is missing: expected {piecePath}");
                pieces.Add(i == 0 && name.Number == 1 ? opened : GgufPiece.Open(piecePath, i));
                Expect(piecePath, "split.no", i, SplitKey(piecePath, pieces[i], "split.no"));
                Expect(piecePath, "split.count", count, SplitKey(piecePath, pieces[i], "split.count"));
            }
            if (SplitKey(path, pieces[0], "split.tensors.count") is { } tensors)
                Expect(path, "split.tensors.count", tensors, pieces.Sum(p => p.Tensors.Count));
            return new(path, [.. pieces]);
        }
        catch
        {
            foreach (GgufPiece piece in pieces)
                piece.Storage.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Writes a version 3, little-endian file, whole or not at all. Values are of the types of <see cref="Metadata"/>; tensors keep their stored type.
    /// Throws <see cref="ArgumentException"/> for a value or tensor that the format cannot hold.
    /// </summary>
    public static void Write(string path, IEnumerable<KeyValuePair<string, object>> metadata, IReadOnlyList<Tensor> tensors) =>
        GgufWriter.Write(path, metadata, [.. tensors.Select(TensorOutput.Same)], null, default);

    /// <summary>
    /// As the other, with tensors converted and put in order on their way, in constant memory but for sources that are computed. Throws <see cref="OverflowException"/> for numbers that a type cannot hold,
    /// <see cref="OperationCanceledException"/>; then nothing is left behind.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="metadata">Keys and values, in order.</param>
    /// <param name="tensors">In order.</param>
    /// <param name="written">Told the bytes of tensors written so far.</param>
    /// <param name="cancellation">Ends it.</param>
    public static void Write(string path, IEnumerable<KeyValuePair<string, object>> metadata, IReadOnlyList<TensorOutput> tensors, Action<long>? written = null, CancellationToken cancellation = default) =>
        GgufWriter.Write(path, metadata, tensors, written, cancellation);

    /// <summary>
    /// As <see cref="Write(string, IEnumerable{KeyValuePair{string, object}}, IReadOnlyList{TensorOutput}, Action{long}?, CancellationToken)"/>, split into <c>stem-00001-of-0000N.gguf</c>, … of about
    /// <paramref name="pieceBytes"/>. Gives the paths; the first opens them all.
    /// </summary>
    public static IReadOnlyList<string> WriteSplit(string stem, IEnumerable<KeyValuePair<string, object>> metadata, IReadOnlyList<TensorOutput> tensors, long pieceBytes, Action<long>? written = null, CancellationToken cancellation = default) =>
        GgufWriter.WriteSplit(stem, metadata, tensors, pieceBytes, written, cancellation);

    /// <summary>True when there is a tensor of this name.</summary>
    public bool Contains(string name) => _infos.ContainsKey(name);

    /// <summary>What the file says of tensor <paramref name="name"/>; false when there is none.</summary>
    public bool TryGetInfo(string name, [NotNullWhen(true)] out GgufTensorInfo? info) => _infos.TryGetValue(name, out info);

    /// <summary>
    /// The tensor in its stored form: a view of the mapped file (of a swapped copy for a big-endian file).
    /// Throws <see cref="ModelFileException"/> when it is absent or of a type that is not read (Q2_0).
    /// </summary>
    public Tensor Tensor(string name)
    {
        if (!_infos.TryGetValue(name, out GgufTensorInfo? info))
            throw new ModelFileException(FilePath, $"tensor '{name}' is missing");
        if (Unreadable(info) is { } fault)
            throw new ModelFileException(FilePath, fault);
        GgufPiece piece = _pieces[info.Piece];
        if (!piece.BigEndian)
            return new(name, info.Type.Type!.Value, info.Shape, piece.Storage, info.FileOffset);
        lock (_swapped)
        {
            if (!_swapped.TryGetValue(name, out Tensor? tensor))
                _swapped.Add(name, tensor = Swapped(info, piece.Storage));
            return tensor;
        }
    }

    /// <summary>Part <paramref name="part"/> of the tensor along its first axis, which the result lacks. Throws <see cref="ModelFileException"/> as <see cref="Tensor(string)"/> does.</summary>
    public Tensor Part(string name, int part)
    {
        if (!_infos.TryGetValue(name, out GgufTensorInfo? info))
            throw new ModelFileException(FilePath, $"tensor '{name}' is missing");
        if (Unreadable(info) is { } fault)
            throw new ModelFileException(FilePath, fault);
        Shape shape = new(info.Shape.Dimensions[1..]);
        if (part < 0 || part >= info.Shape[0])
            throw new ModelFileException(FilePath, $"tensor '{name}': has {info.Shape[0]} parts, not {part + 1}");
        GgufPiece piece = _pieces[info.Piece];
        // Never the whole: a stack may be too large for one tensor.
        return piece.BigEndian ? Tensor(name).Slice(name, part, 1).View(name, shape) : new(name, info.Type.Type!.Value, shape, piece.Storage, info.FileOffset + part * info.Type.Type.Value.Bytes(shape.Elements));
    }

    /// <summary>
    /// Tensors and the string metadata. The result shares this file's mapping. Throws <see cref="ModelFileException"/> naming every tensor of a type that is not read.
    /// </summary>
    /// <param name="select">The tensors under the names in which one of the file is listed, none to leave it out; by default all are as they are.</param>
    public TensorFile ToTensorFile(Func<GgufTensorInfo, IEnumerable<Tensor>>? select = null)
    {
        Dictionary<string, Tensor> tensors = [];
        List<string> faults = [];
        foreach (GgufTensorInfo info in TensorInfos)
            try
            {
                foreach (Tensor tensor in select?.Invoke(info) ?? [Tensor(info.Name)])
                    if (!tensors.TryAdd(tensor.Name, tensor))
                        faults.Add($"tensor '{info.Name}': another one is {tensor.Name} too");
            }
            catch (ModelFileException e)
            {
                faults.AddRange(e.Faults);
            }
        if (faults.Count > 0)
            throw new ModelFileException(FilePath, faults);
        Dictionary<string, string> texts = [];
        foreach ((string key, object value) in Metadata)
            if (value is string text)
                texts.Add(key, text);
        return new(FilePath, tensors, texts, [.. _pieces.Select(p => p.Storage)]);
    }

    /// <summary>A text; <paramref name="absent"/> when there is no such key. Throws <see cref="ModelFileException"/> for another type, or when it is absent and no default is given.</summary>
    public string GetString(string key, string? absent = null) => Find(key) switch
    {
        string text => text,
        null => absent ?? throw Missing(key, "a string"),
        object other => throw Mismatch(key, "a string", other),
    };

    /// <summary>An integer of any width; <paramref name="absent"/> when there is no such key. Throws <see cref="ModelFileException"/> for another type, or when it is absent and no default is given.</summary>
    public long GetInt(string key, long? absent = null)
    {
        object? value = Find(key);
        return value is null ? absent ?? throw Missing(key, "an integer") : Integer(value) ?? throw Mismatch(key, "an integer", value);
    }

    /// <summary>A float, double or integer; <paramref name="absent"/> when there is no such key. Throws <see cref="ModelFileException"/> for another type, or when it is absent and no default is given.</summary>
    public double GetFloat(string key, double? absent = null) => Find(key) switch
    {
        float f => f,
        double d => d,
        null => absent ?? throw Missing(key, "a float"),
        object other => Integer(other) ?? throw Mismatch(key, "a float", other),
    };

    /// <summary>A truth value; <paramref name="absent"/> when there is no such key. Throws <see cref="ModelFileException"/> for another type, or when it is absent and no default is given.</summary>
    public bool GetBool(string key, bool? absent = null) => Find(key) switch
    {
        bool b => b,
        null => absent ?? throw Missing(key, "a bool"),
        object other => throw Mismatch(key, "a bool", other),
    };

    /// <summary>An array of texts. Throws <see cref="ModelFileException"/> when it is absent or another type.</summary>
    public string[] GetStrings(string key) => Find(key) switch
    {
        string[] texts => texts,
        null => throw Missing(key, "an array of strings"),
        object other => throw Mismatch(key, "an array of strings", other),
    };

    /// <summary>An array of floats. Throws <see cref="ModelFileException"/> when it is absent or another type.</summary>
    public float[] GetFloats(string key) => Find(key) switch
    {
        float[] numbers => numbers,
        double[] numbers => Array.ConvertAll(numbers, d => (float)d),
        null => throw Missing(key, "an array of floats"),
        object other => throw Mismatch(key, "an array of floats", other),
    };

    /// <summary>An array of integers of any width. Throws <see cref="ModelFileException"/> when it is absent or another type.</summary>
    public long[] GetInts(string key)
    {
        object value = Find(key) ?? throw Missing(key, "an array of integers");
        if (value is not Array numbers || value is string[] or object[])
            throw Mismatch(key, "an array of integers", value);
        long[] result = new long[numbers.Length];
        for (int i = 0; i < result.Length; i++)
            result[i] = Integer(numbers.GetValue(i)!) ?? throw Mismatch(key, "an array of integers", value);
        return result;
    }

    /// <summary>Unmaps the files. Tensors must not be read afterwards.</summary>
    public void Dispose()
    {
        foreach (GgufPiece piece in _pieces)
            piece.Storage.Dispose();
    }

    /// <summary>The specification's word for the type of a metadata value: <c>u32</c>, <c>array of string[3]</c>.</summary>
    internal static string TypeName(object value) => value switch
    {
        string => "string",
        bool => "bool",
        byte => "u8",
        sbyte => "i8",
        ushort => "u16",
        short => "i16",
        uint => "u32",
        int => "i32",
        ulong => "u64",
        long => "i64",
        float => "f32",
        double => "f64",
        Array array => $"an array of {array.Length}",
        _ => value.GetType().Name,
    };

    private object? Find(string key) => Metadata.GetValueOrDefault(key);

    private ModelFileException Missing(string key, string expected) => new(FilePath, $"key '{key}' is missing; expected {expected}");

    private ModelFileException Mismatch(string key, string expected, object found) =>
        new(FilePath, $"key '{key}': expected {expected}, found {TypeName(found)}{(found is Array ? "" : string.Create(CultureInfo.InvariantCulture, $" {found}"))}");

    private static long? Integer(object value) => value switch
    {
        byte v => v,
        sbyte v => v,
        ushort v => v,
        short v => v,
        uint v => v,
        int v => v,
        ulong v and <= long.MaxValue => (long)v,
        long v => v,
        _ => null,
    };

    private static long? SplitKey(string path, GgufPiece piece, string key) =>
        !piece.Metadata.TryGetValue(key, out object? value) ? null
        : Integer(value) ?? throw new ModelFileException(path, $"key '{key}': expected an integer, found {TypeName(value)}");

    private static void Expect(string path, string key, long expected, long? found)
    {
        if (found != expected)
            throw new ModelFileException(path, $"key '{key}': expected {expected}, found {(found is null ? "none" : found)}");
    }

    private string? Unreadable(GgufTensorInfo info) =>
        info.Type.Type is not { } type ? $"tensor '{info.Name}': type {info.TypeName} is not supported; expected integers, F64, {DTypes.Weights}"
        : _pieces[info.Piece].BigEndian && info.Type.BlockSize > 1 && Halves(type) is null ? $"tensor '{info.Name}': type {info.TypeName} is not read from a big-endian file; expected integers, floats, Q8_0, Q4_0, Q4_K, Q6_K or MXFP4"
        : info.ByteLength > int.MaxValue ? $"tensor '{info.Name}': {info.ByteLength} bytes; one tensor may have at most {int.MaxValue}"
        : null;

    // Where a block's f16 numbers lie; its others are single bytes. Null: a type whose order in a big-endian file llama.cpp's converter leaves open.
    private static int[]? Halves(DType type) => type switch
    {
        DType.Q8_0 or DType.Q4_0 => [0],
        DType.Q4_K => [0, 2],
        DType.Q6_K => [208],
        DType.MXFP4 => [],
        _ => null,
    };

    private static Tensor Swapped(GgufTensorInfo info, TensorStorage source)
    {
        ArrayStorage storage = new((int)info.ByteLength);
        Span<byte> bytes = storage.Writable;
        source.Bytes(info.FileOffset, bytes.Length).CopyTo(bytes);
        if (info.Type.BlockSize == 1)
            GgufCursor.SwapBytes(bytes, info.Type.BlockBytes);
        else
            for (int at = 0; at < bytes.Length; at += info.Type.BlockBytes)
                foreach (int half in Halves(info.Type.Type!.Value)!)
                    bytes.Slice(at + half, 2).Reverse();
        return new(info.Name, info.Type.Type!.Value, info.Shape, storage);
    }
}
