using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace EdgeLora.Tests.Hub;

/// <summary>What a test's hub was asked.</summary>
internal sealed record HubRequest(string Method, string Path, string? Range, string? Authorization);

/// <summary>
/// A hub of one model on this machine, over plain sockets so that it can also cut a connection: the list of files, HEAD and GET of <c>resolve</c> with ranges, and large files by a redirect
/// to a storage at another address, as the Hugging Face hub answers them.
/// </summary>
internal sealed class HubServer : IDisposable
{
    /// <summary>The commit of <c>main</c>.</summary>
    public const string Commit = "0123456789abcdef0123456789abcdef01234567";

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly TcpListener _storage = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<string, int> _cuts = new();

    public HubServer(string id = "tiny/model")
    {
        Id = id;
        foreach (TcpListener listener in (TcpListener[])[_listener, _storage])
        {
            listener.Start();
            _ = AcceptAsync(listener, isStorage: listener == _storage);
        }
    }

    public string Id { get; }

    public string Endpoint => $"http://{_listener.LocalEndpoint}";

    /// <summary>Files by name.</summary>
    public Dictionary<string, byte[]> Files { get; } = [];

    /// <summary>Names of the files that lie in the storage, named by their sha-256.</summary>
    public HashSet<string> Large { get; } = [];

    /// <summary>Commits by revision.</summary>
    public Dictionary<string, string> Revisions { get; } = new() { ["main"] = Commit, [Commit] = Commit };

    /// <summary>What the model was called before: the hub leads from there to its name.</summary>
    public string? OldId { get; init; }

    /// <summary>A token that is asked for; null: none.</summary>
    public string? Token { get; init; }

    /// <summary>Answers to every request of the hub, instead of what it has: a status and X-Error-Code.</summary>
    public (int Status, string Code)? Refusal { get; set; }

    /// <summary>Whether the storage takes ranges.</summary>
    public bool Ranges { get; set; } = true;

    /// <summary>Changes what is sent of a file, which keeps its name in the list.</summary>
    public Func<string, byte[], byte[]> Sent { get; set; } = (_, bytes) => bytes;

    /// <summary>An ETag in place of the right one.</summary>
    public string? Etag { get; set; }

    public ConcurrentQueue<HubRequest> Requests { get; } = new();

    public ConcurrentQueue<HubRequest> StorageRequests { get; } = new();

    /// <summary>How often bytes of a file were asked for.</summary>
    public int Downloads(string? name = null) => Requests.Concat(StorageRequests).Count(r => r.Method == "GET" && (r.Path.Contains("/resolve/") && !Large.Contains(r.Path.Split('/', 5)[4].Split('/', 2)[^1]) || r.Path.StartsWith("/store/")) && (name is null || r.Path.EndsWith("/" + name)));

