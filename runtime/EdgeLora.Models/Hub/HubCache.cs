
namespace EdgeLora.Models;

/// <summary>
/// The cache of models on this machine, huggingface_hub's own: <c>models--owner--name/{blobs/&lt;etag&gt;, refs/&lt;revision&gt;, snapshots/&lt;commit&gt;/&lt;file&gt;}</c>, a snapshot's files links to the blobs
/// (huggingface_hub, file_download.py).
/// </summary>
/// <param name="options">Where it lies.</param>
public sealed class HubCache(HubOptions options)
{
    /// <summary>The model's folder in the cache.</summary>
    public string FolderOf(HubModel model) => Path.Combine(options.CacheFolder, FolderName(model));

    /// <summary>The commit that the model's revision stands for here; null where it was never pulled.</summary>
    public string? CommitOf(HubModel model)
    {
        string reference = RefOf(model);
        if (!model.IsCommit && !File.Exists(reference))
            return null;
        string commit = model.IsCommit ? model.Revision : File.ReadAllText(reference, System.Text.Encoding.ASCII).Trim();
        return HubModel.IsCommitHash(commit) && Directory.Exists(SnapshotOf(model, commit)) ? commit : null;
    }

    /// <summary>The folder of a model that was pulled; null where it was not.</summary>
    public string? Find(HubModel model) => CommitOf(model) is { } commit ? SnapshotOf(model, commit) : null;

    /// <summary>
    /// The path of a model: a text that does not begin with <c>hf:</c> as it is; else its folder in the cache, or the one file where it is one: the file it names, or the only GGUF model of a folder without a config.
    /// Nothing is asked of the network. Throws <see cref="HubException"/> naming the command that pulls it, <see cref="ArgumentException"/> for what is no model's name.
    /// </summary>
    public static string Resolve(string pathOrModel, HubOptions? options = null)
    {
        if (!HubModel.IsHub(pathOrModel))
            return pathOrModel;
        HubModel model = HubModel.Parse(pathOrModel);
        options ??= HubOptions.FromEnvironment();
        string folder = new HubCache(options).Find(model) ?? throw new HubException(HubErrorKind.Offline, $"{model}: is not in the cache {options.CacheFolder}; 'edgelora pull {model}' puts it there");
        return FileOf(model, folder);
    }

    /// <summary>What of a snapshot's folder a model's name means.</summary>
    internal static string FileOf(HubModel model, string folder)
    {
        if (model.File is { } name)
        {
            string file = Path.Combine([folder, .. name.Split('/')]);
            return File.Exists(file) ? file : throw new HubException(HubErrorKind.Offline, $"{model}: this file was not pulled; 'edgelora pull {model}' puts it beside the others");
        }
        if (File.Exists(Path.Combine(folder, "config.json")) || File.Exists(Path.Combine(folder, "adapter_config.json")))
        {
            // A config beside nothing but GGUF files describes what they were made from.
            if (Directory.EnumerateFiles(folder).Any(f => Path.GetExtension(f) is ".safetensors" or ".bin"))
                return folder;
        }
        string[] models = [.. Directory.EnumerateFiles(folder, "*.gguf", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
        string[] first = [.. models.Where((f, i) => i == 0 || HubFiles.GgufStem(f) != HubFiles.GgufStem(models[i - 1]))];
        return first.Length switch
        {
            0 => folder,
            1 => first[0],
            _ => throw new ArgumentException($"{model}: has {first.Length} GGUF models here; name one: {string.Join(", ", first.Select(f => $"{model}:{Path.GetRelativePath(folder, f).Replace('\\', '/')}"))}"),
        };
    }

    internal static string FolderName(HubModel model) => "models--" + model.Id.Replace("/", "--");

    internal string SnapshotOf(HubModel model, string commit) => Path.Combine(FolderOf(model), "snapshots", commit);

    internal string RefOf(HubModel model) => Path.Combine([FolderOf(model), "refs", .. model.Revision.Split('/')]);
}
