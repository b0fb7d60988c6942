using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Hosting;

/// <summary>Many sessions on one base, served by ticks.</summary>
public sealed class SessionTests
{
    private static readonly string[] s_nodes = ["", "shakespeare/kings", "holmes", "math", "restaurant"];

    private static readonly GenerationOptions s_twenty = new() { MaxTokens = 20, IgnoreEnd = true };

    [Fact]
    public void Sessions_on_five_nodes_say_together_what_each_says_alone()
    {
        using EdgeHost host = Open();
        int[][] prompts = [.. Enumerable.Range(0, 10).Select(i => Enumerable.Range(0, 3 + 17 * i).Select(t => (t * 31 + i) % 400).ToArray())];
        int[][] alone = [.. prompts.Select((p, i) => Served.Alone(host, host.Enter(s_nodes[i % 5]), p, 20))];
        HostSession[] sessions = [.. prompts.Select((_, i) => Served.Until(host, host.OpenSessionAsync(s_nodes[i % 5])))];
        var all = Task.WhenAll(sessions.Select((s, i) => Served.Collect(s.GenerateAsync(prompts[i], s_twenty, TestContext.Current.CancellationToken))));
        var results = Served.Until(host, all);
        for (int i = 0; i < 10; i++)
        {
            Assert.Equal(alone[i], results[i].Tokens);
            Assert.Equal(StopReason.MaxTokens, results[i].Stop);
        }
        Assert.All(sessions, s => Assert.Equal(HostSessionState.Idle, s.State));
    }

    [Fact]
    public void Walking_between_two_generations_goes_on_from_the_text_so_far()
    {
        using EdgeHost host = Open();
        HostSession session = Served.Until(host, host.OpenSessionAsync("holmes"));
        int[] first = Served.Until(host, Served.Collect(session.GenerateAsync([1, 2, 3], s_twenty, TestContext.Current.CancellationToken))).Tokens;
        Served.Until(host, session.SwitchAsync("math"));
        int[] second = Served.Until(host, Served.Collect(session.GenerateAsync([7], s_twenty, TestContext.Current.CancellationToken))).Tokens;
        Assert.Equal(Served.Alone(host, host.Enter("math"), [1, 2, 3, .. first, 7], 20), second);
        Assert.Equal("math", session.Node.Node);
    }

    [Fact]
    public async Task A_loop_that_ends_with_an_exception_ends_every_stream_with_it()
    {
        // Room for one session's keys and values, 1.4 MB: the other one waits.
        using EdgeHost host = Open(new EdgeHostOptions { KvBudgetBytes = 2_000_000 });
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        Task loop = host.RunAsync(stop.Token);
        HostSession[] sessions = [await host.OpenSessionAsync("holmes"), await host.OpenSessionAsync("math")];
        GenerationOptions most = new() { MaxTokens = 300, IgnoreEnd = true };
        host.Ticked += report =>
        {
            if (report is { Running: 1, Waiting: 1 })
                throw new InvalidOperationException("the device is gone");
        };
        Task[] all = [.. sessions.Select(s => Served.Collect(s.GenerateAsync([1], most, TestContext.Current.CancellationToken))), loop];
        foreach (Task ended in all)
            Assert.Equal("the device is gone", (await Assert.ThrowsAsync<InvalidOperationException>(() => ended.WaitAsync(TimeSpan.FromSeconds(30), stop.Token))).Message);
        Assert.All(sessions, s => Assert.Equal(HostSessionState.Idle, s.State));
    }

    [Fact]
    public async Task What_is_asked_of_a_host_that_closes_fails_and_does_not_wait()
    {
        EdgeHost host = Open();
        Task<HostSession> asked = host.OpenSessionAsync("holmes");
        host.Tick(Served.Budget);
        Task<HostSession> late = host.OpenSessionAsync("math");
        host.Dispose();
        await asked;
        await Assert.ThrowsAsync<ObjectDisposedException>(() => late);
    }

