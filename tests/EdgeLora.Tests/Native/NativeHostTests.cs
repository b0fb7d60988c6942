using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using EdgeLora.Models;
using EdgeLora.Native;
using EdgeLora.Tests.Adapters;
using Xunit;

namespace EdgeLora.Tests.Native;

/// <summary>The C interface, called through its exports.</summary>
public sealed unsafe class NativeHostTests
{
    private const string Prompt = "<|endoftext|>Once upon a time";

    // What the callback was told; the tests of a class take turns.
    private static readonly StringBuilder s_told = new();
    private static int s_reason, s_insideClose, s_insideTick;
    private static ulong s_host;

    [Fact]
    public void A_generation_that_is_read_says_what_a_session_alone_says()
    {
        using CHost host = new();
        ulong session = host.Open("shakespeare/kings");
        CHost.Ok(CHost.Generate(session, Prompt, 24));
        Assert.Equal((int)Status.State, CHost.Generate(session, "twice", 4));
        Assert.Contains("generates already", CHost.Error);
        (string text, StopReason reason) = host.ReadAll(session);
        Assert.Equal((Alone("shakespeare/kings", 24), StopReason.MaxTokens), (text, reason));
        Assert.Equal((int)Status.Ok, CHost.Read(session, 16, out string more, out bool finished, out _));
        Assert.Equal(("", true), (more, finished));
        // The same session elsewhere, from the beginning.
        CHost.Ok(CHost.Switch(session, "holmes"));
        Assert.Equal("holmes", CHost.Text(host.Info(session).Node));
        CHost.Ok(CHost.Truncate(session, 0));
        CHost.Ok(CHost.Generate(session, Prompt, 24));
        Assert.Equal(Alone("holmes", 24), host.ReadAll(session).Text);
    }

    [Fact]
    public void A_host_that_runs_by_itself_calls_back_and_nothing_waits()
    {
        using CHost host = new();
        CHost.Ok(host.Run(2000));
        Assert.Equal((int)Status.State, host.TickStatus());
        ulong first = host.Open(""), second = host.Open("assistant");
        CHost.Ok(CHost.Generate(second, Prompt, 20));
        Begin(host, first, 20);
        Assert.Equal(Alone("assistant", 20), host.ReadAll(second, tick: false).Text);
        Told();
        Assert.Equal(Alone("", 20), s_told.ToString());
        Assert.Equal((int)StopReason.MaxTokens, s_reason);
        // From within a callback these two would wait for themselves.
        Assert.Equal(((int)Status.State, (int)Status.State), (s_insideClose, s_insideTick));
        Assert.Equal((int)Status.State, CHost.Read(first, 16, out _, out _, out _));
        CHost.Ok(host.Stop());
        CHost.Ok(host.Stop());
        host.Tick();
    }

    [Fact]
    public void Callbacks_come_within_a_tick_and_a_cancellation_ends_them()
    {
        using CHost host = new();
        ulong session = host.Open("math");
        Begin(host, session, 400);
        while (s_told.Length == 0)
            host.Tick();
        CHost.Ok(CHost.Cancel(session));
        for (int i = 0; i < 5 && s_reason == 0; i++)
            host.Tick();
        Assert.Equal((int)StopReason.Cancelled, s_reason);
        Assert.Equal((int)Status.State, s_insideTick);
        string told = s_told.ToString();
        Assert.StartsWith(told, Alone("math", 400));
        Begin(host, session, 400);
        CHost.Ok(CHost.CloseSession(session));
        host.Tick();
        Assert.Equal("", s_told.ToString());
    }

    [Fact]
    public void A_stale_handle_is_an_error_everywhere()
    {
        CHost host = new();
        ulong session = host.Open("");
        ulong other = host.Open("");
        CHost.Ok(CHost.CloseSession(session));
        Assert.Equal((int)Status.Handle, CHost.CloseSession(session));
        // Its place is taken again; the old number stays stale.
        ulong next = host.Open("");
        Assert.NotEqual(session, next);
        Assert.Equal((int)Status.Handle, CHost.Generate(session, Prompt, 1));
        Assert.Contains($"0x{session:x}", CHost.Error);
        Assert.Equal((int)Status.Handle, CHost.Cancel(host.Handle));
        Assert.Equal((int)Status.Handle, CHost.Close(next));
        CHost.Ok(CHost.Close(host.Handle));
        Assert.All([other, next], s => Assert.Equal((int)Status.Handle, CHost.Read(s, 16, out _, out _, out _)));
        Assert.Equal((int)Status.Handle, host.TickStatus());
        Assert.Equal((int)Status.Handle, CHost.Close(host.Handle));
        Assert.Equal((int)Status.Handle, CHost.Close(0));
    }