    /// <summary>Closes the connection after so many bytes of a file, the next so many times.</summary>
    public void Cut(string name, int afterBytes, int times = 1)
    {
        for (int i = 0; i < times; i++)
            _cuts[$"{name}#{i}"] = afterBytes;
    }

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Stop();
        _storage.Stop();
    }

    public static string GitSum(byte[] bytes) => Convert.ToHexStringLower(SHA1.HashData([.. Encoding.ASCII.GetBytes($"blob {bytes.Length}\0"), .. bytes]));

    public static string Sha256(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    private async Task AcceptAsync(TcpListener listener, bool isStorage)
    {
        try
        {
            while (true)
            {
                TcpClient client = await listener.AcceptTcpClientAsync(_stop.Token);
                _ = Task.Run(() => ServeAsync(client, isStorage));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private async Task ServeAsync(TcpClient client, bool isStorage)
    {
        using (client)
        {
            using NetworkStream stream = client.GetStream();
            using StreamReader reader = new(stream, Encoding.ASCII, leaveOpen: true);
            if (await reader.ReadLineAsync() is not { } line)
                return;
            Dictionary<string, string> headers = new(StringComparer.OrdinalIgnoreCase);
            while (await reader.ReadLineAsync() is { Length: > 0 } header)
                headers[header.Split(':')[0]] = header[(header.IndexOf(':') + 1)..].Trim();
            string[] words = line.Split(' ');
            HubRequest request = new(words[0], Uri.UnescapeDataString(words[1]), headers.GetValueOrDefault("Range"), headers.GetValueOrDefault("Authorization"));
            (isStorage ? StorageRequests : Requests).Enqueue(request);
            try
            {
                await (isStorage ? StoreAsync(stream, request) : HubAsync(stream, request));
            }
            catch (IOException)
            {
                // The client left.
            }
        }
    }

    private Task HubAsync(Stream stream, HubRequest request)
    {
        string[] parts = request.Path.Split('?')[0].TrimStart('/').Split('/');
        string[] id = Id.Split('/');
        if (OldId is { } old && request.Path.Contains(old, StringComparison.Ordinal))
            return SendAsync(stream, 307, [("Location", request.Path.Replace(old, Id))], [], request);
        if (Refusal is { } refusal)
            return SendAsync(stream, refusal.Status, [("X-Error-Code", refusal.Code)], [], request);
        if (Token is not null && request.Authorization != $"Bearer {Token}")
            return SendAsync(stream, 401, [("X-Error-Code", "RepoNotFound"), ("X-Error-Message", "Invalid username or password.")], [], request);
        if (parts is ["api", "models", .. var rest] && rest[..id.Length].SequenceEqual(id))
        {
            return Revisions.TryGetValue(string.Join('/', rest[(id.Length + 1)..]), out string? commit) ? SendAsync(stream, 200, [("Content-Type", "application/json")], List(commit), request)
                : SendAsync(stream, 404, [("X-Error-Code", "RevisionNotFound")], [], request);
        }
        if (parts.Length > id.Length + 2 && parts[..id.Length].SequenceEqual(id) && parts[id.Length] == "resolve")
        {
            string name = string.Join('/', parts[(id.Length + 2)..]), commit = parts[id.Length + 1];
            if (!Files.TryGetValue(name, out byte[]? bytes))
                return SendAsync(stream, 404, [("X-Error-Code", "EntryNotFound")], [], request);
            (string, string)[] about = [("X-Repo-Commit", commit), ("ETag", $"\"{Etag ?? GitSum(bytes)}\"")];
            if (Large.Contains(name))
                return SendAsync(stream, 302, [about[0], ("ETag", "\"of-the-redirect\""), ("X-Linked-Etag", $"\"{Etag ?? Sha256(bytes)}\""), ("X-Linked-Size", $"{bytes.Length}"), ("Location", $"http://{_storage.LocalEndpoint}/store/{name}")], [], request);
            return BytesAsync(stream, request, name, about);
        }
        return SendAsync(stream, 404, [("X-Error-Code", "RepoNotFound")], [], request);
    }

    private Task StoreAsync(Stream stream, HubRequest request) => BytesAsync(stream, request, request.Path["/store/".Length..], []);

    private Task BytesAsync(Stream stream, HubRequest request, string name, (string, string)[] headers)
    {
        byte[] bytes = Sent(name, Files[name]);
        string? cut = request.Method == "GET" ? _cuts.Keys.Where(k => k.StartsWith(name + "#", StringComparison.Ordinal)).Order(StringComparer.Ordinal).FirstOrDefault() : null;
        int limit = cut is not null && _cuts.TryRemove(cut, out int after) ? after : int.MaxValue;
        if (request.Range is { } range && Ranges)
        {
            int from = int.Parse(range["bytes=".Length..].TrimEnd('-'));
            return from >= bytes.Length ? SendAsync(stream, 416, headers, [], request)
                : SendAsync(stream, 206, [.. headers, ("Content-Range", $"bytes {from}-{bytes.Length - 1}/{bytes.Length}")], bytes[from..], request, limit);
        }
        return SendAsync(stream, 200, headers, bytes, request, limit);
    }

    private byte[] List(string commit) => Encoding.UTF8.GetBytes(new JsonObject
    {
        ["id"] = Id,
        ["sha"] = commit,
        ["siblings"] = new JsonArray([.. Files.Select(f => new JsonObject
        {
            ["rfilename"] = f.Key,
            ["size"] = f.Value.Length,
            ["blobId"] = GitSum(f.Value),
            ["lfs"] = Large.Contains(f.Key) ? new JsonObject { ["sha256"] = Sha256(f.Value), ["size"] = f.Value.Length, ["pointerSize"] = 134 } : null,
        })]),
    }.ToJsonString(new JsonSerializerOptions()));

    private static async Task SendAsync(Stream stream, int status, (string Name, string Value)[] headers, byte[] body, HubRequest request, int cutAfter = int.MaxValue)
    {
        StringBuilder head = new($"HTTP/1.1 {status} Status\r\nConnection: close\r\nContent-Length: {body.Length}\r\n");
        foreach ((string name, string value) in headers)
            head.Append($"{name}: {value}\r\n");
        await stream.WriteAsync(Encoding.ASCII.GetBytes(head.Append("\r\n").ToString()));
        if (request.Method != "HEAD")
            await stream.WriteAsync(body.AsMemory(0, Math.Min(body.Length, cutAfter)));
        await stream.FlushAsync();
    }
}
