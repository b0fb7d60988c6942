using System.Buffers;
using System.Buffers.Binary;
using System.IO.Hashing;

namespace EdgeLora.Core;

/// <summary>
/// An opened <c>.elora</c> file: one adapter with everything that places it in a tree. Layout, numbers little-endian:
/// <code>
/// 0      8  "EdgeLoRA"
/// 8      4  N: header length, uint32, at most 64 MiB
/// 12     4  zero
/// 16     8  XxHash64 of the header
/// 24     8  bytes of tensor data, uint64
/// 32     N  header: one MessagePack map, see <see cref="EdgeAdapterHeader"/>
///           zeros up to the next multiple of 64
///           tensor data: every tensor begins at a multiple of 64, in the order of the index; zeros between them; the file ends with the last
/// </code>
/// Tensors are row-major views into the mapped file. Specifications: this page; msgpack.org; xxhash.com.
/// </summary>
public sealed class EdgeAdapter : IDisposable
{
    /// <summary>The file extension, with its dot.</summary>
    public const string Extension = ".elora";

    private const int PrefixBytes = 32, Alignment = 64, MaxHeader = 64 << 20;

    private EdgeAdapter(EdgeAdapterHeader header, TensorFile file)
    {
        Header = header;
        File = file;
    }

    private static ReadOnlySpan<byte> Magic => "EdgeLoRA"u8;

    /// <summary>Name, ancestry, rank, alpha and configuration.</summary>
    public EdgeAdapterHeader Header { get; }

    /// <summary>The tensors, mapped.</summary>
    public TensorFile File { get; }

    /// <summary>Reads a header that stands without its file: the MessagePack map alone. Throws <see cref="ModelFileException"/> for <paramref name="path"/>, naming the field.</summary>
    public static EdgeAdapterHeader ReadHeader(string path, ReadOnlyMemory<byte> header) => EdgeAdapterIndex.Read(path, header).Header;

