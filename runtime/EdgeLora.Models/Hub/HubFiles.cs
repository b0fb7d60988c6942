using System.Text.Json;
using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>One file of a model on a hub.</summary>
/// <param name="Name">Its path below the model, with slashes; safe to be put below a folder.</param>
/// <param name="Size">Bytes; null where the hub's list does not say.</param>
/// <param name="Sha256">Of a large file, in lower case; null otherwise.</param>
internal sealed record HubFile(string Name, long? Size, string? Sha256);

/// <summary>Which of a model's files are pulled; patterns as <see cref="FileGlob"/> reads them.</summary>
public sealed record HubSelection
{
    /// <summary>Only these; empty: what EdgeLora can use (configs, tokenizers, chat templates, adapters, and weights of one kind).</summary>
    public IReadOnlyList<string> Include { get; init; } = [];

    /// <summary>Not these.</summary>
    public IReadOnlyList<string> Exclude { get; init; } = [];
}

/// <summary>
/// A model's files at one commit, as the hub's <c>/api/models/{id}/revision/{revision}?blobs=true</c> lists them
/// (huggingface_hub, hf_api.py: ModelInfo): <c>{"sha", "siblings": [{"rfilename", "size", "lfs": {"sha256"}}]}</c>.
/// </summary>
/// <param name="Commit">Forty hexadecimal digits.</param>
/// <param name="Files">All of them.</param>
internal sealed record HubFiles(string Commit, IReadOnlyList<HubFile> Files)
{
    private static readonly string[] s_beside =
    [
        "*.json", "*.model", "*.tiktoken", "*.jinja", "*merges.txt", "*vocab.txt", "*.elora", "*.onnx_adapter", "LICENSE*", "NOTICE*", "USE_POLICY*",
    ];

    /// <summary>Reads the list. Throws <see cref="HubException"/> for a commit or a name that no honest hub sends, <see cref="ModelFileException"/> for what is no such list.</summary>
    public static HubFiles Read(string source, ReadOnlyMemory<byte> json)
    {
        using JsonDocument document = SafeJson.Parse(source, json, allowDuplicates: true);
        JsonElement root = document.RootElement;
        string? commit = root.ValueKind == JsonValueKind.Object && root.TryGetProperty("sha", out JsonElement sha) && sha.ValueKind == JsonValueKind.String ? sha.GetString() : null;
        if (commit is null || !HubModel.IsCommitHash(commit))
            throw new HubException(HubErrorKind.Unsafe, $"{source}: sha: expected a commit of 40 hexadecimal digits; is this a hub?");
        if (!root.TryGetProperty("siblings", out JsonElement siblings) || siblings.ValueKind != JsonValueKind.Array)
            throw new ModelFileException(source, "siblings: expected a list of files");
        List<HubFile> files = [];
        List<string> unsafeNames = [];
        foreach (JsonElement sibling in siblings.EnumerateArray())
        {
            string? name = sibling.ValueKind == JsonValueKind.Object && sibling.TryGetProperty("rfilename", out JsonElement n) && n.ValueKind == JsonValueKind.String ? n.GetString() : null;
            if (name is null)
                throw new ModelFileException(source, $"siblings: expected files with a name, found {SafeJson.Excerpt(sibling)}");
            if (!HubModel.IsSafePath(name))
                unsafeNames.Add(name.Length <= 80 ? name : name[..80] + "…");
            long? size = sibling.TryGetProperty("size", out JsonElement s) && s.ValueKind == JsonValueKind.Number && s.TryGetInt64(out long bytes) && bytes >= 0 ? bytes : null;
            string? sum = sibling.TryGetProperty("lfs", out JsonElement lfs) && lfs.ValueKind == JsonValueKind.Object && lfs.TryGetProperty("sha256", out JsonElement h) && h.ValueKind == JsonValueKind.String ? h.GetString() : null;
            files.Add(new(name, size, sum?.ToLowerInvariant()));
        }
        return unsafeNames.Count == 0 ? new(commit, files)
            : throw new HubException(HubErrorKind.Unsafe, $"{source}: names of files that could leave the cache's folder, so nothing is pulled: {string.Join(", ", unsafeNames.Take(5).Select(n => $"'{n}'"))}");
    }

    /// <summary>The files that are pulled. Throws <see cref="HubException"/> where nothing is, or where several GGUF models need a choice.</summary>
    public IReadOnlyList<HubFile> Select(HubModel model, HubSelection selection)
    {
        if (model.File is { } one)
        {
            // One piece of a GGUF model is of no use without the others.
            HubFile[] pieces = [.. Files.Where(f => f.Name == one || (GgufPieceName.Parse(one) is not null && GgufStem(f.Name) == GgufStem(one)))];
            return pieces.Any(f => f.Name == one) ? pieces : throw new HubException(HubErrorKind.NotFound, $"{model}: there is no such file in the model");
        }
        IEnumerable<HubFile> taken = selection.Include.Count > 0 ? Files.Where(f => FileGlob.MatchesAny(selection.Include, f.Name)) : Useful(model, selection.Exclude);
        HubFile[] chosen = [.. taken.Where(f => !FileGlob.MatchesAny(selection.Exclude, f.Name))];
        return chosen.Length > 0 ? chosen : throw new HubException(HubErrorKind.NotFound,
            $"{model}: none of its {Files.Count} files {(selection.Include.Count > 0 ? "fits --include and --exclude" : "is one that EdgeLora can use; --include takes others")}: {Some(Files.Select(f => f.Name))}");
    }

    // One kind of weights, the safest that is there: safetensors, then GGUF, then torch's pickles.
    private IEnumerable<HubFile> Useful(HubModel model, IReadOnlyList<string> exclude)
    {
        HubFile[] left = [.. Files.Where(f => !FileGlob.MatchesAny(exclude, f.Name))];
        // Mistral's own copy of the weights, beside those under the names of transformers.
        bool both = left.Any(f => FileGlob.Matches("model*.safetensors", f.Name));
        HubFile[] weights = [.. left.Where(f => FileGlob.Matches("*.safetensors", f.Name) && !(both && FileGlob.Matches("consolidated*", f.Name)))];
        if (weights.Length == 0)
        {
            weights = [.. left.Where(f => FileGlob.Matches("*.gguf", f.Name))];
            string[] models = [.. weights.Select(f => GgufStem(f.Name)).Distinct()];
            if (models.Length > 1)
                throw new HubException(HubErrorKind.Failed, $"{model}: has {models.Length} GGUF models; name one, {model}:{weights[0].Name}, or choose with --include: {Some(weights.Select(f => f.Name))}");
        }
        if (weights.Length == 0)
            weights = [.. left.Where(f => FileGlob.Matches("*.bin", f.Name) && !FileGlob.MatchesAny(["*training_args.bin", "*optimizer.bin", "*scheduler.bin"], f.Name))];
        HashSet<string> names = [.. weights.Select(f => f.Name)];
        return left.Where(f => names.Contains(f.Name) || FileGlob.MatchesAny(s_beside, f.Name));
    }

    /// <summary>The name of a GGUF model whatever piece of it is named.</summary>
    internal static string GgufStem(string name) => GgufPieceName.Parse(name)?.Stem ?? name;

    private static string Some(IEnumerable<string> names)
    {
        string[] first = [.. names.Take(13)];
        return string.Join(", ", first.Take(12)) + (first.Length > 12 ? ", …" : "");
    }
}
