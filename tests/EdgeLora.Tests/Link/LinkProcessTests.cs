using System.Diagnostics;
using System.Text.Json;
using EdgeLora.Cli;
using EdgeLora.Tests.Adapters;
using Xunit;

namespace EdgeLora.Tests.Link;

/// <summary><c>serve</c> in a process of its own, <c>push</c> and <c>attach</c> from here.</summary>
public sealed class LinkProcessTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-link").FullName;
    private readonly RandomTree _tree = new(91), _other = new(92);
    private readonly Process _host;
    private readonly string _socket;

    public LinkProcessTests()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "ends the host by a Unix signal");
        _tree.Add("", "a");
        ProcessStartInfo start = new("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])[typeof(EdgeLoraCommand).Assembly.Location, "serve", _tree.Folder, "--threads", "1", "--demo-sessions", "2", "--json"])
            start.ArgumentList.Add(argument);
        start.Environment[LinkEndpoints.FolderVariable] = Path.Combine(_folder, "link");
        // Its temporary files, pushed adapters among them.
        start.Environment["TMPDIR"] = Directory.CreateDirectory(Path.Combine(_folder, "tmp")).FullName;
        _host = Process.Start(start)!;
        _host.ErrorDataReceived += (_, _) => { };
        _host.BeginErrorReadLine();
        using JsonDocument said = JsonDocument.Parse(_host.StandardOutput.ReadLine() ?? throw new InvalidOperationException("serve said nothing"));
        _socket = said.RootElement.GetProperty("endpoints")[0].GetString()!;
        Assert.Equal(_host.Id, said.RootElement.GetProperty("processId").GetInt32());
    }

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        if (!_host.HasExited)
            _host.Kill();
        _host.Dispose();
        _tree.Dispose();
        _other.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Push_and_attach_see_and_change_a_host_in_another_process_and_SIGTERM_ends_it_cleanly()
    {
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(Path.GetDirectoryName(_socket)!));
        string guest = Path.Combine(_other.Folder, _other.Add("", "guest"));
        JsonElement pushed = Done("push", guest, "--as", "a/guest", "--json");
        Assert.Equal(("a/guest", 0), (pushed.GetProperty("node").GetString(), pushed.GetProperty("generation").GetInt32()));
        _other.Add("", "guest");
        Assert.Equal(1, Done("push", guest, "--as", "a/guest", "--json").GetProperty("generation").GetInt32());

        string weights = Path.Combine(guest, "adapter_model.safetensors");
        File.WriteAllBytes(weights, File.ReadAllBytes(weights)[..^50]);
        (int code, string output, string error) = Run("push", guest, "--as", "a/guest");
        Assert.Equal((1, ""), (code, output));
        Assert.Contains("adapter_model.safetensors", error);
        Assert.Contains("guest", error);
        Assert.Equal(1, Run("push", guest, "--as", "a/guest", "--new").Code);

        JsonElement node = Done("attach", "list", "--json").GetProperty("nodes").EnumerateArray().Single(n => n.GetProperty("path").GetString() == "a/guest");
        Assert.Equal(1, node.GetProperty("generation").GetInt32());
        Assert.NotEqual(0, node.GetProperty("faults").GetArrayLength());

        Assert.Equal(2, Done("attach", "switch", "all", "a/guest", "--json").GetProperty("switched").GetInt32());
        Assert.All(Done("attach", "sessions", "--json").GetProperty("sessions").EnumerateArray(), s => Assert.Equal("a/guest", s.GetProperty("node").GetString()));
        (code, output, error) = Run("attach", "--once");
        Assert.Equal((0, ""), (code, error));
        foreach (string shown in (string[])["guest", "tokens/s", "on the device", "Reloaded a/guest #1", "Faulted a/guest #1"])
            Assert.Contains(shown, output);
        JsonElement all = Done("attach", "--json");
        Assert.Equal(["discovered", "staged", "resident", "reloaded", "faulted", "activated"],
            all.GetProperty("events").EnumerateArray().Where(e => e.GetProperty("node").GetString() == "a/guest").Select(e => e.GetProperty("event").GetString()).Distinct());
        Assert.True(all.GetProperty("stats").GetProperty("newTokens").GetInt64() > 0);
        Assert.Equal((1, ""), (Run("attach", "switch", "77", "a").Code, Run("attach", "switch", "77", "a").Output));
        Assert.Equal(2, Run("attach", "switch", "some", "a").Code);

        // SIGTERM, as a service manager or a shell sends it.
        using (Process kill = Process.Start("kill", ["-TERM", _host.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]))
            kill.WaitForExit();
        Assert.True(_host.WaitForExit(60_000));
        Assert.Equal(0, _host.ExitCode);
        Assert.False(File.Exists(_socket));
        Assert.Empty(Directory.GetDirectories(Path.Combine(_folder, "tmp"), "edgelora-push-*"));
        Assert.Equal(1, Run("attach", "list").Code);
    }

    [Fact]
    public async Task A_host_that_is_killed_ends_its_tails_and_its_socket_is_dropped()
    {
        using LinkClient client = await LinkClient.ConnectAsync(new(LinkTransport.UnixSocket, _socket), cancellation: Cancelled);
        await using IAsyncEnumerator<LinkNews> news = client.TailAsync(ticks: TimeSpan.FromMilliseconds(50), cancellation: Cancelled).GetAsyncEnumerator(Cancelled);
        Assert.True(await news.MoveNextAsync());
        _host.Kill();
        await _host.WaitForExitAsync(Cancelled);
        LinkException gone = await Assert.ThrowsAsync<LinkException>(async () =>
        {
            while (await news.MoveNextAsync())
            {
            }
        });
        Assert.Equal(LinkErrorKind.Gone, gone.Kind);
        Assert.True(File.Exists(_socket));
        // A process of its own: the variable is a process's.
        ProcessStartInfo start = new("dotnet", [typeof(EdgeLoraCommand).Assembly.Location, "attach", "list"]) { RedirectStandardError = true };
        start.Environment[LinkEndpoints.FolderVariable] = Path.GetDirectoryName(_socket);
        using Process attach = Process.Start(start)!;
        Assert.Contains("no host listens here", await attach.StandardError.ReadToEndAsync(Cancelled));
        await attach.WaitForExitAsync(Cancelled);
        Assert.Equal(1, attach.ExitCode);
        Assert.False(File.Exists(_socket));
    }

    private JsonElement Done(params string[] args)
    {
        (int code, string output, string error) = Run(args);
        Assert.Equal((0, ""), (code, error));
        using JsonDocument document = JsonDocument.Parse(output);
        return document.RootElement.Clone();
    }

    private (int Code, string Output, string Error) Run(params string[] args)
    {
        StringWriter output = new(), error = new();
        int code = EdgeLoraCommand.Invoke([.. args, "--to", _socket], output, error);
        return (code, output.ToString(), error.ToString());
    }
}
