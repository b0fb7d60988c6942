using System.Net.Sockets;
using System.Security.Cryptography;

namespace EdgeLora;

/// <summary>A host that listens: other processes see and change it while it ticks. Made by <see cref="EdgeHost.Listen"/>. No client can hold a tick up: requests are done by ticks, and news that a client does not read is dropped, counted and told.</summary>
public sealed class HostLink : IDisposable, IAsyncDisposable
{
    private const int Recent = 64, LeastToken = 16;

    private readonly EdgeHost _host;
    private readonly LinkOptions _options;
    private readonly List<LinkListener> _listeners = [];
    private readonly CancellationTokenSource _end = new();
    private readonly Lock _lock = new();
    private readonly Queue<AdapterEvent> _recent = new(Recent);
    private readonly HashSet<Task> _serving = [];
    private readonly List<Task> _accepting = [];
    private volatile LinkTail[] _tails = [];
    private int _disposed;

    internal HostLink(EdgeHost host, LinkOptions options)
    {
        (_host, _options) = (host, options);
        if (options.Token is { Length: < LeastToken })
            throw new ArgumentException($"token: expected {LeastToken} characters at least, found {options.Token.Length}");
        try
        {
            if (options.Local)
                _listeners.Add(LinkListener.Local(options.LocalPath ?? LinkEndpoints.Free(host.Name)));
            if (options.TcpPort is { } port)
            {
                _listeners.Add(LinkListener.Tcp(port));
                Token = options.Token ?? Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32));
            }
        }
        catch
        {
            foreach (LinkListener listener in _listeners)
                listener.Dispose();
            throw;
        }
        if (_listeners.Count == 0)
            throw new ArgumentException("a link listens locally, over TCP, or both");
        host.AdapterChanged += Tell;
        host.Ticked += Tell;
        foreach (LinkListener listener in _listeners)
            _accepting.Add(AcceptAllAsync(listener));
    }

    /// <summary>Where it listens.</summary>
    public IReadOnlyList<LinkEndpoint> Endpoints => [.. _listeners.Select(l => l.Endpoint)];

    /// <summary>What a TCP client must present; null: there is no TCP.</summary>
    public string? Token { get; }

    /// <summary>Connections now.</summary>
    public int Clients
    {
        get
        {
            lock (_lock)
                return _serving.Count;
        }
    }

    /// <summary>Tells its clients and ends; the host goes on.</summary>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    /// <inheritdoc cref="Dispose"/>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _host.AdapterChanged -= Tell;
        _host.Ticked -= Tell;
        await _end.CancelAsync().ConfigureAwait(false);
        foreach (LinkListener listener in _listeners)
            listener.Dispose();
        await Task.WhenAll(_accepting).ConfigureAwait(false);
        Task[] serving;
        lock (_lock)
            serving = [.. _serving];
        await Task.WhenAll(serving).ConfigureAwait(false);
        _end.Dispose();
    }

    /// <summary>From now on a tail is told; first, where it wants them, the last events before.</summary>
    internal void Add(LinkTail tail, bool recent)
    {
        lock (_lock)
        {
            if (recent)
                foreach (AdapterEvent happened in _recent)
                    tail.Tell(happened);
            _tails = [.. _tails, tail];
        }
    }

    internal void Remove(LinkTail tail)
    {
        lock (_lock)
            _tails = [.. _tails.Where(t => t != tail)];
    }

    // The tick's thread: never waits for a client.
    private void Tell(AdapterEvent happened)
    {
        lock (_lock)
        {
            if (_recent.Count == Recent)
                _recent.Dequeue();
            _recent.Enqueue(happened);
            foreach (LinkTail tail in _tails)
                tail.Tell(happened);
        }
    }

    private void Tell(TickReport tick)
    {
        foreach (LinkTail tail in _tails)
            tail.Tell(tick);
    }

    private async Task AcceptAllAsync(LinkListener listener)
    {
        while (!_end.IsCancellationRequested)
            try
            {
                Stream stream = await listener.AcceptAsync(_end.Token).ConfigureAwait(false);
                Serve(new(this, _host, _options, stream, listener.Endpoint.Transport == LinkTransport.Tcp ? Token : null));
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                // Such as no file handles left: others leave, and the next try may do.
                await Task.Delay(100, CancellationToken.None).ConfigureAwait(false);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
    }

    private void Serve(LinkConnection connection)
    {
        TaskCompletionSource done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        LinkException? refusal = null;
        lock (_lock)
        {
            if (_serving.Count >= _options.MaxClients)
                refusal = new(LinkErrorKind.Busy, $"{_serving.Count} clients are connected: no more are taken");
            _serving.Add(done.Task);
        }
        _ = Task.Run(async () =>
        {
            try
            {
                await connection.RunAsync(refusal, _end.Token).ConfigureAwait(false);
            }
            finally
            {
                connection.Dispose();
                lock (_lock)
                    _serving.Remove(done.Task);
                done.SetResult();
            }
        });
    }
}
