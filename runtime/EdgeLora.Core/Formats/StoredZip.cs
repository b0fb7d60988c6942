using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;

namespace EdgeLora.Core;

/// <summary>
/// The directory of a zip whose entries are stored, not compressed: what torch and numpy write, so that they can be mapped.
/// <code>
/// local file header 0x04034b50, name, extra, bytes     once an entry
/// central directory 0x02014b50 ...                     names, sizes, offsets: the truth that is read
/// [zip64 end 0x06064b50, locator 0x07064b50]           where 32 bits do not hold a size
/// end of central directory 0x06054b50                  in the last 65 557 bytes
/// </code>
/// Specification: PKWARE APPNOTE.TXT 6.3. Nothing is inflated and nothing is written to disk. Refused: compression, encryption, several disks, names
/// given twice, absolute or with "..", entries that leave the file.
/// </summary>
internal sealed class StoredZip
{
    private const int EndBytes = 22, EntryBytes = 46, LocalBytes = 30;

    private readonly string _path;
    private readonly MappedFile _file;

    public StoredZip(string path, MappedFile file)
    {
        _path = path;
        _file = file;
        ReadDirectory();
    }

    /// <summary>One stored entry: where its bytes begin in the file, how many, and their CRC-32.</summary>
    internal readonly record struct Entry(string Name, long Offset, long Length, uint Crc);

    /// <summary>Entries by name.</summary>
    public Dictionary<string, Entry> Entries { get; } = [];

    /// <summary>True when the file begins like a zip.</summary>
    public static bool IsZip(MappedFile file) => file.Length >= 4 && file.Bytes(0, 2).SequenceEqual("PK"u8);

    /// <summary>The bytes of an entry below 2 GiB.</summary>
    public ReadOnlySpan<byte> Bytes(Entry entry) => entry.Length <= int.MaxValue
        ? _file.Bytes(entry.Offset, (int)entry.Length)
        : throw Fault($"{entry.Name} has {entry.Length} bytes; one entry may have at most {int.MaxValue}");

    /// <summary>Refuses an entry whose bytes do not fit their CRC-32.</summary>
    public void CheckCrc(Entry entry)
    {
        if (Crc32.HashToUInt32(Bytes(entry)) != entry.Crc)
            throw Fault($"{entry.Name}: the CRC does not fit its bytes");
    }

    private void ReadDirectory()
    {
        long end = FindEnd();
        ReadOnlySpan<byte> tail = _file.Bytes(end, EndBytes);
        if (U16(tail, 4) is not (0 or 0xFFFF) || U16(tail, 6) is not (0 or 0xFFFF))
            throw Fault("is spread over several disks");
        long count = U16(tail, 10), size = U32(tail, 12), start = U32(tail, 16);
        if (count == 0xFFFF || size == uint.MaxValue || start == uint.MaxValue)
            (count, size, start) = ReadEnd64(end);
        if (start < 0 || size < 0 || start > end || size > end - start)
            throw Fault($"the directory at {start} with {size} bytes lies outside the file");
        if (count < 0 || count > size / EntryBytes)
            throw Fault($"{count} entries do not fit a directory of {size} bytes");
        long at = start, stop = start + size;
        for (long i = 0; i < count; i++)
            at = ReadEntry(at, stop, start);
        if (at != stop)
            throw Fault($"the directory ends at {at}, expected {stop}");
    }

    private long FindEnd()
    {
        long lowest = Math.Max(0, _file.Length - EndBytes - ushort.MaxValue);
        for (long at = _file.Length - EndBytes; at >= lowest; at--)
        {
            ReadOnlySpan<byte> bytes = _file.Bytes(at, EndBytes);
            if (U32(bytes, 0) == 0x06054b50 && at + EndBytes + U16(bytes, 20) == _file.Length)
                return at;
        }
        throw Fault("has no end of its directory: the file is cut short");
    }

