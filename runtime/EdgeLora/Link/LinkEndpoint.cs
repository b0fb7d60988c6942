using System.Globalization;
using System.IO.Pipes;
using System.Net.Sockets;

namespace EdgeLora;

/// <summary>What a link runs over.</summary>
public enum LinkTransport
{
    /// <summary>A Unix domain socket; the address is its path.</summary>
    UnixSocket,
    /// <summary>A named pipe of Windows; the address is its name.</summary>
    NamedPipe,
    /// <summary>TCP; the address is <c>host:port</c>. Needs a token.</summary>
    Tcp,
}

/// <summary>Where a host listens.</summary>
/// <param name="Transport">Over what.</param>
/// <param name="Address">A path, a name, or <c>host:port</c>.</param>
public sealed record LinkEndpoint(LinkTransport Transport, string Address)
{
    private const string PipePrefix = @"\\.\pipe\";
    private const string SocketExtension = ".sock";

    /// <summary>For people: <c>nano-1234</c> for a socket or pipe, the address for TCP.</summary>
    public string Name => Transport == LinkTransport.UnixSocket ? Path.GetFileNameWithoutExtension(Address) : Address;

    /// <summary>
    /// What a person writes: a socket's path (with a slash, or ending in .sock), a pipe's name, <c>host:port</c>, or the name of one of <see cref="LinkEndpoints.All"/>, with or without its process id.
    /// Throws <see cref="LinkException"/> where nothing is meant by it.
    /// </summary>
    public static LinkEndpoint Parse(string text)
    {
        if (text.StartsWith(PipePrefix, StringComparison.OrdinalIgnoreCase))
            return new(LinkTransport.NamedPipe, text[PipePrefix.Length..]);
        if (text.Contains('/') || text.EndsWith(SocketExtension, StringComparison.Ordinal))
            return new(LinkTransport.UnixSocket, Path.GetFullPath(text));
        int colon = text.LastIndexOf(':');
        if (colon > 0 && ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out ushort port) && port > 0)
            return new(LinkTransport.Tcp, text);
        LinkEndpoint[] meant = [.. LinkEndpoints.All().Where(e => e.Name == text || e.Name.StartsWith(text + "-", StringComparison.Ordinal))];
        return meant.Length == 1 ? meant[0] : throw new LinkException(meant.Length == 0 ? LinkErrorKind.Gone : LinkErrorKind.Usage, meant.Length == 0
            ? $"'{text}': no host of this name listens here; expected a socket's path, host:port, or {LinkEndpoints.Listed()}"
            : $"'{text}': is the name of {meant.Length} hosts: {string.Join(", ", meant.Select(e => e.Name))}");
    }

    /// <inheritdoc/>
    public override string ToString() => Transport == LinkTransport.NamedPipe ? PipePrefix + Address : Address;

    /// <summary>Connects. Throws <see cref="LinkException"/> where nobody listens.</summary>
    internal async Task<Stream> ConnectAsync(TimeSpan time, CancellationToken cancellation)
    {
        using CancellationTokenSource end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        end.CancelAfter(time);
        try
        {
            if (Transport == LinkTransport.NamedPipe)
            {
                NamedPipeClientStream pipe = new(".", Address, PipeDirection.InOut, PipeOptions.Asynchronous | PipeOptions.CurrentUserOnly);
                await Opened(pipe, pipe.ConnectAsync(end.Token)).ConfigureAwait(false);
                return pipe;
            }
            Socket socket = Transport == LinkTransport.UnixSocket ? new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) : new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            int colon = Address.LastIndexOf(':');
            await Opened(socket, (Transport == LinkTransport.UnixSocket
                ? socket.ConnectAsync(new UnixDomainSocketEndPoint(Address), end.Token)
                : socket.ConnectAsync(Address[..colon].Trim('[', ']'), int.Parse(Address.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture), end.Token)).AsTask()).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException or ArgumentException || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            throw new LinkException(LinkErrorKind.Gone, $"{this}: no host listens there ({e.Message})", inner: e);
        }
    }

    private static async Task Opened(IDisposable what, Task connecting)
    {
        try
        {
            await connecting.ConfigureAwait(false);
        }
        catch
        {
            what.Dispose();
            throw;
        }
    }
}
