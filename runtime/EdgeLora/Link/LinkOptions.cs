namespace EdgeLora;

/// <summary>How a host listens to other processes.</summary>
public sealed record LinkOptions
{
    /// <summary>Whether to listen on a Unix domain socket, on Windows a named pipe, that only this user may open.</summary>
    public bool Local { get; init; } = true;
    /// <summary>Path of the socket, or name of the pipe; null: one of its own where <see cref="LinkEndpoints.All"/> finds it.</summary>
    public string? LocalPath { get; init; }
    /// <summary>A TCP port on the loopback address; 0: any that is free; null: none. Who connects there must show <see cref="Token"/>.</summary>
    public int? TcpPort { get; init; }
    /// <summary>What a TCP client must present first, 16 characters at least; null: a random one, see <see cref="HostLink.Token"/>.</summary>
    public string? Token { get; init; }
    /// <summary>Bytes of the largest frame that is taken; a larger one ends its connection.</summary>
    public int MaxFrameBytes { get; init; } = 4 << 20;
    /// <summary>Most connections at once.</summary>
    public int MaxClients { get; init; } = 32;
    /// <summary>Messages that wait for a client that does not read; events beyond it are dropped, counted and told.</summary>
    public int QueueLength { get; init; } = 256;
    /// <summary>Bytes of the largest adapter that may be pushed.</summary>
    public long MaxPushBytes { get; init; } = 1L << 30;
    /// <summary>Time that a new connection has to say hello.</summary>
    public TimeSpan HelloTimeout { get; init; } = TimeSpan.FromSeconds(5);
}