    [Fact]
    public void A_node_that_is_not_there_is_refused_and_the_session_stays()
    {
        using EdgeHost host = Open();
        HostSession session = Served.Until(host, host.OpenSessionAsync("holmes"));
        Assert.Throws<KeyNotFoundException>(() => Served.Until(host, session.SwitchAsync("nobody")));
        Assert.Equal("holmes", session.Node.Node);
        Assert.Throws<KeyNotFoundException>(() => Served.Until(host, host.OpenSessionAsync("nobody")));
    }

    [Fact]
    public void A_higher_priority_is_always_served_first_and_weights_share_the_rest()
    {
        using EdgeHost host = Open(new EdgeHostOptions { MaxBatchRows = 1 });
        HostSession low = Served.Until(host, host.OpenSessionAsync("", new HostSessionOptions { Weight = 1 })), twice = Served.Until(host, host.OpenSessionAsync("", new HostSessionOptions { Weight = 2 })),
            high = Served.Until(host, host.OpenSessionAsync("", new HostSessionOptions { Priority = 1 }));
        GenerationOptions many = new() { MaxTokens = 60, IgnoreEnd = true };
        Task[] all = [.. new[] { low, twice, high }.Select(s => Served.Collect(s.GenerateAsync([1], many, TestContext.Current.CancellationToken)))];
        host.Tick(TimeSpan.Zero);
        while (high.State == HostSessionState.Running)
            host.Tick(TimeSpan.Zero);
        Assert.True(low.TokenCount <= 2 && twice.TokenCount <= 2, $"{low.TokenCount}, {twice.TokenCount}");
        while (twice.State == HostSessionState.Running)
            host.Tick(TimeSpan.Zero);
        Assert.InRange(low.TokenCount, 28, 33);
        Served.Until(host, Task.WhenAll(all));
    }

    [Fact]
    public void A_cancelled_generation_ends_within_one_step_and_says_so()
    {
        using EdgeHost host = Open();
        HostSession session = Served.Until(host, host.OpenSessionAsync());
        using CancellationTokenSource cancel = new();
        var generation = Served.Collect(session.GenerateAsync([1, 2], new GenerationOptions { MaxTokens = 400, IgnoreEnd = true }, cancel.Token));
        while (session.TokenCount < 10)
            host.Tick(TimeSpan.Zero);
        cancel.Cancel();
        int before = session.TokenCount;
        host.Tick(TimeSpan.Zero);
        Assert.Equal(before, session.TokenCount);
        Assert.Equal(StopReason.Cancelled, Served.Until(host, generation).Stop);
        Assert.Equal(HostSessionState.Idle, session.State);
    }

    [Fact]
    public void What_does_not_fit_waits_with_its_place_and_runs_when_there_is_room()
    {
        using EdgeHost probe = Open();
        ModelConfig c = probe.Model.Config;
        long token = 2L * sizeof(float) * c.Layers * c.KvHeads * c.HeadSize;
        using EdgeHost host = Open(new EdgeHostOptions { KvBudgetBytes = 60 * token });
        HostSession[] sessions = [.. Enumerable.Range(0, 4).Select(_ => Served.Until(host, host.OpenSessionAsync("", new HostSessionOptions { ReserveTokens = 1 })))];
        var all = sessions.Select((s, i) => Served.Collect(s.GenerateAsync([1 + i, 2], s_twenty, TestContext.Current.CancellationToken))).ToArray();
        host.Tick(TimeSpan.Zero);
        Assert.Equal([HostSessionState.Running, HostSessionState.Running, HostSessionState.Waiting, HostSessionState.Waiting], sessions.Select(s => s.State));
        Assert.Equal([0, 0, 1, 2], sessions.Select(s => s.WaitingPlace));
        var results = Served.Until(host, Task.WhenAll(all));
        for (int i = 0; i < 4; i++)
            Assert.Equal(Served.Alone(host, AdapterPath.Root, [1 + i, 2], 20), results[i].Tokens);
        HostStats stats = Served.Until(host, host.StatsAsync());
        Assert.True(stats.KvBytes <= 2 * 60 * token, $"{stats.KvBytes}");
        InvalidOperationException e = Assert.Throws<InvalidOperationException>(() => Served.Until(host, Served.Collect(sessions[0].GenerateAsync([1], new GenerationOptions { MaxTokens = 100 }, TestContext.Current.CancellationToken))));
        Assert.Contains("the host has", e.Message);
    }

