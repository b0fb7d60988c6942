using System.Buffers.Binary;
using System.Text;

namespace EdgeLora.Core;

/// <summary>
/// One table of a FlatBuffers file, read with every offset checked: whatever the bytes are, a read stays inside the file or throws <see cref="ModelFileException"/>.
/// <code>
/// table    i32 distance back to its vtable (negative: the vtable lies behind), then the fields
/// vtable   u16 its bytes, u16 the table's bytes, u16 offset of each field in the table (0, or past its end: the field has its default)
/// string, vector, table in a field: u32 distance forward from the field; strings and vectors begin with u32 count
/// </code>
/// Tables may share a vtable, and nothing need be aligned. Specification: flatbuffers.dev/internals.
/// </summary>
internal readonly ref struct FlatTable
{
    private static readonly UTF8Encoding s_utf8 = new(false, throwOnInvalidBytes: true);

    private readonly ReadOnlySpan<byte> _file;
    private readonly string _path;
    private readonly string _what;
    private readonly int _at;
    private readonly int _bytes;
    private readonly int _vtable;
    private readonly int _vtableBytes;

    private FlatTable(ReadOnlySpan<byte> file, string path, string what, long at)
    {
        _file = file;
        _path = path;
        _what = what;
        _at = Inside(at, 4, "the table");
        _vtable = Inside((long)_at - BinaryPrimitives.ReadInt32LittleEndian(file[_at..]), 4, "its vtable");
        _vtableBytes = BinaryPrimitives.ReadUInt16LittleEndian(file[_vtable..]);
        _bytes = BinaryPrimitives.ReadUInt16LittleEndian(file[(_vtable + 2)..]);
        if (_vtableBytes < 4 || _bytes < 4)
            throw Fault($"its vtable: expected sizes of 4 or more, found {_vtableBytes} and {_bytes}");
        Inside(_vtable, _vtableBytes, "its vtable");
        Inside(_at, _bytes, "the table");
    }

    /// <summary>The root table of a file that carries <paramref name="identifier"/> at byte 4.</summary>
    public static FlatTable Root(ReadOnlySpan<byte> file, string path, string what, ReadOnlySpan<byte> identifier)
    {
        if (file.Length < 8)
            throw new ModelFileException(path, $"identifier: expected \"{Encoding.ASCII.GetString(identifier)}\" at byte 4, but the file ends at byte {file.Length}");
        if (!file[4..].StartsWith(identifier))
            throw new ModelFileException(path, $"identifier: expected \"{Encoding.ASCII.GetString(identifier)}\" at byte 4, found {Convert.ToHexString(file.Slice(4, 4))}");
        return new(file, path, what, BinaryPrimitives.ReadUInt32LittleEndian(file));
    }

    /// <summary>An int field; 0 where it is absent.</summary>
    public int Int(int field, string name) => Field(field, name) is int at && at > 0 ? BinaryPrimitives.ReadInt32LittleEndian(_file[at..]) : 0;

    /// <summary>A string field of at most <paramref name="most"/> bytes; empty where it is absent.</summary>
    public string Text(int field, string name, int most)
    {
        ReadOnlySpan<byte> utf8 = Vector(field, name, 1, out int count);
        if (count > most)
            throw Fault($"{name}: {count} bytes; at most {most} are read");
        try
        {
            return s_utf8.GetString(utf8);
        }
        catch (DecoderFallbackException)
        {
            throw Fault($"{name}: is not UTF-8");
        }
    }

    /// <summary>The bytes of a vector field's elements; none where it is absent.</summary>
    /// <param name="field">Its number in the schema.</param>
    /// <param name="name">Its name there.</param>
    /// <param name="elementBytes">Bytes of one element.</param>
    /// <param name="count">Elements.</param>
    public ReadOnlySpan<byte> Vector(int field, string name, int elementBytes, out int count)
    {
        int start = VectorStart(field, name, elementBytes, out count);
        return _file.Slice(start, count * elementBytes);
    }

    /// <summary>Where the elements of a vector field begin in the file; as <see cref="Vector"/>.</summary>
    public int VectorStart(int field, string name, int elementBytes, out int count)
    {
        count = 0;
        if (Field(field, name) is not (int at and > 0))
            return 0;
        int start = Inside(at + (long)BinaryPrimitives.ReadUInt32LittleEndian(_file[at..]), 4, name);
        uint elements = BinaryPrimitives.ReadUInt32LittleEndian(_file[start..]);
        start += 4;
        if (elements > (uint)((_file.Length - start) / elementBytes))
            throw Fault($"{name}: expected {elements} elements of {elementBytes} bytes at offset {start}, but the file ends at byte {_file.Length}");
        count = (int)elements;
        return start;
    }

    /// <summary>Element <paramref name="index"/> of a vector of tables whose elements begin at <paramref name="start"/>.</summary>
    public FlatTable Element(int start, int index, string what)
    {
        int at = start + 4 * index;
        return new(_file, _path, what, at + (long)BinaryPrimitives.ReadUInt32LittleEndian(_file[at..]));
    }

    // Position of a field's 4 bytes; 0 where it is absent.
    private int Field(int field, string name)
    {
        int slot = 4 + 2 * field;
        int offset = slot + 2 <= _vtableBytes ? BinaryPrimitives.ReadUInt16LittleEndian(_file[(_vtable + slot)..]) : 0;
        if (offset == 0)
            return 0;
        if (offset < 4 || offset + 4 > _bytes)
            throw Fault($"{name}: at byte {offset} of a table of {_bytes}");
        return _at + offset;
    }

    private int Inside(long at, int bytes, string what) => at >= 0 && at <= _file.Length - bytes ? (int)at : throw Fault($"{what}: expected {bytes} bytes at offset {at}, but the file ends at byte {_file.Length}");

    private ModelFileException Fault(string fault) => new(_path, $"{_what}: {fault}");
}
