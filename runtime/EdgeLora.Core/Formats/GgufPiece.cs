using System.Numerics;

namespace EdgeLora.Core;

/// <summary>One file of a (perhaps split) GGUF: parsed header, key-values and tensor descriptions over its mapped bytes.</summary>
internal sealed class GgufPiece
{
    private const int MaxDimensions = 4, MaxKeys = 1 << 17, DefaultAlignment = 32;
    private const string AlignmentKey = "general.alignment";

    private readonly string _path;
    private readonly GgufCursor _cursor;
    private readonly Dictionary<string, object> _metadata = [];
    private readonly List<GgufTensorInfo> _tensors = [];

    private GgufPiece(string path, TensorStorage storage)
    {
        _path = path;
        Storage = storage;
        _cursor = new(path, storage);
    }

    public TensorStorage Storage { get; }

    public uint Version { get; private set; }

    public bool BigEndian => _cursor.BigEndian;

    public int Alignment { get; private set; } = DefaultAlignment;

    public Dictionary<string, object> Metadata => _metadata;

    public IReadOnlyList<GgufTensorInfo> Tensors => _tensors;

    /// <summary>Parses the file at <paramref name="path"/>; <paramref name="index"/> is its place among the pieces.</summary>
    public static GgufPiece Open(string path, int index)
    {
        MappedFile file;
        try
        {
            file = new(path);
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw new ModelFileException(path, "the file cannot be opened: " + e.Message, e);
        }
        try
        {
            GgufPiece piece = new(path, file);
            piece.Parse(index);
            return piece;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private void Parse(int index)
    {
        ReadOnlySpan<byte> magic = Storage.Bytes(0, (int)Math.Min(4, Storage.Length));
        if (!magic.SequenceEqual("GGUF"u8))
            throw _cursor.Fault($"expected the magic bytes 47475546 (GGUF), found {(magic.IsEmpty ? "an empty file" : Convert.ToHexString(magic))}");
        _cursor.Position = 4;
        Version = _cursor.U32();
        // The magic is the same four bytes in a big-endian file: its version, read the wrong way, has no low half.
        if ((Version & 0xFFFF) == 0 && Version != 0)
        {
            _cursor.BigEndian = true;
            _cursor.Position = 4;
            Version = _cursor.U32();
        }
        if (Version is not (2 or 3))
            throw _cursor.Fault($"expected version 2 or 3, found version {Version}");

        ulong tensorCount = _cursor.U64(), keyCount = _cursor.U64();
        // The least key is a letter and a u8, the least tensor a letter and no dimension.
        if (keyCount > (ulong)Math.Min(_cursor.Left / 14, MaxKeys))
            throw _cursor.Fault($"a key count of {keyCount}, but the file ends {_cursor.Left} bytes later (and {MaxKeys} keys are the most)");
        if (tensorCount > (ulong)(_cursor.Left / 25))
            throw _cursor.Fault($"a tensor count of {tensorCount}, but the file ends {_cursor.Left} bytes later");

        string last = ReadMetadata((int)keyCount);
        ReadAlignment();
        ReadTensors((int)tensorCount, last, index);
    }

    private string ReadMetadata(int count)
    {
        string last = "";
        for (int i = 0; i < count; i++)
        {
            _cursor.Where = i == 0 ? "key 0" : $"key {i} (after '{last}')";
            last = _cursor.Name("key");
            _cursor.Where = $"key '{last}'";
            if (!_metadata.TryAdd(last, _cursor.Value(_cursor.U32())))
                throw _cursor.Fault("is there twice");
        }
        return last;
    }

    private void ReadAlignment()
    {
        if (!_metadata.TryGetValue(AlignmentKey, out object? value))
            return;
        _cursor.Where = $"key '{AlignmentKey}'";
        if (value is not uint alignment)
            throw _cursor.Fault($"expected a u32, found {GgufFile.TypeName(value)}");
        if (alignment is < 8 or > 1 << 30 || !BitOperations.IsPow2(alignment))
            throw _cursor.Fault($"expected a power of two from 8 to 2^30, found {alignment}");
        Alignment = (int)alignment;
    }

    private void ReadTensors(int count, string lastKey, int index)
    {
        HashSet<string> names = [];
        List<(GgufTensorInfo Info, ulong Offset)> read = [];
        for (int i = 0; i < count; i++)
        {
            // The last key is named too: with a wrong key count the fault lies there.
            _cursor.Where = i > 0 ? $"tensor {i} (after '{read[^1].Info.Name}')" : lastKey.Length > 0 ? $"tensor 0 (after the last key '{lastKey}')" : "tensor 0";
            string name = _cursor.Name("tensor");
            _cursor.Where = $"tensor '{name}'";
            if (!names.Add(name))
                throw _cursor.Fault("is there twice");
            read.Add((ReadInfo(name, index), _cursor.U64()));
        }

        // Without tensors the file may end before the aligned start of its (empty) data.
        long start = _cursor.Position + (Alignment - _cursor.Position % Alignment) % Alignment;
        foreach ((GgufTensorInfo info, ulong offset) in read)
        {
            _cursor.Where = $"tensor '{info.Name}'";
            if (offset % (ulong)Alignment != 0)
                throw _cursor.Fault($"offset {offset} is no multiple of the alignment {Alignment}");
            if ((UInt128)(ulong)start + offset + (ulong)info.ByteLength > (ulong)Storage.Length)
                throw _cursor.Fault($"{info.Type.Name} {info.Shape} takes {info.ByteLength} bytes from data offset {offset} (data starts at byte {start}), but the file ends at byte {Storage.Length}");
            _tensors.Add(info with { FileOffset = start + (long)offset });
        }
        RefuseOverlaps();
    }

    private GgufTensorInfo ReadInfo(string name, int index)
    {
        uint rank = _cursor.U32();
        if (rank > MaxDimensions)
            throw _cursor.Fault($"expected at most {MaxDimensions} dimensions, found {rank}");
        Span<long> dimensions = stackalloc long[(int)rank];
        for (int axis = (int)rank - 1; axis >= 0; axis--)
        {
            ulong d = _cursor.U64();
            if (d > long.MaxValue)
                throw _cursor.Fault($"dimension {rank - 1 - axis} is {(long)d}");
            dimensions[axis] = (long)d;
        }
        uint id = _cursor.U32();
        if (!GgufTensorType.TryFind(id, out GgufTensorType? type))
            throw _cursor.Fault($"unknown tensor type {id}");
        long columns = rank == 0 ? 1 : dimensions[^1];
        if (columns > int.MaxValue)
            throw _cursor.Fault($"rows of {columns} elements; at most {int.MaxValue} are read");
        if (columns % type.BlockSize != 0)
            throw _cursor.Fault($"rows of {columns} elements are no whole {type.Name} blocks of {type.BlockSize}");
        try
        {
            Shape shape = new(dimensions);
            return new(name, type, shape, checked(shape.Elements / type.BlockSize * type.BlockBytes)) { Piece = index };
        }
        catch (OverflowException e)
        {
            throw new ModelFileException(_path, $"tensor '{name}': the size of dimensions {string.Join(" × ", dimensions.ToArray())} overflows", e);
        }
    }

    private void RefuseOverlaps()
    {
        long end = 0;
        string before = "";
        foreach (GgufTensorInfo info in _tensors.Where(t => t.ByteLength > 0).OrderBy(t => t.FileOffset).ToList())
        {
            _cursor.Where = $"tensor '{info.Name}'";
            if (info.FileOffset < end)
                throw _cursor.Fault($"starts at byte {info.FileOffset}, inside tensor '{before}', which ends at byte {end}");
            (end, before) = (info.FileOffset + info.ByteLength, info.Name);
        }
    }
}
