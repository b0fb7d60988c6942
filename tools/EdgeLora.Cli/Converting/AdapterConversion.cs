using System.Globalization;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Converting;

/// <summary>Adapters of one format of <see cref="AdapterFormats"/> into another.</summary>
internal static class AdapterConversion
{
    private static readonly (string Name, DType Type)[] s_types = [("f32", DType.F32), ("f16", DType.F16), ("bf16", DType.BF16)];

    /// <summary>Names of the formats that are written.</summary>
    public static string Targets { get; } = string.Join(", ", AdapterFormats.All.Where(f => f.Writes).Select(f => f.Name));

    /// <summary>Converts, or returns null where the source is no adapter.</summary>
    public static ConvertResult? Run(ConvertRequest request, CancellationToken cancellation)
    {
        // The bare tensors of a pickle are asked for by the target's name.
        if (AdapterFormats.Find(request.Source) is not { } from || from is LoralibFormat && request.To is null && request.TargetHas(".safetensors"))
            return null;
        AdapterFileFormat to = Target(request);
        AdapterOptions options = OptionsOf(request);
        if (request.Rank is < 1)
            throw new UsageException($"--rank {request.Rank}: expected 1 or more");
        using PeftAdapter source = AdapterFormats.Read(request.Source, options);
        // The source stays the owner.
        PeftAdapter said = request.WithoutTexts ? source.WithoutTexts() : source, split = request.SplitExperts ? Split(said, options.Base) : said;
        RankTruncation? truncation = request.Rank is { } rank ? RankTruncation.To(split, rank) : null;
        PeftAdapter adapter = truncation?.Adapter ?? split;
        AdapterVerdict verdict = to.Judge(adapter, options);
        verdict.Demand(request.Source, options.Fold);
        if (to.Extension is null)
            OutputFolder.Write(request.Target, folder => to.Write(adapter, folder, options, cancellation));
        else
            to.Write(adapter, request.Target, options, cancellation);
        return Describe(adapter, from, to, verdict, truncation);
    }

    private static PeftAdapter Split(PeftAdapter adapter, AdapterBase? model)
    {
        if (!FusedExperts.AreIn(adapter))
            throw new UsageException($"--split-experts: {adapter.FilePath} has no target_parameters");
        return FusedExperts.Split(adapter, BaseLayers.Of(model ?? throw new UsageException("--split-experts: the base's layers name the pairs: give it (--base)")));
    }

    /// <summary>What the options say that a format may have to know. Throws <see cref="UsageException"/> for an option that says nothing.</summary>
    public static AdapterOptions OptionsOf(ConvertRequest request) => request.Alpha is { } alpha && !double.IsFinite(alpha) ? throw new UsageException($"--alpha {alpha}: expected a finite number") : new()
    {
        Alpha = request.Alpha,
        Base = request.Base is { } path && !DiffusionBase.IsOne(path) ? BaseOf(path) : null,
        Modules = request.Base is { } diffusion && DiffusionBase.IsOne(diffusion) ? DiffusionBase.Modules(diffusion) : null,
        WithoutEmbeddings = request.WithoutEmbeddings,
        EnabledParts = request.EnableLora is { } parts ? PartsOf(parts) : null,
        Type = TypeOf(request.Type),
        Fold = request.Fold,
        Name = Path.GetFileNameWithoutExtension(Path.GetFullPath(Path.TrimEndingDirectorySeparator(request.Source))),
    };

    /// <summary>The folder of an adapter that <paramref name="file"/> is the tensors of; null where it is none's.</summary>
    public static string? FolderOf(string file) => File.Exists(file) && AdapterFormats.Find(file) is null && Path.GetDirectoryName(Path.GetFullPath(file)) is { } folder
        && AdapterFormats.Find(folder) is { } format && format.FilesOf(folder).Contains(Path.GetFileName(file)) ? folder : null;

    /// <summary>What whoever writes <paramref name="adapter"/> must be told.</summary>
    public static IReadOnlyList<string> Notes(PeftAdapter adapter, AdapterFileFormat to, AdapterVerdict verdict) => [.. verdict.Folded, .. verdict.Notes, .. to.LeftBehind(adapter)];

