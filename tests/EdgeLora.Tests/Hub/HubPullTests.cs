using System.Text;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Hub;

/// <summary>Pulls from a hub on this machine: no network.</summary>
public sealed class HubPullTests : IDisposable
{
    private static readonly byte[] s_weights = [.. Enumerable.Range(0, 300_000).Select(i => (byte)(i * 31 >> 3))];

    private readonly string _cache = Directory.CreateTempSubdirectory("edgelora-hub-").FullName;
    private readonly HubServer _hub = new() { Files = { ["config.json"] = "{}"u8.ToArray(), ["sub/vocab.json"] = "{\"a\": 0}"u8.ToArray(), ["model.safetensors"] = s_weights, ["empty.json"] = [], ["photo.png"] = [1, 2, 3] }, Large = { "model.safetensors" } };

    public void Dispose()
    {
        _hub.Dispose();
        Directory.Delete(_cache, recursive: true);
    }

    private string Model => Path.Combine(_cache, "models--tiny--model");

    private string Snapshot => Path.Combine(Model, "snapshots", HubServer.Commit);

    private string Partial => Path.Combine(Model, "blobs", HubServer.Sha256(s_weights) + ".incomplete");

    private HubOptions Options => new() { CacheFolder = _cache, Endpoint = _hub.Endpoint, Retries = 1, RetryDelay = TimeSpan.FromMilliseconds(1), Timeout = TimeSpan.FromSeconds(20) };

    private Task<PulledModel> Pull(HubOptions? options = null, HubSelection? selection = null, string model = "hf:tiny/model", Action<long, long>? progress = null) =>
        HubPull.PullAsync(HubModel.Parse(model), options ?? Options, selection ?? new(), progress, TestContext.Current.CancellationToken);

    private async Task<HubException> Refused(HubErrorKind kind, HubOptions? options = null, string model = "hf:tiny/model")
    {
        HubException e = await Assert.ThrowsAsync<HubException>(() => Pull(options, model: model));
        Assert.Equal(kind, e.Kind);
        Assert.False(File.Exists(Path.Combine(Model, "refs", "main")));
        Assert.False(Directory.Exists(Path.Combine(Model, "snapshots")) && Directory.EnumerateFileSystemEntries(Path.Combine(Model, "snapshots")).Any());
        return e;
    }

