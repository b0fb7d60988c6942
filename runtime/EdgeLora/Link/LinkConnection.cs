using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Threading.Channels;

namespace EdgeLora;

/// <summary>A client of a host: its requests one after the other, and beside their answers the news that it asked for.</summary>
internal sealed class LinkConnection : IDisposable
{
    // Who has not said hello yet is given little room.
    private const int HelloBytes = 4096;
    private static readonly TimeSpan s_goodbye = TimeSpan.FromSeconds(1);

    private readonly HostLink _link;
    private readonly LinkOptions _options;
    private readonly LinkStream _stream;
    private readonly LinkRequests _requests;
    private readonly string? _token;
    private readonly Channel<LinkOutgoing> _queue;
    private LinkTail? _tail;

    /// <param name="link">Whose client it is.</param>
    /// <param name="host">What it talks to.</param>
    /// <param name="options">Limits.</param>
    /// <param name="stream">The connection; owned.</param>
    /// <param name="token">What it must present; null: nothing.</param>
    public LinkConnection(HostLink link, EdgeHost host, LinkOptions options, Stream stream, string? token)
    {
        (_link, _options, _stream, _token) = (link, options, new(stream), token);
        _requests = new(host, options);
        _queue = Channel.CreateBounded<LinkOutgoing>(new BoundedChannelOptions(options.QueueLength) { SingleReader = true });
    }

    /// <summary>Serves it until it leaves, sends what is no message, or the link ends; says why where it can.</summary>
    /// <param name="refusal">Why it is not served at all; null: it is.</param>
    /// <param name="cancellation">The link's end.</param>
    public async Task RunAsync(LinkException? refusal, CancellationToken cancellation)
    {
        Task writing = WriteAllAsync();
        LinkException? reason = refusal;
        try
        {
            if (refusal is null && await GreetAsync(cancellation).ConfigureAwait(false))
                while (await _stream.ReadAsync(_options.MaxFrameBytes, cancellation).ConfigureAwait(false) is { } request)
                    await AnswerAsync(request, cancellation).ConfigureAwait(false);
        }
        catch (LinkException e)
        {
            reason = e;
        }
        catch (OperationCanceledException)
        {
            reason = new(LinkErrorKind.Gone, "the host ended the link");
        }
        catch (ChannelClosedException)
        {
            // It left while it was answered.
        }
        if (_tail is not null)
            _link.Remove(_tail);
        if (reason is not null)
        {
            LinkMessage last = LinkRequests.Error(reason);
            last["id"] = 0;
            _queue.Writer.TryWrite(new(last, null, 0));
        }
        _queue.Writer.TryComplete();
        if (await Task.WhenAny(writing, Task.Delay(s_goodbye, CancellationToken.None)).ConfigureAwait(false) == writing && reason is { Kind: not LinkErrorKind.Gone })
            await _stream.DrainAsync(s_goodbye).ConfigureAwait(false);
        // Ends a write to a client that does not read.
        _stream.Dispose();
        await writing.ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _requests.Dispose();
        _stream.Dispose();
    }

    private async Task<bool> GreetAsync(CancellationToken cancellation)
    {
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(_options.HelloTimeout);
        LinkMessage? first;
        try
        {
            first = await _stream.ReadAsync(HelloBytes, patience.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new LinkException(LinkErrorKind.Frame, string.Create(CultureInfo.InvariantCulture, $"no hello within {_options.HelloTimeout.TotalSeconds} s"));
        }
        if (first is null)
            return false;
        if (_token is not null && !IsToken(first["token"] as string))
            throw new LinkException(LinkErrorKind.Token, "the token is missing or another");
        if (first["do"] is not "hello")
            throw new LinkException(LinkErrorKind.Frame, "the first request is hello");
        await AnswerAsync(first, cancellation).ConfigureAwait(false);
        return true;
    }

    // Sums of one length, so that the time tells nothing of the token, nor of its length.
    private bool IsToken(string? given) => CryptographicOperations.FixedTimeEquals(SHA256.HashData(Encoding.UTF8.GetBytes(given ?? "")), SHA256.HashData(Encoding.UTF8.GetBytes(_token!)));

    private async Task AnswerAsync(LinkMessage request, CancellationToken cancellation)
    {
        if (request["id"] is not long and > 0 || request["id"] is not long id)
            throw new LinkException(LinkErrorKind.Frame, "id: expected a whole number from 1");
        IReadOnlyList<LinkMessage> parts;
        try
        {
            if (request.Text("do") is "tail")
            {
                await TailAsync(id, request, cancellation).ConfigureAwait(false);
                return;
            }
            parts = await _requests.RunAsync(request.Text("do"), request, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is not (ChannelClosedException or OperationCanceledException) || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            parts = [LinkRequests.Error(e)];
        }
        for (int i = 0; i < parts.Count; i++)
        {
            if (i + 1 < parts.Count)
                parts[i]["more"] = true;
            await SendAsync(id, parts[i], cancellation).ConfigureAwait(false);
        }
    }

    private async Task TailAsync(long id, LinkMessage request, CancellationToken cancellation)
    {
        if (_tail is not null)
            throw new LinkException(LinkErrorKind.Usage, "this connection has a tail already");
        TimeSpan? every = request.Has("ticksMs") ? TimeSpan.FromMilliseconds(request.Number("ticksMs", 10, 3_600_000)) : null;
        _tail = new(_queue.Writer, id, every);
        await SendAsync(id, new(), cancellation).ConfigureAwait(false);
        _link.Add(_tail, request.Flag("recent"));
    }

    private ValueTask SendAsync(long id, LinkMessage answer, CancellationToken cancellation)
    {
        answer["id"] = id;
        return _queue.Writer.WriteAsync(new(answer, null, 0), cancellation);
    }

    private async Task WriteAllAsync()
    {
        try
        {
            await foreach (LinkOutgoing next in _queue.Reader.ReadAllAsync().ConfigureAwait(false))
            {
                await TellDroppedAsync(next.DroppedBefore).ConfigureAwait(false);
                await _stream.WriteAsync(next.Answer ?? next.News!.ToMessage(_tail!.Id), CancellationToken.None).ConfigureAwait(false);
                // Nothing else may come for long: what was dropped is told now.
                if (_tail is { } tail && _queue.Reader.Count == 0)
                    await TellDroppedAsync(tail.TakeDropped()).ConfigureAwait(false);
            }
        }
        catch (LinkException)
        {
            // Gone. Who waits to put an answer into the queue must not wait for ever.
            _queue.Writer.TryComplete();
        }
    }

    private Task TellDroppedAsync(long count) => count == 0 ? Task.CompletedTask : _stream.WriteAsync(new LinkNews(null, null, count).ToMessage(_tail!.Id), CancellationToken.None);
}
