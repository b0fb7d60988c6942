using System.Buffers;
using System.Buffers.Binary;
using System.Net.Sockets;
using MessagePack;

namespace EdgeLora.Tests.Link;

/// <summary>The wire itself: frames by hand.</summary>
internal sealed class RawLink : IDisposable
{
    private readonly Socket _socket;
    private readonly NetworkStream _stream;

    public RawLink(LinkEndpoint endpoint)
    {
        if (endpoint.Transport == LinkTransport.UnixSocket)
        {
            _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            _socket.Connect(new UnixDomainSocketEndPoint(endpoint.Address));
        }
        else
        {
            _socket = new(SocketType.Stream, ProtocolType.Tcp);
            _socket.Connect(System.Net.IPEndPoint.Parse(endpoint.Address));
        }
        _stream = new(_socket, ownsSocket: true) { ReadTimeout = 60_000 };
    }

    /// <summary>One map of texts and whole numbers as MessagePack.</summary>
    public static byte[] Map(params (string Key, object Value)[] fields)
    {
        ArrayBufferWriter<byte> bytes = new();
        MessagePackWriter writer = new(bytes);
        writer.WriteMapHeader(fields.Length);
        foreach ((string key, object value) in fields)
        {
            writer.Write(key);
            if (value is int number)
                writer.Write(number);
            else
                writer.Write((string)value);
        }
        writer.Flush();
        return bytes.WrittenSpan.ToArray();
    }

    public void SendBytes(ReadOnlySpan<byte> bytes) => _stream.Write(bytes);

    public void SendFrame(byte[] body)
    {
        byte[] length = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(length, (uint)body.Length);
        _stream.Write([.. length, .. body]);
    }

    public void Hello() => SendFrame(Map(("v", 1), ("id", 1), ("do", "hello")));

    /// <summary>The texts and numbers of the next message; null where the other side has ended.</summary>
    public Dictionary<string, object?>? Read()
    {
        byte[] length = new byte[4];
        if (_stream.ReadAtLeast(length, 4, throwOnEndOfStream: false) < 4)
            return null;
        byte[] body = new byte[BinaryPrimitives.ReadUInt32LittleEndian(length)];
        _stream.ReadExactly(body);
        MessagePackReader reader = new(body);
        Dictionary<string, object?> fields = [];
        for (int left = reader.ReadMapHeader(); left > 0; left--)
        {
            string key = reader.ReadString()!;
            switch (reader.NextMessagePackType)
            {
                case MessagePackType.String:
                    fields[key] = reader.ReadString();
                    break;
                case MessagePackType.Integer:
                    fields[key] = reader.ReadInt64();
                    break;
                default:
                    reader.Skip();
                    fields[key] = null;
                    break;
            }
        }
        return fields;
    }

    public void Dispose() => _stream.Dispose();
}
