using System.Buffers.Binary;
using System.Net.Sockets;

namespace EdgeLora;

/// <summary>Frames over a pipe or socket: the length of the message, uint32 little-endian, then the message. One reader and one writer at a time.</summary>
internal sealed class LinkStream(Stream stream) : IDisposable
{
    private readonly byte[] _length = new byte[sizeof(uint)];

    /// <summary>The next message; null where the other side ended. Throws <see cref="LinkException"/> for a frame that is none or larger than <paramref name="mostBytes"/>, or where the other side is gone.</summary>
    public async Task<LinkMessage?> ReadAsync(int mostBytes, CancellationToken cancellation)
    {
        try
        {
            int got = await stream.ReadAtLeastAsync(_length, _length.Length, throwOnEndOfStream: false, cancellation).ConfigureAwait(false);
            if (got == 0)
                return null;
            if (got < _length.Length)
                throw new EndOfStreamException("the connection ended inside a frame");
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(_length);
            if (length == 0 || length > mostBytes)
                throw new LinkException(LinkErrorKind.Frame, $"a frame of {length} bytes: expected 1..{mostBytes}");
            byte[] body = new byte[length];
            await stream.ReadExactlyAsync(body, cancellation).ConfigureAwait(false);
            LinkMessage message = LinkMessage.Decode(body);
            if (message["v"] is not long)
                throw new LinkException(LinkErrorKind.Frame, "v: is missing");
            if (message.Number("v") is not LinkMessage.Version and long version)
                throw new LinkException(LinkErrorKind.Version, $"version: expected {LinkMessage.Version}, found {version}");
            return message;
        }
        catch (Exception e) when (e is (IOException and not LinkException) or SocketException or ObjectDisposedException)
        {
            throw new LinkException(LinkErrorKind.Gone, $"the connection ended: {e.Message}", inner: e);
        }
    }

    /// <summary>Sends a message. Throws <see cref="LinkException"/> where the other side is gone.</summary>
    public async Task WriteAsync(LinkMessage message, CancellationToken cancellation)
    {
        message["v"] = LinkMessage.Version;
        byte[] body = message.Encode();
        byte[] frame = new byte[sizeof(uint) + body.Length];
        BinaryPrimitives.WriteInt32LittleEndian(frame, body.Length);
        body.CopyTo(frame, sizeof(uint));
        try
        {
            await stream.WriteAsync(frame, cancellation).ConfigureAwait(false);
            await stream.FlushAsync(cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            throw new LinkException(LinkErrorKind.Gone, $"the connection ended: {e.Message}", inner: e);
        }
    }

    /// <summary>Reads and forgets what still comes until the other side ends: a socket closed over unread bytes may lose what was sent last.</summary>
    public async Task DrainAsync(TimeSpan time)
    {
        using CancellationTokenSource end = new(time);
        byte[] rest = new byte[64 << 10];
        try
        {
            if (stream is NetworkStream socket)
                socket.Socket.Shutdown(SocketShutdown.Send);
            while (await stream.ReadAsync(rest, end.Token).ConfigureAwait(false) > 0)
            {
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // It is closed either way.
        }
    }

    public void Dispose() => stream.Dispose();
}