    [Fact]
    public void Handles_are_counted_and_all_go_with_their_host()
    {
        int before = CHost.LiveHandles;
        using (CHost host = new())
        {
            host.Open("");
            CHost.Ok(CHost.Generate(host.Open("math"), Prompt, 50));
            host.Tick();
            Assert.Equal(before + 3, CHost.LiveHandles);
        }
        Assert.Equal(before, CHost.LiveHandles);
    }

    [Fact]
    public void Wrong_arguments_are_named_and_nothing_crosses()
    {
        ulong handle = 1;
        OpenOptionsLayout options = new() { Size = 8 };
        Assert.Equal((int)Status.Argument, ((delegate* unmanaged[Cdecl]<OpenOptionsLayout*, ulong*, int>)&HostExports.Open)(&options, &handle));
        Assert.Equal($"options: size: expected {sizeof(OpenOptionsLayout)}, found 8", CHost.Error);
        Assert.Equal(0UL, handle);
        options.Size = (uint)sizeof(OpenOptionsLayout);
        Assert.Equal((int)Status.Argument, ((delegate* unmanaged[Cdecl]<OpenOptionsLayout*, ulong*, int>)&HostExports.Open)(&options, &handle));
        Assert.Equal("tree: expected a text, found NULL", CHost.Error);
        Assert.Equal((int)Status.Argument, ((delegate* unmanaged[Cdecl]<OpenOptionsLayout*, ulong*, int>)&HostExports.Open)(null, null));
        using CHost host = new();
        Assert.Equal((int)Status.NotFound, host.OpenStatus("nowhere", out _));
        Assert.Contains("no node 'nowhere'; there are: ", CHost.Error);
        Assert.Equal((int)Status.Argument, host.TickStatus(-1));
        ulong session = host.Open("");
        Assert.Equal((int)Status.State, CHost.Generate(session, "", 4));
        Assert.Equal((int)Status.State, CHost.Read(session, 16, out _, out _, out _));
        CHost.Ok(CHost.Generate(session, Prompt, 4));
        Assert.Equal((int)Status.Argument, CHost.Read(session, 4, out _, out _, out _));
        byte[] broken = [0xC3, 0x28, 0];
        fixed (byte* text = broken)
            Assert.Equal((int)Status.Argument, ((delegate* unmanaged[Cdecl]<ulong, byte*, GenerateOptionsLayout*, int>)&SessionExports.Generate)(session, text, null));
        Assert.Equal("prompt: is not UTF-8", CHost.Error);
    }

    [Fact]
    public void An_adapter_is_mounted_reloaded_refused_and_unmounted()
    {
        using RandomTree tree = new(71);
        tree.Add("", "a");
        string elsewhere = Path.Combine(tree.Folder, "a");
        using CHost host = new(tree.Folder);
        CHost.Ok(host.Mount(elsewhere, "", "b", wait: true));
        ulong session = host.Open("b");
        NodeLayout node = host.Node("b");
        Assert.Equal(((int)AdapterState.Active, 0, 2, "LoRA"), (node.State, node.Generation, node.MaxRank, CHost.Text(node.Form)));
        tree.Add("", "a");
        CHost.Ok(host.Reload("b", wait: true));
        Assert.Equal((1, 0), (host.Node("b").Generation, host.Info(session).NodeGeneration));
        File.WriteAllText(Path.Combine(elsewhere, "adapter_config.json"), "{}");
        Assert.Equal((int)Status.Refused, host.Reload("b", wait: true));
        Assert.Contains("adapter_config.json", CHost.Error);
        Assert.Equal((int)Status.Argument, host.Mount(elsewhere, "", "b", wait: true));
        // Without waiting the same comes as events.
        CHost.Ok(host.Mount(elsewhere, "", "b", wait: false));
        CHost.Ok(host.Mount(elsewhere, "", "c", wait: false));
        List<(AdapterEventKind Kind, string Node, string Faults)> events = [];
        DateTime end = DateTime.UtcNow.AddSeconds(60);
        while (!events.Exists(e => e is { Kind: AdapterEventKind.Unmounted, Node: "c" }) && DateTime.UtcNow < end)
        {
            host.Tick();
            while (host.NextEvent() is { } happened)
                events.Add(happened);
        }
        Assert.Contains(events, e => e is { Kind: AdapterEventKind.Reloaded, Node: "b" });
        Assert.Contains(events, e => e is { Kind: AdapterEventKind.Faulted, Node: "b" } && e.Faults.Contains("mounted already"));
        Assert.Contains(events, e => e is { Kind: AdapterEventKind.Faulted, Node: "c" } && e.Faults.Length > 0);
        CHost.Ok(host.Unmount("b"));
        Assert.Equal((int)Status.NotFound, host.Unmount("b"));
    }