    /// <summary>
    /// Opens <paramref name="path"/>. Throws <see cref="ModelFileException"/> for anything that is not exactly the layout above.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="verify">Reads every tensor once and compares its checksum. Off: bytes are trusted, opening is independent of their number.</param>
    public static EdgeAdapter Read(string path, bool verify = true)
    {
        MappedFile file = Safetensors.Map(path);
        try
        {
            (EdgeAdapterHeader header, List<EdgeAdapterIndex.Entry> index, long dataStart) = ReadHeader(path, file);
            Dictionary<string, Tensor> tensors = Place(path, file, index, dataStart, verify);
            return new EdgeAdapter(header, new TensorFile(path, tensors, header.Metadata, [file]));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Writes <paramref name="tensors"/> in the given order under <paramref name="header"/>; atomic, in constant memory, the same bytes every time.
    /// Throws <see cref="ArgumentException"/> for a header or names that <see cref="Read"/> would refuse.
    /// </summary>
    public static void Write(string path, EdgeAdapterHeader header, IEnumerable<Tensor> tensors, CancellationToken cancellation = default)
    {
        FaultList faults = new(path);
        header.Check(path, faults);
        List<Tensor> ordered = [.. tensors];
        HashSet<string> names = [];
        foreach (Tensor tensor in ordered)
            if (!names.Add(tensor.Name))
                faults.Add($"{tensor.Name}: the name is given twice");
        try
        {
            faults.ThrowIfAny();
        }
        catch (ModelFileException e)
        {
            throw new ArgumentException(e.Message, nameof(header), e);
        }

        List<EdgeAdapterIndex.Entry> index = new(ordered.Count);
        long at = 0;
        foreach (Tensor tensor in ordered)
        {
            index.Add(new(tensor.Name, tensor.Type, tensor.Shape, at = Align(at), XxHash64.HashToUInt64(tensor.Bytes)));
            at += tensor.ByteLength;
        }
        ArrayBufferWriter<byte> body = new();
        EdgeAdapterIndex.Write(body, header, index);
        if (body.WrittenCount > MaxHeader)
            throw new ArgumentException($"{path}: header: {body.WrittenCount} bytes; at most {MaxHeader} are allowed");
        byte[] prefix = new byte[PrefixBytes];
        Magic.CopyTo(prefix);
        BinaryPrimitives.WriteInt32LittleEndian(prefix.AsSpan(8), body.WrittenCount);
        BinaryPrimitives.WriteUInt64LittleEndian(prefix.AsSpan(16), XxHash64.HashToUInt64(body.WrittenSpan));
        BinaryPrimitives.WriteInt64LittleEndian(prefix.AsSpan(24), at);
        AtomicFile.Write(path, stream =>
        {
            stream.Write(prefix);
            stream.Write(body.WrittenSpan);
            Pad(stream, PrefixBytes + body.WrittenCount);
            long written = 0;
            foreach (Tensor tensor in ordered)
            {
                cancellation.ThrowIfCancellationRequested();
                Pad(stream, written);
                written = Align(written) + tensor.ByteLength;
                stream.Write(tensor.Bytes);
            }
        });
    }

    /// <summary>Unmaps the file.</summary>
    public void Dispose() => File.Dispose();

    private static (EdgeAdapterHeader Header, List<EdgeAdapterIndex.Entry> Index, long DataStart) ReadHeader(string path, MappedFile file)
    {
        if (file.Length < PrefixBytes)
            throw new ModelFileException(path, $"header: expected {PrefixBytes} bytes, found a file of {file.Length}");
        ReadOnlySpan<byte> prefix = file.Bytes(0, PrefixBytes);
        if (!prefix.StartsWith(Magic))
            throw new ModelFileException(path, "magic: the file does not begin with \"EdgeLoRA\"");
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(prefix[8..]);
        if (length > MaxHeader || length > file.Length - PrefixBytes)
            throw new ModelFileException(path, $"header: length {length}, but {file.Length - PrefixBytes} bytes follow, and at most {MaxHeader} are read");
        if (BinaryPrimitives.ReadUInt32LittleEndian(prefix[12..]) != 0)
            throw new ModelFileException(path, "header: bytes 12..16 are not zero");
        ReadOnlySpan<byte> body = file.Bytes(PrefixBytes, (int)length);
        if (XxHash64.HashToUInt64(body) != BinaryPrimitives.ReadUInt64LittleEndian(prefix[16..]))
            throw new ModelFileException(path, "header: the checksum does not fit its bytes");
        long headerEnd = PrefixBytes + length;
        ulong dataBytes = BinaryPrimitives.ReadUInt64LittleEndian(prefix[24..]);
        // An adapter without tensors ends with its header's padding, so the start always lies inside the file.
        if (Align(headerEnd) > file.Length || dataBytes != (ulong)(file.Length - Align(headerEnd)))
            throw new ModelFileException(path, $"end: {dataBytes} bytes of tensor data are promised, {Math.Max(0, file.Length - Align(headerEnd))} follow the header");
        RequireZeros(path, file, headerEnd, Align(headerEnd), "the header");
        (EdgeAdapterHeader header, List<EdgeAdapterIndex.Entry> index) = EdgeAdapterIndex.Read(path, body.ToArray());
        return (header, index, Align(headerEnd));
    }

    private static Dictionary<string, Tensor> Place(string path, MappedFile file, List<EdgeAdapterIndex.Entry> index, long dataStart, bool verify)
    {
        FaultList faults = new(path);
        Dictionary<string, Tensor> tensors = new(index.Count);
        long at = dataStart;
        foreach (EdgeAdapterIndex.Entry entry in index)
        {
            long start = Align(at);
            if (entry.Offset != start - dataStart)
                throw new ModelFileException(path, $"{entry.Name}: offset: expected {start - dataStart}, found {entry.Offset}");
            Tensor tensor;
            try
            {
                tensor = new(entry.Name, entry.Type, entry.Shape, file, start);
            }
            catch (Exception e) when (e is ArgumentException or OverflowException)
            {
                throw new ModelFileException(path, $"{entry.Name}: {entry.Type} {entry.Shape}: {e.Message}", e);
            }
            RequireZeros(path, file, at, start, entry.Name);
            at = start + tensor.ByteLength;
            if (!tensors.TryAdd(entry.Name, tensor))
                faults.Add($"{entry.Name}: the name is given twice");
            if (verify && XxHash64.HashToUInt64(tensor.Bytes) != entry.Checksum)
                faults.Add($"{entry.Name}: the checksum does not fit its bytes");
        }
        if (at != file.Length)
            faults.Add($"end: {file.Length - at} bytes after the last tensor belong to none");
        faults.ThrowIfAny();
        return tensors;
    }

    private static void RequireZeros(string path, MappedFile file, long from, long to, string where)
    {
        if (to <= file.Length && file.Bytes(from, (int)(to - from)).ContainsAnyExcept((byte)0))
            throw new ModelFileException(path, $"{where}: the padding at byte {from} is not zero");
    }

    private static long Align(long at) => (at + Alignment - 1) / Alignment * Alignment;

    private static void Pad(Stream stream, long at)
    {
        ReadOnlySpan<byte> zeros = stackalloc byte[Alignment];
        stream.Write(zeros[..(int)(Align(at) - at)]);
    }
}