    private (long Count, long Size, long Start) ReadEnd64(long end)
    {
        if (end < 20 || U32(_file.Bytes(end - 20, 20), 0) != 0x07064b50)
            throw Fault("the zip64 locator is missing");
        long at = I64(_file.Bytes(end - 20, 20), 8);
        if (at < 0 || at > end - 20 - 56 || U32(_file.Bytes(at, 56), 0) != 0x06064b50)
            throw Fault("the zip64 end of the directory is missing");
        ReadOnlySpan<byte> bytes = _file.Bytes(at, 56);
        return (I64(bytes, 32), I64(bytes, 40), I64(bytes, 48));
    }

    private long ReadEntry(long at, long stop, long dataEnd)
    {
        if (stop - at < EntryBytes || U32(_file.Bytes(at, EntryBytes), 0) != 0x02014b50)
            throw Fault($"the directory is damaged at byte {at}");
        ReadOnlySpan<byte> head = _file.Bytes(at, EntryBytes);
        int nameBytes = U16(head, 28), extraBytes = U16(head, 30), total = EntryBytes + nameBytes + extraBytes + U16(head, 32);
        if (stop - at < total)
            throw Fault($"the directory is damaged at byte {at}");
        ReadOnlySpan<byte> nameUtf8 = _file.Bytes(at + EntryBytes, nameBytes);
        if (!System.Text.Unicode.Utf8.IsValid(nameUtf8))
            throw Fault($"the name at byte {at} is not UTF-8");
        string name = Encoding.UTF8.GetString(nameUtf8);
        if (name.Length == 0 || name[0] is '/' or '\\' || name.Contains("..") || name.AsSpan().ContainsAny('\\', ':', '\0'))
            throw Fault($"the entry '{name}' is no path inside an archive");
        if ((U16(head, 8) & 1) != 0)
            throw Fault($"{name} is encrypted");
        if (U16(head, 10) != 0)
            throw Fault($"{name} is compressed; torch.save stores its pickle and its storages uncompressed, and nothing is inflated here");
        long packed = U32(head, 20), length = U32(head, 24), local = U32(head, 42);
        ReadExtra64(_file.Bytes(at + EntryBytes + nameBytes, extraBytes), ref length, ref packed, ref local);
        if (packed != length || length < 0)
            throw Fault($"{name}: {length} bytes stored in {packed}");
        if (local < 0 || local > dataEnd - LocalBytes || U32(_file.Bytes(local, LocalBytes), 0) != 0x04034b50)
            throw Fault($"{name}: its header at byte {local} is missing");
        ReadOnlySpan<byte> localHead = _file.Bytes(local, LocalBytes);
        long data = local + LocalBytes + U16(localHead, 26) + U16(localHead, 28);
        if (data > dataEnd || length > dataEnd - data)
            throw Fault($"{name}: {length} bytes at {data} leave the file");
        if (!_file.Bytes(local + LocalBytes, U16(localHead, 26)).SequenceEqual(nameUtf8))
            throw Fault($"{name} has another name in its own header");
        if (!Entries.TryAdd(name, new Entry(name, data, length, U32(head, 16))))
            throw Fault($"{name} is there twice");
        return at + total;
    }

    // Extra field 1 holds, in this order, those of the three that are all ones in the header.
    private static void ReadExtra64(ReadOnlySpan<byte> extra, ref long length, ref long packed, ref long local)
    {
        while (extra.Length >= 4)
        {
            int size = Math.Min(U16(extra, 2), extra.Length - 4);
            ReadOnlySpan<byte> field = extra.Slice(4, size);
            if (U16(extra, 0) == 1)
            {
                Take(ref field, ref length);
                Take(ref field, ref packed);
                Take(ref field, ref local);
            }
            extra = extra[(4 + size)..];
        }
    }

    private static void Take(ref ReadOnlySpan<byte> field, ref long value)
    {
        if (value != uint.MaxValue || field.Length < 8)
            return;
        value = I64(field, 0);
        field = field[8..];
    }

    private static int U16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    private static uint U32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static long I64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes[at..]);

    private ModelFileException Fault(string fault) => new(_path, "zip: " + fault);
}
