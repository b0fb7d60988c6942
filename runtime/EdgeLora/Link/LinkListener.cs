using System.IO.Pipes;
using System.Net;
using System.Net.Sockets;

namespace EdgeLora;

/// <summary>Waits for connections on one endpoint.</summary>
internal sealed class LinkListener : IDisposable
{
    private const int Waiting = 16;
    private readonly Socket? _socket;
    private NamedPipeServerStream? _pipe;

    private LinkListener(LinkEndpoint endpoint, Socket? socket, NamedPipeServerStream? pipe) => (Endpoint, _socket, _pipe) = (endpoint, socket, pipe);

    /// <summary>Where it listens.</summary>
    public LinkEndpoint Endpoint { get; }

    /// <summary>A Unix domain socket, on Windows a named pipe, that only this user may open. Throws <see cref="LinkException"/> where it is taken or cannot be made.</summary>
    public static LinkListener Local(string path)
    {
        try
        {
            if (OperatingSystem.IsWindows())
                return new(new(LinkTransport.NamedPipe, path), null, Pipe(path, PipeOptions.FirstPipeInstance));
            // What a killed host left behind is in the way; a file with content is none of that.
            if (File.Exists(path))
            {
                if (LinkEndpoints.Answers(path))
                    throw new LinkException(LinkErrorKind.Usage, $"{path}: another host listens there");
                if (new FileInfo(path).Length > 0)
                    throw new LinkException(LinkErrorKind.Usage, $"{path}: a file is there that is no socket");
                File.Delete(path);
            }
            Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                socket.Bind(new UnixDomainSocketEndPoint(path));
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
                socket.Listen(Waiting);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
            return new(new(LinkTransport.UnixSocket, path), socket, null);
        }
        catch (Exception e) when (e is (IOException and not LinkException) or SocketException or UnauthorizedAccessException or ArgumentException)
        {
            throw new LinkException(LinkErrorKind.Failed, $"{path}: cannot listen there: {e.Message}", inner: e);
        }
    }

    /// <summary>TCP on the loopback address. Throws <see cref="LinkException"/>.</summary>
    public static LinkListener Tcp(int port)
    {
        Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
            socket.Listen(Waiting);
            return new(new(LinkTransport.Tcp, socket.LocalEndPoint!.ToString()!), socket, null);
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            socket.Dispose();
            throw new LinkException(LinkErrorKind.Failed, $"127.0.0.1:{port}: cannot listen there: {e.Message}", inner: e);
        }
    }

    /// <summary>The next connection.</summary>
    public async Task<Stream> AcceptAsync(CancellationToken cancellation)
    {
        if (_socket is not null)
        {
            Socket accepted = await _socket.AcceptAsync(cancellation).ConfigureAwait(false);
            if (Endpoint.Transport == LinkTransport.Tcp)
                accepted.NoDelay = true;
            return new NetworkStream(accepted, ownsSocket: true);
        }
        NamedPipeServerStream connected = _pipe!;
        await connected.WaitForConnectionAsync(cancellation).ConfigureAwait(false);
        _pipe = Pipe(Endpoint.Address, PipeOptions.None);
        return connected;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _socket?.Dispose();
        _pipe?.Dispose();
        if (Endpoint.Transport == LinkTransport.UnixSocket)
            File.Delete(Endpoint.Address);
    }

    private static NamedPipeServerStream Pipe(string name, PipeOptions first) =>
        new(name, PipeDirection.InOut, NamedPipeServerStream.MaxAllowedServerInstances, PipeTransmissionMode.Byte, PipeOptions.Asynchronous | PipeOptions.CurrentUserOnly | first);
}