    [Fact]
    public void A_second_generation_beside_the_first_is_refused()
    {
        using EdgeHost host = Open();
        HostSession session = Served.Until(host, host.OpenSessionAsync());
        var first = Served.Collect(session.GenerateAsync([1], s_twenty, TestContext.Current.CancellationToken));
        host.Tick(TimeSpan.Zero);
        Assert.Contains("generates already", Assert.Throws<InvalidOperationException>(() => Served.Until(host, Served.Collect(session.GenerateAsync([1], s_twenty, TestContext.Current.CancellationToken)))).Message);
        Assert.Equal(20, Served.Until(host, first).Tokens.Length);
    }

    [Fact]
    public void A_long_prompt_is_cut_and_others_stream_on_meanwhile()
    {
        using EdgeHost host = Open();
        HostSession chat = Served.Until(host, host.OpenSessionAsync()), reader = Served.Until(host, host.OpenSessionAsync());
        var talk = Served.Collect(chat.GenerateAsync([1], new GenerationOptions { MaxTokens = 200, IgnoreEnd = true }, TestContext.Current.CancellationToken));
        for (int i = 0; i < 5; i++)
            host.Tick(TimeSpan.Zero);
        int[] prompt = [.. Enumerable.Range(0, 300).Select(t => t % 400)];
        var read = Served.Collect(reader.GenerateAsync(prompt, new GenerationOptions { MaxTokens = 5, IgnoreEnd = true }, TestContext.Current.CancellationToken));
        host.Tick(TimeSpan.Zero);
        int before = chat.TokenCount, ticks = 0;
        while (reader.State != HostSessionState.Idle && ticks < 2000)
        {
            TickReport report = host.Tick(TimeSpan.FromTicks(1));
            Assert.True(report.Steps <= 1);
            ticks++;
        }
        Assert.True(ticks > 3, $"{ticks} ticks");
        Assert.True(chat.TokenCount >= before + Math.Min(ticks, 150) - 5, $"{chat.TokenCount - before} tokens in {ticks} ticks");
        Assert.Equal(Served.Alone(host, AdapterPath.Root, prompt, 5), Served.Until(host, read).Tokens);
        Served.Until(host, talk);
    }

    [Fact]
    public async Task A_host_that_ticks_itself_streams_text()
    {
        using EdgeHost host = Open();
        using CancellationTokenSource stop = new();
        Task running = host.RunAsync(stop.Token);
        using HostSession session = await host.OpenSessionAsync("shakespeare");
        string text = "";
        await foreach (GeneratedPiece piece in session.GenerateAsync("Once upon a time", new GenerationOptions { MaxTokens = 12 }, cancellation: TestContext.Current.CancellationToken))
            text += piece.Text;
        Assert.NotEmpty(text);
        stop.Cancel();
        await running;
    }

    [Fact]
    public void A_closed_session_gives_everything_back()
    {
        using EdgeHost host = Open();
        HostSession session = Served.Until(host, host.OpenSessionAsync("holmes"));
        var generation = Served.Collect(session.GenerateAsync([1], s_twenty, TestContext.Current.CancellationToken));
        host.Tick(TimeSpan.Zero);
        session.Dispose();
        Assert.Equal(StopReason.Cancelled, Served.Until(host, generation).Stop);
        HostStats stats = Served.Until(host, host.StatsAsync());
        Assert.Equal((0, 0L), (stats.Sessions, stats.KvBytes));
        Assert.Equal(AdapterState.Resident, host.Tree.Get("holmes").State);
        Assert.Equal(HostSessionState.Closed, session.State);
    }

    // One thread: a small model gains nothing by a second, and tests share the machine.
    private static EdgeHost Open(EdgeHostOptions? options = null) => EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"), (options ?? new()) with { Threads = 1 });
}