    [Fact]
    public void Texts_become_tokens_and_texts_again()
    {
        using CHost host = new();
        const string text = "Once upon a time – déjà vu";
        nuint count, length;
        int[] tokens = new int[64];
        byte[] buffer = new byte[64];
        fixed (byte* bytes = CHost.Bytes(text), written = buffer)
        fixed (int* ids = tokens)
        {
            delegate* unmanaged[Cdecl]<ulong, byte*, int, int*, nuint, nuint*, int> tokenize = &TextExports.Tokenize;
            CHost.Ok(tokenize(host.Handle, bytes, 0, null, 0, &count));
            Assert.Equal((int)Status.Buffer, tokenize(host.Handle, bytes, 0, ids, count - 1, &count));
            CHost.Ok(tokenize(host.Handle, bytes, 0, ids, 64, &count));
            delegate* unmanaged[Cdecl]<ulong, int*, nuint, int, byte*, nuint, nuint*, int> detokenize = &TextExports.Detokenize;
            Assert.Equal((int)Status.Buffer, detokenize(host.Handle, ids, count, 1, written, 8, &length));
            CHost.Ok(detokenize(host.Handle, ids, count, 1, written, 64, &length));
            Assert.Equal(text, CHost.Text(written));
            tokens[0] = 1 << 20;
            Assert.Equal((int)Status.Argument, detokenize(host.Handle, ids, count, 1, written, 64, &length));
        }
        Assert.Equal((nuint)System.Text.Encoding.UTF8.GetByteCount(text), length);
        using EdgeHost managed = EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"));
        Assert.Equal(managed.Tokenizer!.EncodeIds(text, addSpecialTokens: false)[1..], tokens[1..(int)count]);
    }

    [Fact]
    public void A_host_may_be_closed_while_other_threads_are_inside()
    {
        for (int round = 0; round < 4; round++)
        {
            CHost host = new();
            if (round % 2 == 0)
                CHost.Ok(host.Run(1000));
            using Barrier together = new(4);
            int[] wrong = new int[3];
            Thread[] threads = [.. Enumerable.Range(0, 3).Select(i => new Thread(() =>
            {
                together.SignalAndWait();
                for (int n = 0; n < 10_000; n++)
                {
                    int status = host.OpenStatus("math", out ulong session);
                    if (status == (int)Status.Ok)
                        status = CHost.Generate(session, Prompt, 4);
                    if (status == (int)Status.Handle)
                        return;
                    wrong[i] += status == (int)Status.Ok ? 0 : 1;
                }
            }))];
            Array.ForEach(threads, t => t.Start());
            together.SignalAndWait();
            Thread.Sleep(10 * round);
            CHost.Ok(CHost.Close(host.Handle));
            Array.ForEach(threads, t => t.Join());
            Assert.Equal([0, 0, 0], wrong);
        }
    }

    private static void Begin(CHost host, ulong session, int tokens)
    {
        s_host = host.Handle;
        s_told.Clear();
        s_reason = 0;
        GenerateOptionsLayout options = new() { Size = (uint)sizeof(GenerateOptionsLayout), MaxTokens = tokens, IgnoreEnd = 1 };
        fixed (byte* text = CHost.Bytes(Prompt))
            CHost.Ok(((delegate* unmanaged[Cdecl]<ulong, byte*, GenerateOptionsLayout*, delegate* unmanaged[Cdecl]<void*, ulong, int, byte*, nuint, int, void>, void*, int>)&SessionExports.GenerateCallback)(
                session, text, &options, &OnPiece, (void*)42));
    }

    private static void Told()
    {
        DateTime end = DateTime.UtcNow.AddSeconds(180);
        while (Volatile.Read(ref s_reason) == 0 && DateTime.UtcNow < end)
            Thread.Sleep(1);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnPiece(void* user, ulong session, int token, byte* text, nuint length, int reason)
    {
        s_told.Append(user == (void*)42 ? System.Text.Encoding.UTF8.GetString(text, (int)length) : "a wrong user pointer");
        s_insideClose = CHost.Close(s_host);
        s_insideTick = ((delegate* unmanaged[Cdecl]<ulong, long, TickReportLayout*, int>)&HostExports.Tick)(s_host, 1000, null);
        Volatile.Write(ref s_reason, reason);
    }

    private static string Alone(string node, int tokens)
    {
        using EdgeHost host = EdgeHost.Open(Path.Combine(SharedFolder.Repository, "adapters", "nano"), new EdgeHostOptions { Threads = 1 });
        using Session session = host.CreateSession(host.Enter(node));
        session.Append(host.Tokenizer!.EncodeIds(Prompt, addSpecialTokens: false));
        GenerationOptions options = new() { MaxTokens = tokens, IgnoreEnd = true };
        Generator generator = new(host.Model, session, options);
        GeneratedText text = new(host.Tokenizer, options);
        StringBuilder all = new();
        while (generator.Next(out int token))
            all.Append(text.Push(token, generator));
        return all.Append(text.Flush()).ToString();
    }
}
