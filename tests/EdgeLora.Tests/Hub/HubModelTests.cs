using System.Text.Json.Nodes;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Hub;

/// <summary>Names, patterns, the choice of files, and the environment, without a hub.</summary>
public sealed class HubModelTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-hub-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("hf:a/b", "a/b", "main", null)]
    [InlineData("hf://a/b", "a/b", "main", null)]
    [InlineData("hf:gpt2", "gpt2", "main", null)]
    [InlineData("hf:Qwen/Qwen3-0.6B@v1.0", "Qwen/Qwen3-0.6B", "v1.0", null)]
    [InlineData("hf:a/b@refs/pr/1", "a/b", "refs/pr/1", null)]
    [InlineData("hf:a/b:sub/x-Q4_K_M.gguf", "a/b", "main", "sub/x-Q4_K_M.gguf")]
    [InlineData("hf:a/b@dev:x.gguf", "a/b", "dev", "x.gguf")]
    public void A_model_s_name_is_taken_apart(string text, string id, string revision, string? file)
    {
        HubModel model = HubModel.Parse(text);
        Assert.Equal((id, revision, file), (model.Id, model.Revision, model.File));
        Assert.Equal(model, HubModel.Parse(model.ToString()));
    }

    [Theory]
    [InlineData("hf:")]
    [InlineData("hf:a/b/c")]
    [InlineData("hf:../b")]
    [InlineData("hf:a/..")]
    [InlineData("hf:a--b/c")]
    [InlineData("hf:a/b.git")]
    [InlineData("hf:a/b@")]
    [InlineData("hf:a/b@../../x")]
    [InlineData("hf:a/b:")]
    [InlineData("hf:a/b:/etc/passwd")]
    [InlineData("hf:a/b:../x")]
    [InlineData("hf:-a/b")]
    [InlineData("hf:a/b\n")]
    public void What_is_no_model_s_name_is_refused(string text) => Assert.Contains(text, Assert.Throws<ArgumentException>(() => HubModel.Parse(text)).Message);

    // Python: fnmatch.fnmatchcase(path, pattern).
    [Theory]
    [InlineData("*.json", "a/b.json", true)]
    [InlineData("*.json", "a.jsonl", false)]
    [InlineData("a/*", "a/b/c", true)]
    [InlineData("a/", "a/b/c", true)]
    [InlineData("?.bin", "ab.bin", false)]
    [InlineData("[a-c]x", "bx", true)]
    [InlineData("[!a-c]x", "bx", false)]
    [InlineData("[]]x", "]x", true)]
    [InlineData("[x", "[x", true)]
    [InlineData("*Q4_K_M*", "model-Q4_K_M.gguf", true)]
    [InlineData("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false)]
    [InlineData("A*", "abc", false)]
    [InlineData("", "", true)]
    public void Patterns_are_those_of_fnmatch(string pattern, string path, bool fits) => Assert.Equal(fits, FileGlob.Matches(pattern, path));

    [Theory]
    [InlineData("config.json,model.safetensors,pytorch_model.bin,tf_model.h5,README.md,tokenizer.json", "config.json,model.safetensors,tokenizer.json")]
    [InlineData("config.json,model-00001-of-00002.safetensors,model-00002-of-00002.safetensors,consolidated.safetensors,model.safetensors.index.json,tokenizer.model", "config.json,model-00001-of-00002.safetensors,model-00002-of-00002.safetensors,model.safetensors.index.json,tokenizer.model")]
    [InlineData("params.json,consolidated.safetensors,tekken.json", "params.json,consolidated.safetensors,tekken.json")]
    [InlineData("config.json,model.safetensors,model-Q8_0.gguf", "config.json,model.safetensors")]
    [InlineData("x-Q8_0.gguf,README.md", "x-Q8_0.gguf")]
    [InlineData("x-00001-of-00002.gguf,x-00002-of-00002.gguf", "x-00001-of-00002.gguf,x-00002-of-00002.gguf")]
    [InlineData("adapter_config.json,adapter_model.bin,training_args.bin,optimizer.pt", "adapter_config.json,adapter_model.bin")]
    [InlineData("chat_template.jinja,merges.txt,vocab.txt,a.tiktoken,LICENSE,model.safetensors,onnx/model.onnx", "chat_template.jinja,merges.txt,vocab.txt,a.tiktoken,LICENSE,model.safetensors")]
    public void By_default_what_can_be_used_is_pulled_and_weights_of_one_kind(string files, string taken) =>
        Assert.Equal(taken.Split(','), List(files).Select(HubModel.Parse("hf:a/b"), new()).Select(f => f.Name));

    [Fact]
    public void Several_GGUF_models_ask_for_a_choice()
    {
        HubFiles files = List("x-Q4_0.gguf,x-Q8_0-00001-of-00002.gguf,x-Q8_0-00002-of-00002.gguf,config.json");
        Assert.Contains("hf:a/b:x-Q4_0.gguf", Assert.Throws<HubException>(() => files.Select(HubModel.Parse("hf:a/b"), new())).Message);
        Assert.Equal(["x-Q8_0-00001-of-00002.gguf", "x-Q8_0-00002-of-00002.gguf"], files.Select(HubModel.Parse("hf:a/b:x-Q8_0-00001-of-00002.gguf"), new()).Select(f => f.Name));
        Assert.Equal(["x-Q4_0.gguf"], files.Select(HubModel.Parse("hf:a/b"), new() { Include = ["*.gguf"], Exclude = ["*Q8*"] }).Select(f => f.Name));
        Assert.Equal(["x-Q4_0.gguf", "config.json"], files.Select(HubModel.Parse("hf:a/b"), new() { Exclude = ["*Q8*"] }).Select(f => f.Name));
        Assert.Contains("fits --include", Assert.Throws<HubException>(() => files.Select(HubModel.Parse("hf:a/b"), new() { Include = ["*.pt"] })).Message);
    }

    [Fact]
    public void A_snapshot_of_one_GGUF_model_is_that_file_and_of_several_asks()
    {
        HubOptions options = new() { CacheFolder = _folder };
        string commit = new('b', 40), snapshot = Path.Combine(_folder, "models--a--b", "snapshots", commit);
        Directory.CreateDirectory(snapshot);
        File.WriteAllText(Path.Combine(snapshot, "config.json"), "{}");
        File.WriteAllText(Path.Combine(snapshot, "x-00001-of-00002.gguf"), "");
        File.WriteAllText(Path.Combine(snapshot, "x-00002-of-00002.gguf"), "");
        Assert.Equal(Path.Combine(snapshot, "x-00001-of-00002.gguf"), HubCache.Resolve($"hf:a/b@{commit}", options));
        File.WriteAllText(Path.Combine(snapshot, "y.gguf"), "");
        Assert.Contains($"hf:a/b@{commit}:y.gguf", Assert.Throws<ArgumentException>(() => HubCache.Resolve($"hf:a/b@{commit}", options)).Message);
        Assert.Equal(Path.Combine(snapshot, "y.gguf"), HubCache.Resolve($"hf:a/b@{commit}:y.gguf", options));
        Assert.Throws<HubException>(() => HubCache.Resolve($"hf:a/b@{commit}:z.gguf", options));
        File.WriteAllText(Path.Combine(snapshot, "model.safetensors"), "");
        Assert.Equal(snapshot, HubCache.Resolve($"hf:a/b@{commit}", options));
        Assert.Equal("some/path", HubCache.Resolve("some/path", options));
    }

    [Fact]
    public void The_environment_is_read_as_huggingface_hub_reads_it()
    {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        Assert.Equal(Path.Combine(home, ".cache", "huggingface", "hub"), Options().CacheFolder);
        Assert.Equal(Full("/x/huggingface/hub"), Options(("XDG_CACHE_HOME", "/x")).CacheFolder);
        Assert.Equal(Full("/h/hub"), Options(("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")).CacheFolder);
        Assert.Equal(Full("/old"), Options(("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")).CacheFolder);
        Assert.Equal(Full("/new"), Options(("HF_HUB_CACHE", "/new"), ("HUGGINGFACE_HUB_CACHE", "/old")).CacheFolder);
        Assert.Equal(Path.Combine(home, "me-here", "c"), Options(("HF_HUB_CACHE", "~/${ME}-$WHERE/c"), ("ME", "me"), ("WHERE", "here")).CacheFolder);
        Assert.Equal("https://huggingface.co", Options().Endpoint);
        Assert.Equal("http://mirror", Options(("HF_ENDPOINT", "http://mirror/")).Endpoint);
        Assert.True(Options(("HF_HUB_OFFLINE", "on")).Offline);
        Assert.True(Options(("TRANSFORMERS_OFFLINE", "1")).Offline);
        Assert.False(Options(("HF_HUB_OFFLINE", "0")).Offline);
        Assert.False(Options(("HF_HUB_DISABLE_SYMLINKS", "true")).Symlinks);
        Assert.Equal(TimeSpan.FromSeconds(30), Options(("HF_HUB_DOWNLOAD_TIMEOUT", "30")).Timeout);
        File.WriteAllText(Path.Combine(_folder, "token"), " hf_file\n");
        Assert.Null(Options(("HF_HOME", "/nowhere")).Token);
        Assert.Equal("hf_file", Options(("HF_HOME", _folder)).Token);
        Assert.Equal("hf_env", Options(("HF_HOME", _folder), ("HF_TOKEN", "hf_env\r\n")).Token);
        Assert.Equal("hf_older", Options(("HUGGING_FACE_HUB_TOKEN", "hf_older")).Token);
        Assert.Equal("hf_file", Options(("HF_TOKEN_PATH", Path.Combine(_folder, "token"))).Token);
        Assert.Null(Options(("HF_TOKEN", "hf_env"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")).Token);
    }

    [Theory]
    [InlineData("no address")]
    [InlineData("ftp://x")]
    public void A_hub_s_address_that_is_none_is_refused(string endpoint) =>
        Assert.Contains("HF_ENDPOINT", Assert.Throws<HubException>(() => new HubHttp(new() { CacheFolder = _folder, Endpoint = endpoint })).Message);

    [Theory]
    [InlineData("[]")]
    [InlineData("{\"sha\": \"main\", \"siblings\": []}")]
    [InlineData("{\"sha\": \"../../x\", \"siblings\": []}")]
    [InlineData("{\"sha\": \"0123456789abcdef0123456789abcdef01234567\"}")]
    [InlineData("{\"sha\": \"0123456789abcdef0123456789abcdef01234567\", \"siblings\": [1]}")]
    [InlineData("<html>")]
    public void An_answer_that_is_no_list_is_refused(string json) => Assert.ThrowsAny<IOException>(() => HubFiles.Read("hub", System.Text.Encoding.UTF8.GetBytes(json)));

    private static HubOptions Options(params (string Name, string Value)[] variables) => HubOptions.FromEnvironment(name => variables.FirstOrDefault(v => v.Name == name).Value);

    private static string Full(string path) => Path.GetFullPath(path);

    private static HubFiles List(string names) => HubFiles.Read("hub", System.Text.Encoding.UTF8.GetBytes(new JsonObject
    {
        ["sha"] = HubServer.Commit,
        ["siblings"] = new JsonArray([.. names.Split(',').Select(n => new JsonObject { ["rfilename"] = n })]),
    }.ToJsonString()));
}
