using System.Buffers;
using System.Buffers.Binary;

namespace EdgeLora.Models;

/// <summary>Writes the fields of one protobuf message.</summary>
internal sealed class ProtobufWriter
{
    private readonly ArrayBufferWriter<byte> _bytes = new();

    /// <summary>What was written so far.</summary>
    public ReadOnlySpan<byte> Written => _bytes.WrittenSpan;

    /// <summary>A varint field.</summary>
    public void Number(int field, ulong value)
    {
        Varint((ulong)field << 3);
        Varint(value);
    }

    /// <summary>A field of four bytes.</summary>
    public void Fixed(int field, uint value)
    {
        Varint((ulong)field << 3 | 5);
        BinaryPrimitives.WriteUInt32LittleEndian(_bytes.GetSpan(4), value);
        _bytes.Advance(4);
    }

    /// <summary>A field of bytes: a text or a message.</summary>
    public void Bytes(int field, ReadOnlySpan<byte> value)
    {
        Varint((ulong)field << 3 | 2);
        Varint((ulong)value.Length);
        _bytes.Write(value);
    }

    private void Varint(ulong value)
    {
        Span<byte> to = _bytes.GetSpan(10);
        int length = 0;
        for (; value > 0x7F; value >>= 7)
            to[length++] = (byte)(value | 0x80);
        to[length++] = (byte)value;
        _bytes.Advance(length);
    }
}
