using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using EdgeLora.Core;

namespace EdgeLora;

/// <summary>
/// A connection to a host in another process. Requests run one after the other, from any thread; a client that tails does only that. Requests throw <see cref="LinkException"/>; after one of kind
/// <see cref="LinkErrorKind.Gone"/> or <see cref="LinkErrorKind.Frame"/>, or a cancelled one, the client can only be disposed.
/// </summary>
public sealed class LinkClient : IDisposable
{
    private const int MostFrameBytes = 16 << 20, ChunkBytes = 256 << 10;
    private static readonly TimeSpan s_connect = TimeSpan.FromSeconds(5);

    private readonly LinkStream _stream;
    private readonly SemaphoreSlim _turn = new(1, 1);
    private long _id;
    private bool _ended;

    private LinkClient(LinkEndpoint endpoint, Stream stream) => (Endpoint, _stream) = (endpoint, new(stream));

    /// <summary>Where it is connected to.</summary>
    public LinkEndpoint Endpoint { get; }

    /// <summary>Who is there.</summary>
    public LinkHello Hello { get; private set; } = new("", "", "", 0);

    /// <summary>Connects and says hello.</summary>
    /// <param name="endpoint">Where.</param>
    /// <param name="token">For TCP.</param>
    /// <param name="cancellation">Stops it.</param>
    public static async Task<LinkClient> ConnectAsync(LinkEndpoint endpoint, string? token = null, CancellationToken cancellation = default)
    {
        LinkClient client = new(endpoint, await endpoint.ConnectAsync(s_connect, cancellation).ConfigureAwait(false));
        try
        {
            client.Hello = LinkHello.From(await client.AskAsync("hello", new() { ["token"] = token }, cancellation).ConfigureAwait(false));
            return client;
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    /// <summary>The tree: the base first, parents before children.</summary>
    public async Task<IReadOnlyList<LinkNode>> ListAsync(CancellationToken cancellation = default) =>
        [.. (await PartsAsync("list", [], cancellation).ConfigureAwait(false)).SelectMany(p => p.Maps("nodes")).Select(LinkNode.From)];

    /// <summary>The open sessions.</summary>
    public async Task<IReadOnlyList<LinkSession>> SessionsAsync(CancellationToken cancellation = default) =>
        [.. (await PartsAsync("sessions", [], cancellation).ConfigureAwait(false)).SelectMany(p => p.Maps("sessions")).Select(LinkSession.From)];

    /// <summary>The host in numbers.</summary>
    public async Task<HostStats> StatsAsync(CancellationToken cancellation = default) => LinkStats.From(await AskAsync("stats", [], cancellation).ConfigureAwait(false));

    /// <summary>Mounts an adapter that lies in the host's file system.</summary>
    /// <param name="folder">Its folder or file there.</param>
    /// <param name="parent">What it builds on; empty: the base.</param>
    /// <param name="name">Its name there; null: the folder's.</param>
    /// <param name="cancellation">Stops waiting.</param>
    public async Task<AdapterHandle> MountAsync(string folder, string parent = "", string? name = null, CancellationToken cancellation = default) =>
        Handle(await AskAsync("mount", new() { ["folder"] = folder, ["parent"] = parent, ["name"] = name }, cancellation).ConfigureAwait(false));

    /// <summary>Takes a node and what builds on it out of the tree.</summary>
    public Task UnmountAsync(string node, CancellationToken cancellation = default) => AskAsync("unmount", new() { ["node"] = node }, cancellation);

    /// <summary>Has a node's files read again.</summary>
    public async Task<AdapterHandle> ReloadAsync(string node, CancellationToken cancellation = default) => Handle(await AskAsync("reload", new() { ["node"] = node }, cancellation).ConfigureAwait(false));

    /// <summary>Walks a session, or all of them, to a node. Returns how many walked.</summary>
    /// <param name="node">Where to.</param>
    /// <param name="session">Its id; null: all.</param>
    /// <param name="cancellation">Stops waiting.</param>
    public async Task<int> SwitchAsync(string node, long? session = null, CancellationToken cancellation = default) =>
        (int)(await AskAsync("switch", new() { ["node"] = node, ["session"] = session is { } id ? id : "all" }, cancellation).ConfigureAwait(false)).Number("switched", 0, int.MaxValue);

    /// <summary>
    /// Sends an adapter's files and has them mounted, or put in place of what is there, at once and as a whole. They last as long as the host; its tree's folder is not written to. Throws <see cref="LinkException"/>, with
    /// everything as it was, where it is refused, and <see cref="ModelFileException"/> where there is no adapter.
    /// </summary>
    /// <param name="adapter">A folder or file here.</param>
    /// <param name="path">Where to in the tree; null: under the base with the folder's name.</param>
    /// <param name="mode">Whether it may take another's place.</param>
    /// <param name="progress">Told of bytes sent, of all.</param>
    /// <param name="cancellation">Stops it.</param>
    public async Task<AdapterHandle> PushAsync(string adapter, string? path = null, PushMode mode = PushMode.Any, Action<long, long>? progress = null, CancellationToken cancellation = default)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(adapter));
        string place = path?.Trim('/') ?? (Directory.Exists(full) ? Path.GetFileName(full) : Path.GetFileNameWithoutExtension(full));
        int slash = place.LastIndexOf('/');
        List<FileStream> files = [];
        try
        {
            List<LinkMessage> parts = [];
            foreach ((string name, string file) in PushUpload.FilesOf(adapter))
            {
                FileStream open = new(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
                files.Add(open);
                string sum = Convert.ToHexStringLower(await SHA256.HashDataAsync(open, cancellation).ConfigureAwait(false));
                parts.Add(new() { ["name"] = name, ["bytes"] = open.Position, ["sha256"] = sum });
                open.Position = 0;
            }
            await AskAsync("push", new() { ["parent"] = slash < 0 ? "" : place[..slash], ["name"] = place[(slash + 1)..], ["mode"] = LinkText.Of(mode), ["files"] = parts }, cancellation).ConfigureAwait(false);
            long total = parts.Sum(p => (long)p["bytes"]!), sent = 0;
            byte[] chunk = new byte[ChunkBytes];
            for (int i = 0; i < files.Count; i++)
                for (long left = (long)parts[i]["bytes"]!; left > 0;)
                {
                    int count = await files[i].ReadAsync(chunk.AsMemory(0, (int)Math.Min(left, ChunkBytes)), cancellation).ConfigureAwait(false);
                    if (count == 0)
                        throw new ModelFileException(files[i].Name, "became shorter while it was sent");
                    await AskAsync("chunk", new() { ["file"] = i, ["offset"] = (long)parts[i]["bytes"]! - left, ["data"] = new ReadOnlyMemory<byte>(chunk, 0, count) }, cancellation).ConfigureAwait(false);
                    left -= count;
                    progress?.Invoke(sent += count, total);
                }
            return Handle(await AskAsync("commit", [], cancellation).ConfigureAwait(false));
        }
        finally
        {
            foreach (FileStream file in files)
                await file.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>What happens there, in order, until cancelled or the host is gone (<see cref="LinkException"/>).</summary>
    /// <param name="recent">The last events before, first.</param>
    /// <param name="ticks">How often to be told what the ticks did; null: never.</param>
    /// <param name="cancellation">Ends it, and the client.</param>
    public async IAsyncEnumerable<LinkNews> TailAsync(bool recent = false, TimeSpan? ticks = null, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        await _turn.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            LinkMessage request = new() { ["recent"] = recent };
            if (ticks is { } time)
                request["ticksMs"] = (long)time.TotalMilliseconds;
            await SendAsync("tail", request, cancellation).ConfigureAwait(false);
            await ReceiveAsync(cancellation).ConfigureAwait(false);
            _ended = true;
            while (true)
                yield return LinkNews.From(await ReceiveAsync(cancellation).ConfigureAwait(false));
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private static AdapterHandle Handle(LinkMessage answer) => new(answer.Text("node"), (int)answer.Number("generation", 0, int.MaxValue));

    private async Task<LinkMessage> AskAsync(string what, LinkMessage request, CancellationToken cancellation) => (await PartsAsync(what, request, cancellation).ConfigureAwait(false))[0];

    private async Task<IReadOnlyList<LinkMessage>> PartsAsync(string what, LinkMessage request, CancellationToken cancellation)
    {
        await _turn.WaitAsync(cancellation).ConfigureAwait(false);
        bool answered = false;
        try
        {
            await SendAsync(what, request, cancellation).ConfigureAwait(false);
            List<LinkMessage> parts = [];
            do
                parts.Add(await ReceiveAsync(cancellation).ConfigureAwait(false));
            while (parts[^1].Flag("more"));
            answered = true;
            return parts;
        }
        catch (LinkException e) when (e.Kind is not (LinkErrorKind.Gone or LinkErrorKind.Frame))
        {
            answered = true;
            throw;
        }
        finally
        {
            _ended |= !answered;
            _turn.Release();
        }
    }

    private Task SendAsync(string what, LinkMessage request, CancellationToken cancellation)
    {
        if (_ended)
            throw new InvalidOperationException($"{Endpoint}: this client tails, was cancelled or is gone: connect another");
        request["id"] = ++_id;
        request["do"] = what;
        return _stream.WriteAsync(request, cancellation);
    }

    // The next message of the request that was sent last; an error is thrown.
    private async Task<LinkMessage> ReceiveAsync(CancellationToken cancellation)
    {
        LinkMessage answer = await _stream.ReadAsync(MostFrameBytes, cancellation).ConfigureAwait(false) ?? throw new LinkException(LinkErrorKind.Gone, $"{Endpoint}: the host is gone");
        if (answer.TextOrNull("error") is { } error)
            throw new LinkException(LinkText.Value<LinkErrorKind>(answer, "kind"), error, answer.Texts("faults"));
        return answer.Number("id") == _id ? answer : throw new LinkException(LinkErrorKind.Frame, $"an answer to request {_id} was expected, found one to {answer.Number("id")}");
    }
}