    private static ConvertResult Describe(PeftAdapter adapter, AdapterFileFormat from, AdapterFileFormat to, AdapterVerdict verdict, RankTruncation? truncation)
    {
        string what = $"an adapter as {to.Title}{(verdict.Folds.Count > 0 ? ", scales folded into B" : "")}";
        IReadOnlyList<string> notes = Notes(adapter, to, verdict);
        List<(string, object)> facts = [("from", from.Name), ("to", to.Name), ("modules", (long)adapter.Modules.Count), ("folded", verdict.Folds), ("foldError", verdict.Folds.Count > 0 ? verdict.Rounding.Value : 0), ("notes", notes)];
        if (truncation is { } cut)
        {
            what += string.Create(CultureInfo.InvariantCulture, $", {cut.Truncated} pairs of a lower rank: {cut.Error:p2} of the change is lost{(cut.Truncated > 0 ? $", at most {cut.WorstError:p2} of one ({cut.WorstModule})" : "")}");
            facts.AddRange([("truncated", (long)cut.Truncated), ("truncationError", cut.Error), ("worstModule", cut.WorstModule), ("worstError", cut.WorstError)]);
        }
        return new(string.Join("; ", [what, .. notes]), facts);
    }

    /// <summary>The format to write. Throws <see cref="UsageException"/> where neither --to nor the extension tells it.</summary>
    internal static AdapterFileFormat Target(ConvertRequest request)
    {
        AdapterFileFormat? to = request.To is { } name
            ? AdapterFormats.Named(name) ?? throw new UsageException($"--to {name}: an adapter becomes one of {Targets}")
            : AdapterFormats.OfExtension(request.Target);
        if (to is null && Path.HasExtension(request.Target))
            throw new UsageException($"{request.Target}: an adapter becomes one of {Targets}; name it with --to");
        to ??= AdapterFormats.Peft;
        return to.Writes ? to : throw new UsageException($"{to.Name} is read, not written; an adapter becomes one of {Targets}");
    }

    private static bool[] PartsOf(string text) => Array.ConvertAll(text.Split(','), p => p.Trim().ToLowerInvariant() switch
    {
        "true" or "1" => true,
        "false" or "0" => false,
        _ => throw new UsageException($"--enable-lora {text}: expected true or false for each part, with commas between"),
    });

    /// <summary>What --type names; null where it was not given.</summary>
    internal static DType? TypeOf(string? name)
    {
        if (name is null)
            return null;
        int at = Array.FindIndex(s_types, t => t.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        return at >= 0 ? s_types[at].Type : throw new UsageException($"--type {name}: an adapter's tensors are f32, f16 or bf16");
    }

    /// <summary>What formats may have to know of a model folder, tree or .gguf file.</summary>
    public static AdapterBase BaseOf(string path)
    {
        string inside = Path.Combine(path, "base"), gguf = inside + ".gguf";
        if (File.Exists(Path.Combine(inside, "config.json")) || File.Exists(gguf))
        {
            path = File.Exists(gguf) ? gguf : inside;
        }
        else if (File.Exists(inside + ".json"))
        {
            // A tree says where its base is.
            using EdgeHost host = EdgeHost.Open(path, new EdgeHostOptions { Device = "reference", Adapters = [] });
            path = host.Model.Checkpoint.Path;
        }
        using BaseCheckpoint checkpoint = BaseCheckpoint.Open(path);
        string architecture = checkpoint.Config.TryGetString("model_type", out string type) ? GgufNames.ArchitectureOf(type) : "";
        bool fused = GgufNames.SplitsQueryKeyValue(architecture);
        // Adapters name modules of the whole model.
        string prefix = GgufNames.MissingPrefix(architecture, checkpoint.Weights.Tensors.ContainsKey), head = GgufNames.ToHuggingFace(architecture, "output.weight") ?? "";
        Dictionary<string, Tensor> weights = checkpoint.Weights.Tensors.ToDictionary(t => t.Key == head ? head : prefix + t.Key, t => t.Value);
        return new(checkpoint.Config, weights.ToDictionary(t => t.Key, t => t.Value.Shape), checkpoint.TransposedConv1D, weights.ToDictionary(t => t.Key, t => t.Value.Type))
        {
            KvHeads = fused ? ArchitectureRegistry.For(checkpoint.Config).ReadConfig(checkpoint).KvHeads : null,
        };
    }
}
