using System.Security.Cryptography;
using EdgeLora.Core;
using EdgeLora.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace EdgeLora;

/// <summary>What an application opens: one base, instantiated once, the tree of adapters on it, and sessions that stand at its nodes.</summary>
public sealed partial class EdgeHost : IDisposable
{
    private EdgeHost(string name, DecoderModel model, Tokenizer? tokenizer, AdapterTree tree, EdgeHostOptions options)
    {
        Name = name;
        Model = model;
        Tokenizer = tokenizer;
        Tree = tree;
        _options = options;
        Store = new(model, options.AdapterBudgetBytes, options.StagedBudgetBytes) { IsWatched = options.Watch, TrustElora = options.TrustElora };
        Overlays = new(model, Store, options.OverlayBudgetBytes);
        BaseName = HubModel.IsHub(name) ? HubModel.Parse(name).Id.Split('/')[^1] : File.Exists(name) ? Path.GetFileNameWithoutExtension(name) : Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(name)));
        Meter = new(this);
        Log = new(options.Logger ?? NullLogger.Instance);
    }

    /// <summary>What was opened.</summary>
    public string Name { get; }

    /// <summary>The name of its folder or file, without the way there.</summary>
    public string BaseName { get; }

    /// <summary>The base.</summary>
    public DecoderModel Model { get; }

    /// <summary>The base's tokenizer; null where the model brings none.</summary>
    public Tokenizer? Tokenizer { get; }

    /// <summary>The tree.</summary>
    public AdapterTree Tree { get; }

    /// <summary>Resident adapters.</summary>
    public AdapterStore Store { get; }

    /// <summary>What the base runs on.</summary>
    public IComputeBackend Backend => Model.Backend;

    /// <summary>Fused overlays.</summary>
    public OverlayStore Overlays { get; }

    /// <summary>Where its time goes, once started.</summary>
    public HostProfile Profile { get; } = new();

    internal HostMeter Meter { get; }

    internal HostLog Log { get; }

    /// <summary>What spans and chat clients call a node: its path; the root by <see cref="BaseName"/>.</summary>
    public string ModelId(string nodePath) => nodePath.Length == 0 ? BaseName : nodePath;

    /// <summary>Opens a tree (a folder with base/, base.gguf or base.json), a model folder, a .gguf file, or <c>hf:owner/name[@revision][:file]</c> from the cache of <see cref="HubCache"/>; the options' adapters likewise. Throws <see cref="ModelFileException"/>, <see cref="ArgumentException"/> for an unknown device, <see cref="DeviceException"/> for one that cannot be used.</summary>
    public static EdgeHost Open(string treeOrModel, EdgeHostOptions? options = null)
    {
        options ??= new();
        string place = HubCache.Resolve(treeOrModel);
        string[] adapters = [.. options.Adapters.Select(a => HubCache.Resolve(a))];
        string? basePath = BaseOf(place);
        AdapterTree tree = basePath is not null ? AdapterTree.Open(place) : AdapterTree.FromPath(place, adapters);
        if (basePath is not null && adapters.Length > 0)
            throw new ArgumentException($"{treeOrModel}: is a tree; its adapters are its folders, so none can be added to it");
        string modelPath = basePath ?? place;
        IComputeBackend backend = ComputeDevices.Open(options.Device, options.Threads, options.DeviceReport, options.WatchShaders, options.Int8Activations);
        try
        {
            BaseCheckpoint checkpoint = BaseCheckpoint.Open(modelPath);
            // layer_replication changes how many layers there are, so it is the plain path's first adapter that says.
            int[]? layers = adapters.Length > 0 ? PeftAdapter.LayerReplication(adapters[0]) : null;
            DecoderModel model = DecoderModel.Load(checkpoint, backend, layers);
            return new(treeOrModel, model, ReadTokenizer(modelPath, checkpoint), tree, options);
        }
        catch
        {
            backend.Dispose();
            throw;
        }
    }

    /// <summary>Makes a node resident, pins it and returns its path; empty for the root. Throws <see cref="KeyNotFoundException"/> naming the nodes there are, <see cref="ModelFileException"/> for a refused adapter.</summary>
    public AdapterPath Enter(string nodePath) => Store.Acquire(Tree.Get(nodePath));

    /// <summary>A weighted sum of nodes.</summary>
    public AdapterPath Blend(IReadOnlyList<(string Node, float Strength)> nodes) =>
        Store.Blend(nodes.Select(n => (Tree.Get(n.Node), n.Strength)).ToArray());

    /// <summary>
    /// For long stays: an overlay W' = W + Σ s·B·A beside the frozen base, within the overlay budget. Same function, no adapter work per token; F32, so beside a base stored smaller a token reads more bytes. It is dropped when the
    /// hold is disposed and the last session has left the path. Throws <see cref="InvalidOperationException"/> when it does not fit.
    /// </summary>
    public FusedPath Fuse(string nodePath) => Overlays.Fuse(Tree.Get(nodePath));

    /// <summary>A new session on a path.</summary>
    public Session CreateSession(AdapterPath path, int reserveTokens = 256) => new(Model, path, reserveTokens);

    /// <inheritdoc/>
    public void Dispose()
    {
        StopLinks();
        lock (_ticking)
        {
            if (_disposed)
                return;
            _disposed = true;
            StopServing();
        }
        Meter.Dispose();
        Overlays.Dispose();
        Store.Dispose();
        Model.Dispose();
        Backend.Dispose();
        Pushes.Dispose();
    }

    /// <summary>Whether a place is a tree: a folder with base/, base.gguf or base.json.</summary>
    public static bool IsTree(string place) => BaseOf(HubCache.Resolve(place)) is not null;

    // base/, base.gguf or base.json make a folder a tree.
    internal static string? BaseOf(string folder)
    {
        if (!Directory.Exists(folder))
            return null;
        string inner = Path.Combine(folder, "base");
        if (File.Exists(Path.Combine(inner, "config.json")))
            return inner;
        if (File.Exists(inner + ".gguf"))
            return inner + ".gguf";
        return File.Exists(inner + ".json") ? ReadLink(inner + ".json") : null;
    }

    // base.json {path, sha256}: a base that lies elsewhere; the sum is of its model.safetensors or .gguf.
    private static string ReadLink(string link)
    {
        HfConfig json = HfConfig.Read(link);
        string path = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(Path.GetFullPath(link))!, json.GetString("path")));
        if (json.TryGetString("sha256", out string expected))
        {
            string file = Directory.Exists(path) ? Path.Combine(path, "model.safetensors") : path;
            if (!File.Exists(file))
                throw new ModelFileException(link, $"path: {file} does not exist");
            using FileStream stream = File.OpenRead(file);
            string found = Convert.ToHexStringLower(SHA256.HashData(stream));
            if (!found.Equals(expected, StringComparison.OrdinalIgnoreCase))
                throw new ModelFileException(link, $"sha256: expected {expected}, found {found} in {file}");
        }
        return path;
    }

    internal static Tokenizer? ReadTokenizer(string path, BaseCheckpoint checkpoint)
    {
        if (checkpoint.Container is GgufFile gguf)
            // llama.cpp's word for a file that has none.
            return gguf.Metadata.TryGetValue("tokenizer.ggml.model", out object? model) && model is not "no_vocab" ? Tokenizer.FromGguf(gguf.Metadata, path) : null;
        return Array.Exists(["tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"], name => File.Exists(Path.Combine(path, name)))
            ? Tokenizer.Load(path)
            : null;
    }
}
