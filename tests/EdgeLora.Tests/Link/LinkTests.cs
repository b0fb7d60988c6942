using System.Diagnostics;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Adapters;
using EdgeLora.Tests.Hosting;
using Xunit;

namespace EdgeLora.Tests.Link;

/// <summary>A host that listens, and clients that behave and that do not.</summary>
public sealed class LinkTests : IDisposable
{
    private static readonly int[] s_prompt = [0, 29, 202];

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-link").FullName;
    private readonly RandomTree _tree = new(81), _other = new(82);
    private readonly CancellationTokenSource _end = new();
    private readonly EdgeHost _host;
    private readonly HostLink _link;
    private readonly Task _ticking;

    public LinkTests()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "the tests speak over Unix domain sockets");
        _tree.Add("", "a");
        _host = EdgeHost.Open(_tree.Folder, new EdgeHostOptions { Threads = 1 });
        _link = _host.Listen(new() { LocalPath = Path.Combine(_folder, "a.sock"), TcpPort = 0, MaxFrameBytes = 1 << 20, QueueLength = 8, MaxClients = 8 });
        _ticking = _host.RunAsync(_end.Token);
    }

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    private LinkEndpoint Local => _link.Endpoints[0];

    private LinkEndpoint Tcp => _link.Endpoints[1];

    public void Dispose()
    {
        _end.Cancel();
        _ticking.GetAwaiter().GetResult();
        _host.Dispose();
        _end.Dispose();
        _tree.Dispose();
        _other.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_pushed_adapter_speaks_as_one_that_was_mounted_and_another_generation_takes_its_place()
    {
        using LinkClient client = await LinkClient.ConnectAsync(Local, cancellation: Cancelled);
        Assert.Equal((_host.Name, _host.Model.BaseFingerprint, Environment.ProcessId), (client.Hello.Host, client.Hello.BaseFingerprint, client.Hello.ProcessId));
        string folder = Path.Combine(_other.Folder, _other.Add("", "guest"));
        Assert.Equal(new AdapterHandle("a/guest", 0), await client.PushAsync(folder, "a/guest", cancellation: Cancelled));
        await _host.MountAsync(folder, "a", "twin");
        using HostSession pushed = await _host.OpenSessionAsync("a/guest", new() { Reload = ReloadPolicy.MoveAtOnce }), twin = await _host.OpenSessionAsync("a/twin");
        int[] first = await SayAsync(pushed);
        Assert.Equal(await SayAsync(twin), first);
        string before = _host.Tree.Get("a/guest").Folder;

        _other.Add("", "guest");
        Assert.Equal(new AdapterHandle("a/guest", 1), await client.PushAsync(folder, "a/guest", PushMode.Replace, cancellation: Cancelled));
        Assert.Equal(new AdapterHandle("a/guest", 1), pushed.Node);
        await _host.ReloadAsync("a/twin");
        await twin.SwitchAsync("a/twin");
        int[] second = await SayAsync(pushed);
        Assert.NotEqual(first, second);
        Assert.Equal(await SayAsync(twin), second);
        // What was pushed before and is nobody's any more does not stay on the disk.
        await WaitAsync(() => !Directory.Exists(before));
        Assert.True(Directory.Exists(_host.Tree.Get("a/guest").Folder));
    }

    [Theory, InlineData("truncated"), InlineData("another base"), InlineData("not finite")]
    public async Task A_bad_push_is_refused_by_name_and_leaves_everything_as_it_was(string kind)
    {
        string folder = Path.Combine(_other.Folder, _other.Add("", "guest"));
        using LinkClient client = await LinkClient.ConnectAsync(Local, cancellation: Cancelled);
        await client.PushAsync(folder, cancellation: Cancelled);
        using HostSession session = await _host.OpenSessionAsync("guest", new() { Reload = ReloadPolicy.MoveAtOnce });
        int[] good = await SayAsync(session);
        string file = Path.Combine(folder, "adapter_model.safetensors"), config = Path.Combine(folder, "adapter_config.json");
        switch (kind)
        {
            case "truncated":
                File.WriteAllBytes(file, File.ReadAllBytes(file)[..^100]);
                break;
            case "another base":
                File.WriteAllText(config, File.ReadAllText(config).Replace("\"r\": 2", "\"r\": 3"));
                break;
            default:
                RandomTree.Overflow(folder);
                break;
        }
        LinkException refused = await Assert.ThrowsAsync<LinkException>(() => client.PushAsync(folder, cancellation: Cancelled));
        Assert.Equal(LinkErrorKind.Refused, refused.Kind);
        Assert.NotEmpty(refused.Faults);
        Assert.Contains("guest", refused.Message);
        Assert.Equal(good, await SayAsync(session));
        Assert.Equal(new AdapterHandle("guest", 0), session.Node);
        Assert.NotEmpty((await client.ListAsync(Cancelled)).Single(n => n.Path == "guest").Faults);

        Assert.Equal(LinkErrorKind.Refused, (await Assert.ThrowsAsync<LinkException>(() => client.PushAsync(folder, "a/other", cancellation: Cancelled))).Kind);
        Assert.Null(_host.Tree.Find("a/other"));
        // The folders of what was refused go; the one that serves stays.
        await WaitAsync(() => Directory.GetDirectories(Path.GetDirectoryName(Path.GetDirectoryName(_host.Tree.Get("guest").Folder))!).Length == 1);
    }

    [Fact]
    public async Task A_push_says_whether_the_place_must_be_free_or_taken()
    {
        string folder = Path.Combine(_other.Folder, _other.Add("", "guest"));
        using LinkClient client = await LinkClient.ConnectAsync(Local, cancellation: Cancelled);
        Assert.Equal(LinkErrorKind.NotFound, (await Assert.ThrowsAsync<LinkException>(() => client.PushAsync(folder, mode: PushMode.Replace, cancellation: Cancelled))).Kind);
        Assert.Equal(LinkErrorKind.NotFound, (await Assert.ThrowsAsync<LinkException>(() => client.PushAsync(folder, "nowhere/guest", cancellation: Cancelled))).Kind);
        Assert.Equal(LinkErrorKind.Usage, (await Assert.ThrowsAsync<LinkException>(() => client.PushAsync(folder, "a/..", cancellation: Cancelled))).Kind);
        await client.PushAsync(folder, mode: PushMode.New, cancellation: Cancelled);
        Assert.Equal(LinkErrorKind.Usage, (await Assert.ThrowsAsync<LinkException>(() => client.PushAsync(folder, mode: PushMode.New, cancellation: Cancelled))).Kind);
        await client.UnmountAsync("guest", Cancelled);
        Assert.Equal(["", "a"], (await client.ListAsync(Cancelled)).Select(n => n.Path));
    }

    [Fact]
    public async Task Mount_reload_switch_sessions_and_stats_do_what_the_host_does()
    {
        string folder = Path.Combine(_other.Folder, _other.Add("", "guest"));
        using LinkClient client = await LinkClient.ConnectAsync(Local, cancellation: Cancelled), second = await LinkClient.ConnectAsync(Local, cancellation: Cancelled);
        Assert.Equal(new AdapterHandle("a/guest", 0), await client.MountAsync(folder, "a", cancellation: Cancelled));
        using HostSession one = await _host.OpenSessionAsync(), two = await _host.OpenSessionAsync("a");
        Assert.Equal(1, await client.SwitchAsync("a/guest", one.Id, Cancelled));
        Assert.Equal(("a/guest", "a"), (one.Node.Node, two.Node.Node));
        Assert.Equal(2, await second.SwitchAsync("a/guest", cancellation: Cancelled));
        Assert.Equal(LinkErrorKind.NotFound, (await Assert.ThrowsAsync<LinkException>(() => client.SwitchAsync("a", 99, Cancelled))).Kind);
        Assert.Equal(LinkErrorKind.NotFound, (await Assert.ThrowsAsync<LinkException>(() => client.SwitchAsync("nobody", one.Id, Cancelled))).Kind);
        Assert.Equal([one.Id, two.Id], (await client.SessionsAsync(Cancelled)).Where(s => s.Node.Node == "a/guest" && s.State == HostSessionState.Idle).Select(s => s.Id));
        Assert.Equal(new AdapterHandle("a/guest", 1), await client.ReloadAsync("a/guest", Cancelled));
        HostStats stats = await client.StatsAsync(Cancelled);
        Assert.Equal((2, _host.Model.ByteLength), (stats.Sessions, stats.BaseBytes));
        LinkNode node = (await client.ListAsync(Cancelled)).Single(n => n.Path == "a/guest");
        Assert.Equal((1, 2, "LoRA"), (node.Generation, node.MaxRank, node.Form));
        Assert.Equal(_host.Tree.Get("a/guest").ByteLength, node.ByteLength);
    }

    [Fact]
    public async Task Without_the_token_nothing_is_answered_over_TCP()
    {
        string right = _link.Token!;
        string wrong = (right[0] == '0' ? '1' : '0') + right[1..];
        foreach (string? token in (string?[])[null, "", wrong, right + "0"])
            Assert.Equal(LinkErrorKind.Token, (await Assert.ThrowsAsync<LinkException>(() => LinkClient.ConnectAsync(Tcp, token, Cancelled))).Kind);
        using (RawLink raw = new(Tcp))
        {
            raw.SendFrame(RawLink.Map(("v", 1), ("id", 1), ("do", "unmount"), ("node", "a")));
            Assert.Equal("token", raw.Read()!["kind"]);
            Assert.Null(raw.Read());
        }
        using LinkClient client = await LinkClient.ConnectAsync(Tcp, right, Cancelled);
        Assert.Contains(await client.ListAsync(Cancelled), n => n.Path == "a");
        Assert.Throws<ArgumentException>(() => _host.Listen(new() { Local = false, TcpPort = 0, Token = "short" }));
    }

    [Theory]
    [InlineData("length 0")]
    [InlineData("length 2^31")]
    [InlineData("too large")]
    [InlineData("garbage")]
    [InlineData("no map")]
    [InlineData("promises")]
    [InlineData("deep")]
    [InlineData("key twice")]
    [InlineData("no id")]
    [InlineData("other version")]
    public async Task A_bad_frame_closes_its_connection_with_a_reason_and_nothing_else(string kind)
    {
        using LinkClient other = await LinkClient.ConnectAsync(Local, cancellation: Cancelled);
        using RawLink raw = new(Local);
        raw.Hello();
        Assert.Equal(1L, raw.Read()!["id"]);
        switch (kind)
        {
            case "length 0":
                raw.SendBytes([0, 0, 0, 0]);
                break;
            case "length 2^31":
                raw.SendBytes([0, 0, 0, 0x80]);
                break;
            case "too large":
                raw.SendFrame(new byte[(1 << 20) + 1]);
                break;
            case "garbage":
                raw.SendFrame([.. Enumerable.Repeat((byte)0xC1, 100)]);
                break;
            case "no map":
                raw.SendFrame([0x93, 1, 2, 3]);
                break;
            case "promises":
                raw.SendFrame([0x81, 0xA1, (byte)'x', 0xDD, 0x7F, 0xFF, 0xFF, 0xFF]);
                break;
            case "deep":
                raw.SendFrame([0x81, 0xA1, (byte)'x', .. Enumerable.Repeat((byte)0x91, 1000), 0x01]);
                break;
            case "key twice":
                raw.SendFrame(RawLink.Map(("v", 1), ("id", 2), ("id", 3), ("do", "list")));
                break;
            case "no id":
                raw.SendFrame(RawLink.Map(("v", 1), ("do", "list")));
                break;
            default:
                raw.SendFrame(RawLink.Map(("v", 2), ("id", 2), ("do", "list")));
                break;
        }
        Dictionary<string, object?> reason = raw.Read()!;
        Assert.Equal((0L, kind == "other version" ? "version" : "frame"), (reason["id"], reason["kind"]));
        Assert.NotEmpty((string)reason["error"]!);
        Assert.Null(raw.Read());
        Assert.Contains(await other.ListAsync(Cancelled), n => n.Path == "a");
    }

    [Fact]
    public async Task A_request_that_makes_no_sense_is_answered_and_the_next_one_done()
    {
        using RawLink raw = new(Local);
        raw.Hello();
        raw.Read();
        raw.SendFrame(RawLink.Map(("v", 1), ("id", 2), ("do", "dance")));
        raw.SendFrame(RawLink.Map(("v", 1), ("id", 3), ("do", "switch"), ("session", "some"), ("node", "a")));
        raw.SendFrame(RawLink.Map(("v", 1), ("id", 4), ("do", "commit")));
        raw.SendFrame(RawLink.Map(("v", 1), ("id", 5), ("do", "reload"), ("node", "a")));
        for (long id = 2; id <= 4; id++)
        {
            Dictionary<string, object?> answer = raw.Read()!;
            Assert.Equal((id, "usage"), (answer["id"], answer["kind"]));
        }
        Assert.Equal("a", await Task.Run(() => raw.Read()!["node"], Cancelled));
    }

    [Fact]
    public async Task A_client_that_does_not_read_holds_no_tick_up_and_is_told_how_many_events_it_missed()
    {
        // A long name makes large events, which fill the socket's buffer soon.
        string folder = Path.Combine(_other.Folder, _other.Add("", "guest")), name = new('n', 120);
        List<AdapterEvent> told = [];
        using RawLink lazy = new(Local);
        lazy.Hello();
        lazy.Read();
        lazy.SendFrame(RawLink.Map(("v", 1), ("id", 7), ("do", "tail")));
        Assert.Equal(7L, lazy.Read()!["id"]);
        TimeSpan longest = default;
        // Every tick's thread: the host's.
        _host.AdapterChanged += told.Add;
        _host.Ticked += t => longest = t.Events > longest ? t.Events : longest;
        using LinkClient client = await LinkClient.ConnectAsync(Local, cancellation: Cancelled);
        for (int i = 0; i < 500; i++)
        {
            await client.MountAsync(folder, "a", name, Cancelled);
            await client.UnmountAsync("a/" + name, Cancelled);
        }
        Assert.True(longest < TimeSpan.FromSeconds(1), $"{longest}");
        // Its reading starts now: what was kept comes in order, with the number of those that were not where they are missing.
        long at = 0, dropped = 0;
        while (at < told.Count)
        {
            Dictionary<string, object?> news = lazy.Read()!;
            Assert.Equal(7L, news["id"]);
            if (news["event"] is "dropped")
            {
                at += (long)news["count"]!;
                dropped += (long)news["count"]!;
                continue;
            }
            AdapterEvent expected = told[(int)at++];
            Assert.Equal((LinkName(expected.Kind), expected.Node, (long)expected.Generation), (news["kind"], news["node"], news["generation"]));
        }
        Assert.Equal(told.Count, at);
        Assert.True(dropped > 0, $"none of {told.Count} was dropped");
    }

    [Fact]
    public async Task A_tail_tells_events_in_order_and_the_ticks_sums()
    {
        string folder = Path.Combine(_other.Folder, _other.Add("", "guest"));
        using LinkClient client = await LinkClient.ConnectAsync(Local, cancellation: Cancelled), tail = await LinkClient.ConnectAsync(Local, cancellation: Cancelled);
        await client.PushAsync(folder, cancellation: Cancelled);
        _other.Add("", "guest");
        await client.PushAsync(folder, cancellation: Cancelled);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), "{");
        await Assert.ThrowsAsync<LinkException>(() => client.PushAsync(folder, cancellation: Cancelled));
        await client.UnmountAsync("guest", Cancelled);
        using HostSession session = await _host.OpenSessionAsync("a");
        List<string> events = [];
        TickSum? ticks = null;
        Task? talking = null;
        await foreach (LinkNews news in tail.TailAsync(recent: true, TimeSpan.FromMilliseconds(20), Cancelled))
        {
            // Not before the tail listens: its ticks would be over, and never told.
            talking ??= SayAsync(session);
            if (news.Event is { Node: "guest" } happened)
                events.Add($"{happened.Kind} {happened.Generation} {(happened.Faults.Count > 0 ? "faulty" : "fine")}");
            ticks = news.Ticks is { NewTokens: > 0 } some ? some : ticks;
            if (ticks is not null && events.LastOrDefault()?.StartsWith("Unmounted", StringComparison.Ordinal) == true)
                break;
        }
        await talking!;
        Assert.Equal(["Discovered 0 fine", "Staged 0 fine", "Resident 0 fine", "Reloaded 1 fine", "Faulted 1 faulty", "Unmounted 2 fine"], events);
        Assert.True(ticks!.Value is { Ticks: > 0, Elapsed.Ticks: > 0 } && ticks.Value.Longest <= ticks.Value.Elapsed);
    }

    [Fact]
    public async Task When_the_host_ends_its_clients_are_told_and_its_socket_is_gone()
    {
        using LinkClient client = await LinkClient.ConnectAsync(Local, cancellation: Cancelled), tail = await LinkClient.ConnectAsync(Tcp, _link.Token, Cancelled);
        await using IAsyncEnumerator<LinkNews> news = tail.TailAsync(cancellation: Cancelled).GetAsyncEnumerator(Cancelled);
        ValueTask<bool> waiting = news.MoveNextAsync();
        await client.StatsAsync(Cancelled);
        string socket = Local.Address;
        Stopwatch watch = Stopwatch.StartNew();
        _link.Dispose();
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(30), $"{watch.Elapsed}");
        Assert.Equal(LinkErrorKind.Gone, (await Assert.ThrowsAsync<LinkException>(async () => await waiting)).Kind);
        Assert.Equal(LinkErrorKind.Gone, (await Assert.ThrowsAsync<LinkException>(() => client.StatsAsync(Cancelled))).Kind);
        await Assert.ThrowsAsync<InvalidOperationException>(() => client.StatsAsync(Cancelled));
        Assert.False(File.Exists(socket));
        Assert.Equal(LinkErrorKind.Gone, (await Assert.ThrowsAsync<LinkException>(() => LinkClient.ConnectAsync(new(LinkTransport.UnixSocket, socket), cancellation: Cancelled))).Kind);
        // The host itself goes on, and may listen again.
        using HostLink again = _host.Listen(new() { LocalPath = socket });
        using LinkClient back = await LinkClient.ConnectAsync(again.Endpoints[0], cancellation: Cancelled);
        Assert.Throws<LinkException>(() => _host.Listen(new() { LocalPath = socket }));
    }

    [Fact]
    public async Task More_clients_than_allowed_are_refused_with_the_reason()
    {
        List<LinkClient> clients = [];
        for (int i = 0; i < 8; i++)
            clients.Add(await LinkClient.ConnectAsync(Local, cancellation: Cancelled));
        Assert.Equal(LinkErrorKind.Busy, (await Assert.ThrowsAsync<LinkException>(() => LinkClient.ConnectAsync(Local, cancellation: Cancelled))).Kind);
        clients.ForEach(c => c.Dispose());
        await WaitAsync(() => _link.Clients == 0);
        using LinkClient client = await LinkClient.ConnectAsync(Local, cancellation: Cancelled);
    }

    private static string LinkName(AdapterEventKind kind) => kind.ToString().ToLowerInvariant();

    private static async Task<int[]> SayAsync(HostSession session)
    {
        await session.TruncateAsync(0);
        return (await Served.Collect(session.GenerateAsync(s_prompt, new GenerationOptions { MaxTokens = 10, IgnoreEnd = true }, Cancelled))).Tokens;
    }

    private static async Task WaitAsync(Func<bool> condition)
    {
        Stopwatch watch = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(30), "it did not happen in 30 s");
            await Task.Delay(10, Cancelled);
        }
    }
}
