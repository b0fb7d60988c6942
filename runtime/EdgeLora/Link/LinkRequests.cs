using System.Reflection;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora;

/// <summary>What one connection may ask of its host, and the upload that it is in the middle of.</summary>
internal sealed class LinkRequests(EdgeHost host, LinkOptions options) : IDisposable
{
    // A node's faults are at most 50 kB, so that a part stays below a frame.
    private const int NodesInPart = 64;

    private PushUpload? _upload;

    /// <summary>Who we are.</summary>
    public LinkMessage Hello() => new LinkHello(typeof(EdgeHost).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown",
        host.Name, host.Model.BaseFingerprint, Environment.ProcessId).ToMessage();

    /// <summary>Does what is asked; the answer's parts. Throws what the host throws.</summary>
    public async Task<IReadOnlyList<LinkMessage>> RunAsync(string what, LinkMessage m, CancellationToken cancellation)
    {
        switch (what)
        {
            case "hello":
                return [Hello()];
            case "list":
                return [.. host.Tree.Nodes.Select(n => LinkNode.ToMessage(n, n.Parent is null ? host.Model.ByteLength : n.ByteLength)).Chunk(NodesInPart).Select(part => new LinkMessage { ["nodes"] = part })];
            case "sessions":
                IReadOnlyList<HostSession> sessions = await host.SessionsAsync().WaitAsync(cancellation).ConfigureAwait(false);
                return sessions.Count == 0 ? [new() { ["sessions"] = Array.Empty<LinkMessage>() }] : [.. sessions.Select(LinkSession.ToMessage).Chunk(1024).Select(part => new LinkMessage { ["sessions"] = part })];
            case "stats":
                return [LinkStats.ToMessage(await host.StatsAsync().WaitAsync(cancellation).ConfigureAwait(false))];
            case "mount":
                return [Handle(await host.MountAsync(m.Text("folder"), m.TextOrNull("parent") ?? "", m.TextOrNull("name")).WaitAsync(cancellation).ConfigureAwait(false))];
            case "unmount":
                await host.UnmountAsync(m.Text("node")).WaitAsync(cancellation).ConfigureAwait(false);
                return [new()];
            case "reload":
                return [Handle(await host.ReloadAsync(m.Text("node")).WaitAsync(cancellation).ConfigureAwait(false))];
            case "switch":
                return [new() { ["switched"] = await SwitchAsync(m, cancellation).ConfigureAwait(false) }];
            case "push":
                Begin(m);
                return [new()];
            case "chunk":
                await AddAsync(m, cancellation).ConfigureAwait(false);
                return [new()];
            case "commit":
                return [Handle(await CommitAsync(cancellation).ConfigureAwait(false))];
            default:
                throw new LinkException(LinkErrorKind.Usage, $"'{LinkText.Short(what)}': no such request");
        }
    }

    /// <summary>An error as it is answered.</summary>
    public static LinkMessage Error(Exception e)
    {
        (LinkErrorKind kind, IReadOnlyList<string> faults) = e switch
        {
            LinkException known => (known.Kind, known.Faults),
            ModelFileException refused => (LinkErrorKind.Refused, refused.Faults),
            KeyNotFoundException => (LinkErrorKind.NotFound, []),
            ObjectDisposedException => (LinkErrorKind.Gone, []),
            ArgumentException or InvalidOperationException => (LinkErrorKind.Usage, []),
            _ => (LinkErrorKind.Failed, (IReadOnlyList<string>)[]),
        };
        string text = e is ModelFileException { Faults.Count: > 1 } many ? $"{many.FilePath}: {many.Faults.Count} faults" : e.Message;
        return new() { ["error"] = LinkText.Short(text), ["kind"] = LinkText.Of(kind), ["faults"] = LinkText.Short(faults) };
    }

    /// <summary>The connection ended: what was uploaded and not committed is deleted.</summary>
    public void Dispose() => Drop();

    private static LinkMessage Handle(AdapterHandle handle) => new() { ["node"] = handle.Node, ["generation"] = handle.Generation };

    private async Task<int> SwitchAsync(LinkMessage m, CancellationToken cancellation)
    {
        string node = m.Text("node");
        host.Tree.Get(node);
        long? one = m["session"] is "all" ? null : m.Number("session");
        int switched = 0;
        foreach (HostSession session in await host.SessionsAsync().WaitAsync(cancellation).ConfigureAwait(false))
            if (one is null || session.Id == one)
                try
                {
                    await session.SwitchAsync(node).WaitAsync(cancellation).ConfigureAwait(false);
                    switched++;
                }
                catch (ObjectDisposedException) when (one is null)
                {
                    // Of all those that are there, it has just left.
                }
        return switched > 0 || one is null ? switched : throw new KeyNotFoundException($"no session {one}");
    }

    private void Begin(LinkMessage m)
    {
        Drop();
        PushTarget target = new(m.TextOrNull("parent")?.Trim('/') ?? "", m.Text("name"), LinkText.Value<PushMode>(m, "mode"));
        target.Find(host.Tree);
        string folder = host.Pushes.Create(target.Name);
        try
        {
            _upload = new(folder, target, m.Maps("files"), options.MaxPushBytes);
        }
        catch
        {
            host.Pushes.Release(folder, host.Tree);
            throw;
        }
    }

    private async Task AddAsync(LinkMessage m, CancellationToken cancellation)
    {
        try
        {
            await Upload().AddAsync(m.Number("file"), m.Number("offset"), m.Bytes("data"), cancellation).ConfigureAwait(false);
        }
        catch
        {
            Drop();
            throw;
        }
    }

    private async Task<AdapterHandle> CommitAsync(CancellationToken cancellation)
    {
        Upload().RequireWhole();
        PushUpload upload = Upload();
        _upload = null;
        upload.Dispose();
        // Who leaves while it is read lets it come to its end: the folder is in use until then.
        Task<AdapterHandle> putting = host.PutAsync(upload.Folder, upload.Target);
        _ = putting.ContinueWith(_ => host.Pushes.Release(upload.Folder, host.Tree), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        return await putting.WaitAsync(cancellation).ConfigureAwait(false);
    }

    private PushUpload Upload() => _upload ?? throw new LinkException(LinkErrorKind.Usage, "no push was begun");

    private void Drop()
    {
        if (_upload is not { } upload)
            return;
        _upload = null;
        upload.Dispose();
        host.Pushes.Release(upload.Folder, host.Tree);
    }
}