    [Fact]
    public async Task A_pull_lays_a_model_as_huggingface_hub_does()
    {
        List<(long Done, long Total)> seen = [];
        PulledModel pulled = await Pull(progress: (done, total) => seen.Add((done, total)));
        Assert.Equal(Snapshot, pulled.Folder);
        Assert.Equal(Snapshot, pulled.Path);
        Assert.Equal(HubServer.Commit, pulled.Commit);
        Assert.Equal(["config.json", "empty.json", "model.safetensors", "sub/vocab.json"], pulled.Files.Order(StringComparer.Ordinal));
        Assert.Equal(s_weights.Length + 10, pulled.DownloadedBytes);
        Assert.Equal((s_weights.Length + 10, s_weights.Length + 10), seen[^1]);
        Assert.Equal(HubServer.Commit, File.ReadAllText(Path.Combine(Model, "refs", "main")));
        Assert.Equal(s_weights, File.ReadAllBytes(Path.Combine(Snapshot, "model.safetensors")));
        Assert.Equal("{\"a\": 0}", File.ReadAllText(Path.Combine(Snapshot, "sub", "vocab.json")));
        string[] blobs = [HubServer.Sha256(s_weights), HubServer.GitSum("{}"u8.ToArray()), HubServer.GitSum("{\"a\": 0}"u8.ToArray()), HubServer.GitSum([])];
        Assert.Equal(blobs.Order(StringComparer.Ordinal),
            Directory.EnumerateFiles(Path.Combine(Model, "blobs")).Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal).ToArray());
        Assert.StartsWith("Signature: 8a477f597d28d172789f06886806bc55", File.ReadAllText(Path.Combine(_cache, "CACHEDIR.TAG")));
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal($"../../blobs/{HubServer.Sha256(s_weights)}", new FileInfo(Path.Combine(Snapshot, "model.safetensors")).LinkTarget);
            Assert.StartsWith("../../../blobs/", new FileInfo(Path.Combine(Snapshot, "sub", "vocab.json")).LinkTarget);
        }
    }

    [Fact]
    public async Task A_second_pull_downloads_nothing_and_offline_finds_it()
    {
        await Pull();
        _hub.Requests.Clear();
        _hub.StorageRequests.Clear();
        Assert.Equal(0, (await Pull()).DownloadedBytes);
        Assert.Equal($"/api/models/tiny/model/revision/main?blobs=true", Assert.Single(_hub.Requests).Path);
        PulledModel offline = await Pull(Options with { Offline = true });
        Assert.Equal(Snapshot, offline.Folder);
        Assert.Equal(4, offline.Files.Count);
        Assert.Single(_hub.Requests);
    }

    [Fact]
    public async Task A_file_that_was_lost_from_the_cache_is_pulled_again()
    {
        await Pull();
        File.Delete(Path.Combine(Model, "blobs", HubServer.Sha256(s_weights)));
        Assert.Equal(s_weights.Length, (await Pull()).DownloadedBytes);
        Assert.Equal(s_weights, File.ReadAllBytes(Path.Combine(Snapshot, "model.safetensors")));
    }

    [Fact]
    public async Task A_cut_connection_is_resumed_where_it_stopped()
    {
        _hub.Cut("model.safetensors", 100_000);
        PulledModel pulled = await Pull();
        Assert.Equal(s_weights, File.ReadAllBytes(Path.Combine(Snapshot, "model.safetensors")));
        Assert.Equal(["", "bytes=100000-"], _hub.StorageRequests.Select(r => r.Range ?? ""));
        Assert.Equal(s_weights.Length + 10, pulled.DownloadedBytes);
    }

    [Fact]
    public async Task A_pull_that_was_cut_for_good_leaves_no_snapshot_and_the_next_one_goes_on()
    {
        _hub.Cut("model.safetensors", 100_000, times: 1);
        HubException e = await Refused(HubErrorKind.Unreachable, Options with { Retries = 0 });
        Assert.Contains("what came is kept", e.Message);
        Assert.Equal(100_000, new FileInfo(Partial).Length);
        _hub.StorageRequests.Clear();
        await Pull();
        Assert.Equal("bytes=100000-", Assert.Single(_hub.StorageRequests).Range);
        Assert.Equal(s_weights, File.ReadAllBytes(Path.Combine(Snapshot, "model.safetensors")));
        Assert.False(File.Exists(Partial));
    }

    [Fact]
    public async Task A_part_that_was_spoilt_is_dropped_and_the_file_downloaded_whole()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Partial)!);
        File.WriteAllBytes(Partial, new byte[5000]);
        long last = 0;
        await Pull(progress: (done, _) => last = done);
        Assert.Equal(["bytes=5000-", ""], _hub.StorageRequests.Select(r => r.Range ?? ""));
        Assert.Equal(s_weights, File.ReadAllBytes(Path.Combine(Snapshot, "model.safetensors")));
        Assert.Equal(s_weights.Length + 10, last);
    }

    [Fact]
    public async Task A_server_without_ranges_sends_it_all_again()
    {
        _hub.Ranges = false;
        _hub.Cut("model.safetensors", 100_000);
        await Pull();
        Assert.Equal(s_weights, File.ReadAllBytes(Path.Combine(Snapshot, "model.safetensors")));
    }

    [Theory]
    [InlineData("model.safetensors", "sha256: expected")]
    [InlineData("config.json", "git's sha1: expected")]
    public async Task A_file_with_another_checksum_is_refused_and_not_kept(string name, string says)
    {
        _hub.Sent = (n, bytes) => n == name ? [.. bytes[..^1], (byte)(bytes[^1] ^ 1)] : bytes;
        HubException e = await Refused(HubErrorKind.Corrupt);
        Assert.Contains(name, e.Message);
        Assert.Contains(says, e.Message);
        string blob = Path.Combine(Model, "blobs", name == "config.json" ? HubServer.GitSum(_hub.Files[name]) : HubServer.Sha256(_hub.Files[name]));
        Assert.False(File.Exists(blob) || File.Exists(blob + ".incomplete"));
    }

    [Fact]
    public async Task A_file_that_is_too_long_is_refused()
    {
        _hub.Sent = (n, bytes) => n == "model.safetensors" ? [.. bytes, 0] : bytes;
        Assert.Contains("found more", (await Refused(HubErrorKind.Corrupt)).Message);
    }

    [Fact]
    public async Task The_token_goes_to_the_hub_and_never_to_the_storage()
    {
        using HubServer hub = new() { Token = "hf_secret", Files = { ["model.safetensors"] = s_weights }, Large = { "model.safetensors" } };
        await Pull(Options with { Endpoint = hub.Endpoint, Token = "hf_secret" });
        Assert.All(hub.Requests, r => Assert.Equal("Bearer hf_secret", r.Authorization));
        Assert.Null(Assert.Single(hub.StorageRequests).Authorization);
    }

    [Fact]
    public async Task A_private_model_says_how_to_give_a_token_and_shows_none()
    {
        using HubServer hub = new() { Token = "hf_secret", Files = { ["config.json"] = [1] } };
        HubException without = await Refused(HubErrorKind.Denied, Options with { Endpoint = hub.Endpoint });
        Assert.Contains("HF_TOKEN", without.Message);
        Assert.Contains("Invalid username or password.", without.Message);
        HubException wrong = await Refused(HubErrorKind.Denied, Options with { Endpoint = hub.Endpoint, Token = "hf_other" });
        Assert.Contains("the token given may not read it", wrong.Message);
        Assert.DoesNotContain("hf_other", wrong.ToString());
    }

    [Fact]
    public async Task A_gated_model_names_the_page_where_its_terms_are_accepted()
    {
        _hub.Refusal = (403, "GatedRepo");
        Assert.Contains($"accept its terms at {_hub.Endpoint}/tiny/model", (await Refused(HubErrorKind.Denied)).Message);
    }

    [Fact]
    public async Task What_is_not_there_is_named()
    {
        Assert.Contains("no revision 'v9'", (await Refused(HubErrorKind.NotFound, model: "hf:tiny/model@v9")).Message);
        Assert.Contains("no such file", (await Refused(HubErrorKind.NotFound, model: "hf:tiny/model:other.gguf")).Message);
        Assert.Contains("there is no such model", (await Refused(HubErrorKind.Denied, model: "hf:tiny/other")).Message);
        _hub.Refusal = (503, "");
        Assert.Contains("answers 503", (await Refused(HubErrorKind.Unreachable)).Message);
    }

    [Fact]
    public async Task Without_a_network_the_hub_is_named_and_offline_the_variable()
    {
        _hub.Dispose();
        Assert.Contains("cannot be reached", (await Refused(HubErrorKind.Unreachable)).Message);
        Assert.Contains("HF_HUB_OFFLINE", (await Refused(HubErrorKind.Offline, Options with { Offline = true })).Message);
        HubException e = Assert.Throws<HubException>(() => HubCache.Resolve("hf:tiny/model", Options));
        Assert.Contains("edgelora pull hf:tiny/model", e.Message);
    }

    [Theory]
    [InlineData("../evil")]
    [InlineData("a/../../evil")]
    [InlineData("/etc/evil")]
    [InlineData("a\\..\\evil")]
    [InlineData("C:/evil")]
    [InlineData("a//b")]
    [InlineData("nul")]
    [InlineData("a\u0000b")]
    public async Task A_name_that_leaves_the_folder_is_refused_with_all_that_is_asked_for(string name)
    {
        _hub.Files[name] = [1];
        HubException e = await Refused(HubErrorKind.Unsafe);
        Assert.Contains("could leave", e.Message);
        Assert.Equal(0, _hub.Downloads());
    }

    [Theory]
    [InlineData("../../evil")]
    [InlineData("..")]
    [InlineData("a/b")]
    [InlineData("")]
    public async Task An_ETag_that_is_no_file_s_name_is_refused(string etag)
    {
        _hub.Etag = etag;
        Assert.Contains("ETag", (await Refused(HubErrorKind.Unsafe)).Message);
    }

    [Fact]
    public async Task A_full_disk_is_told_before_anything_is_downloaded()
    {
        HubException e = await Refused(HubErrorKind.DiskFull, Options with { FreeBytes = _ => 1000 });
        Assert.Contains("needs 300,010 bytes", e.Message);
        Assert.Equal(0, _hub.Downloads());
    }

    [Fact]
    public async Task Two_pulls_at_once_download_every_file_once()
    {
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => Pull())));
        Assert.Equal(1, _hub.Downloads("model.safetensors"));
        Assert.Equal(1, _hub.Downloads("config.json"));
        Assert.Equal(s_weights, File.ReadAllBytes(Path.Combine(Snapshot, "model.safetensors")));
        Assert.Equal(Snapshot, Assert.Single(Directory.EnumerateFileSystemEntries(Path.Combine(Model, "snapshots"))));
    }

    [Fact]
    public async Task A_new_commit_that_cannot_be_pulled_leaves_the_revision_at_the_old_one()
    {
        await Pull();
        string next = new('a', 40);
        _hub.Revisions["main"] = next;
        _hub.Files["model.safetensors"] = [.. s_weights.Reverse()];
        _hub.Cut("model.safetensors", 10, times: 5);
        await Assert.ThrowsAsync<HubException>(() => Pull(Options with { Retries = 0 }));
        Assert.Equal(Snapshot, HubCache.Resolve("hf:tiny/model", Options));
        Assert.False(Directory.Exists(Path.Combine(Model, "snapshots", next)));
        _hub.Cut("model.safetensors", int.MaxValue, times: 5);
        await Pull();
        Assert.Equal(Path.Combine(Model, "snapshots", next), HubCache.Resolve("hf:tiny/model", Options));
        Assert.Equal(Snapshot, HubCache.Resolve($"hf:tiny/model@{HubServer.Commit}", Options));
    }

    [Fact]
    public async Task Without_links_the_files_themselves_lie_in_the_snapshot()
    {
        _hub.Files["same.json"] = "{}"u8.ToArray();
        HubOptions options = Options with { Symlinks = false };
        await Pull(options);
        Assert.All(["config.json", "same.json", "model.safetensors"], name => Assert.Null(new FileInfo(Path.Combine(Snapshot, name)).LinkTarget));
        Assert.Equal("{}", File.ReadAllText(Path.Combine(Snapshot, "same.json")));
        Assert.Equal(0, (await Pull(options)).DownloadedBytes);
    }

    [Fact]
    public async Task A_renamed_model_s_redirect_on_the_hub_is_followed_with_the_token()
    {
        using HubServer hub = new() { OldId = "tiny/older", Token = "t", Files = { ["model.safetensors"] = s_weights, ["config.json"] = "{}"u8.ToArray() }, Large = { "model.safetensors" } };
        PulledModel pulled = await Pull(Options with { Endpoint = hub.Endpoint, Token = "t" }, model: "hf:tiny/older");
        Assert.Equal(s_weights, File.ReadAllBytes(Path.Combine(pulled.Folder, "model.safetensors")));
        Assert.Contains("models--tiny--older", pulled.Folder);
        Assert.All(hub.Requests, r => Assert.Equal("Bearer t", r.Authorization));
        Assert.Null(Assert.Single(hub.StorageRequests).Authorization);
    }
}
