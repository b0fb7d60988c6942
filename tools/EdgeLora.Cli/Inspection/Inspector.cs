using System.Globalization;
using System.Text.Json;
using EdgeLora.Cli.Converting;
using EdgeLora.Cli.Verbs;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Inspection;

/// <summary>Finds out what a file or folder is by reading it as its reader would.</summary>
internal static class Inspector
{
    /// <summary>Inspects the request's source; an adapter also against its base, where one is given.</summary>
    public static InspectReport Inspect(ConvertRequest request)
    {
        string path = request.Source;
        InspectReport report = new(path);
        try
        {
            if (Directory.Exists(path))
                Folder(report, path, request);
            else if (File.Exists(path))
                OneFile(report, path, request);
            else
                report.Faults.Add("no such file or folder");
        }
        catch (ModelFileException e)
        {
            report.Faults.AddRange(e.Faults);
        }
        catch (Exception e) when (e is IOException or NotSupportedException or InvalidDataException or ArgumentException or UnauthorizedAccessException)
        {
            report.Faults.Add(e.Message);
        }
        return report;
    }

    private static void Folder(InspectReport report, string path, ConvertRequest request)
    {
        if (AdapterFormats.Find(path) is { } format)
            Adapter(report, path, request, format);
        else if (AdapterTree.IsAdapter(path))
            Adapter(report, path, request, AdapterFormats.Peft);
        else if (DiffusionBase.ClassOf(path) is { } diffusion)
            ModelReport.DescribeDiffusion(report, path, diffusion);
        else if (File.Exists(Path.Combine(path, "config.json")))
            ModelReport.Describe(report, path, "Hugging Face folder");
        else if (new[] { Path.Combine("base", "config.json"), "base.gguf", "base.json" }.Any(f => File.Exists(Path.Combine(path, f))))
            Tree(report, path);
        else if (File.Exists(Path.Combine(path, "model.safetensors.index.json")))
            OneFile(report, Path.Combine(path, "model.safetensors.index.json"), request);
        else if (File.Exists(Path.Combine(path, "model.safetensors")))
            OneFile(report, Path.Combine(path, "model.safetensors"), request);
        else
            Tokens(report, path);
    }

    private static void OneFile(InspectReport report, string path, ConvertRequest request)
    {
        string name = Path.GetFileName(path).ToLowerInvariant(), extension = Path.GetExtension(name);
        report.Bytes = new FileInfo(path).Length;
        if (extension == OnnxAdapter.Extension && !Onnx(report, path))
            return;
        if (AdapterConversion.FolderOf(path) is { } folder)
            report.Facts.Add(("note", $"holds the tensors of an adapter's folder: inspect {folder} to see the adapter"));
        if (AdapterFormats.Find(path) is { } format)
            Adapter(report, path, request, format);
        else if (extension == ".gguf")
            Gguf(report, path);
        else if (extension == ".safetensors" || name.EndsWith(".safetensors.index.json", StringComparison.Ordinal))
            Tensors(report, "safetensors", Safetensors.Open(path));
        else if (extension == ".bin" && ModelReport.IsLlama2c(path))
            ModelReport.DescribeLlama2c(report, path);
        else if (extension is ".bin" or ".pt" or ".pth" or ".ckpt" or ".pkl")
            Tensors(report, "torch pickle in a zip", TorchPickle.Open(path));
        else if (name == PeftConfigReader.FileName)
            AdapterConfig(report, path, request);
        else if (name == "config.json" && DiffusionBase.ClassOf(Path.GetDirectoryName(Path.GetFullPath(path))!) is { } diffusion)
            (report.Kind, report.Format) = ("config", "diffusers, " + diffusion);
        else if (name == "tokenizer.json" || extension is ".model" or ".tiktoken" or ".txt" || name == "vocab.json")
            Tokens(report, path);
        else if (extension == ".json")
            Json(report, path);
        else
            report.Faults.Add("is of no known format: expected .safetensors, .gguf, .bin, .elora, .onnx_adapter, a tokenizer or a config");
    }

    private static void Tensors(InspectReport report, string format, TensorFile file)
    {
        using (file)
        {
            report.Kind = "tensors";
            report.Format = format;
            report.Take([.. file.Tensors.Values]);
            foreach ((string name, string value) in file.Metadata.OrderBy(m => m.Key, StringComparer.Ordinal))
                report.Facts.Add(("metadata." + name, value));
        }
    }

    private static void Adapter(InspectReport report, string path, ConvertRequest request, AdapterFileFormat format)
    {
        report.Kind = "adapter";
        report.Format = ContainerOf(format);
        using (GgufFile? file = format is GgufFormat && File.Exists(path) ? GgufFile.Open(path) : null)
            foreach ((string key, object value) in Texts(file))
                report.Facts.Add(("metadata." + key, value));
        // alpha of a loralib file is outside it: whatever it is, the file is what it is.
        AdapterOptions told = AdapterConversion.OptionsOf(request);
        bool knowsScale = format is not LoralibFormat || told.Alpha is not null;
        AdapterOptions options = knowsScale ? told : told with { Alpha = 1 };
        using (PeftAdapter adapter = AdapterFormats.Read(path, options))
        {
            Config(report, adapter.Config, knowsScale);
            report.Kind = "adapter";
            report.Tensors.Clear();
            report.Take([.. adapter.Tensors.Values]);
            if (adapter.Header is { } header)
            {
                report.Facts.Add(("name", header.Name));
                report.Facts.Add(("parentFingerprint", header.ParentFingerprint));
                report.Facts.Add(("baseFingerprint", header.BaseFingerprint));
            }
            AdapterReport.Describe(report, adapter, knowsScale ? options : options with { Alpha = null }, knowsScale);
        }
        if (request.Base is { } model && options.Base is not null)
            Fit(report, path, model, format, options);
    }

    private static string ContainerOf(AdapterFileFormat format) => format switch
    {
        PeftFormat or PeftBinaryFormat => "PEFT",
        EdgeFormat or OnnxFormat or GenAiFormat => format.Extension!,
        GgufFormat => "GGUF adapter",
        MlxFormat => "MLX",
        _ => format.Name,
    };

    // Any tensors may be in it; low-rank pairs make it an adapter.
    private static bool Onnx(InspectReport report, string path)
    {
        using OnnxAdapter file = OnnxAdapter.Read(path);
        report.Kind = "tensors";
        report.Format = OnnxAdapter.Extension;
        report.Take([.. file.File.Tensors.Values]);
        report.Facts.Add(("adapterVersion", file.AdapterVersion));
        report.Facts.Add(("modelVersion", file.ModelVersion));
        IReadOnlyList<string> faults = ["no tensor's name ends as A or B of a low-rank pair does (MODULE.lora_A.MatMul.weight)"];
        if (file.File.Tensors.Keys.Any(OnnxLowRank.IsPart))
        {
            try
            {
                using PeftAdapter adapter = OnnxLowRank.Read(path);
                return true;
            }
            catch (ModelFileException e)
            {
                faults = e.Faults;
            }
        }
        report.Facts.Add(("note", "any inputs of a graph, and no adapter: " + faults[0]));
        report.Conversions.AddRange(AdapterFormats.All.Where(f => f.Writes).Select(f => new ConversionLine(f.Name, "refused", faults)));
        return false;
    }

    private static void Fit(InspectReport report, string path, string model, AdapterFileFormat format, AdapterOptions options)
    {
        // A loralib file is no node: its head is not mounted.
        string[] heads = format is LoralibFormat ? [] : [path];
        if (ClassifierHost.Classifies(model, heads))
        {
            // A base without a classifier takes the adapter's number of classes.
            using ClassifierHost classifier = ClassifierHost.Open(model, new EdgeHostOptions { Device = "reference", Adapters = EdgeHost.IsTree(model) ? [] : heads });
            Fit(report, path, classifier.Model.Sites, options);
            return;
        }
        using EdgeHost host = EdgeHost.Open(model, new EdgeHostOptions { Device = "reference", Adapters = [] });
        if (format is not LoralibFormat && PeftAdapter.LayerReplication(path) is { } layers)
        {
            using ReferenceBackend backend = new();
            using DecoderModel stacked = DecoderModel.Load(BaseCheckpoint.Open(host.Model.Checkpoint.Path), backend, layers);
            Fit(report, path, stacked.Sites, options);
        }
        else
        {
            Fit(report, path, host.Model.Sites, options);
        }
    }

    private static void Fit(InspectReport report, string path, SiteCatalog sites, AdapterOptions options)
    {
        try
        {
            using LoraAdapter fitted = LoraAdapter.Fit(AdapterFormats.Read(path, options), sites, "adapter");
            report.Facts.Add(("form", fitted.Form));
            report.Facts.Add(("minRank", fitted.MinRank));
            report.Facts.Add(("maxRank", fitted.MaxRank));
            report.Facts.Add(("sites", fitted.Deltas.Count));
            report.Facts.Add(("fits", true));
        }
        catch (ModelFileException)
        {
            report.Facts.Add(("fits", false));
            throw;
        }
    }

    // Under another name the content tells: a tokenizer has a model of its own, an adapter's config its method.
    private static void Json(InspectReport report, string path)
    {
        bool tokenizer, adapter;
        try
        {
            using JsonDocument document = SafeJson.ReadFile(path, allowDuplicates: true);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                throw new ModelFileException(path, $"expected an object, found {SafeJson.Kind(document.RootElement.ValueKind)}");
            tokenizer = document.RootElement.TryGetProperty("pre_tokenizer", out _) || document.RootElement.TryGetProperty("added_tokens", out _)
                || (document.RootElement.TryGetProperty("model", out JsonElement model) && model.ValueKind == JsonValueKind.Object);
            adapter = document.RootElement.TryGetProperty("peft_type", out _);
        }
        catch (ModelFileException e)
        {
            throw new ModelFileException(path, [.. e.Faults.Select(f => f + " (read as a tokenizer.json, adapter_config.json or config.json)")]);
        }
        if (tokenizer)
            Tokens(report, path);
        else if (adapter)
            Config(report, PeftFormat.Parse(path, SafeJson.ReadBytes(path)).Config);
        else
            Config(report, path);
    }

    // What it means stands in its folder: the format, and with that the meaning of its fields.
    private static void AdapterConfig(InspectReport report, string path, ConvertRequest request)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (AdapterFormats.Find(folder) is { } format && format.FilesOf(folder).Count > 1)
        {
            Adapter(report, folder, request, format);
            return;
        }
        (PeftConfig config, string? method) = PeftFormat.Parse(path, SafeJson.ReadBytes(path));
        Config(report, config);
        if (method is not null)
            report.Facts.Add(("readFrom", method));
    }

    private static void Config(InspectReport report, PeftConfig config, bool hasAlpha = true)
    {
        report.Kind = "adapter config";
        report.Format = report.Format.Length == 0 ? "PEFT" : report.Format;
        report.Facts.Add(("method", config.PeftType));
        // A method without pairs has no rank, and no scale that could be read off it.
        if (config.Rank > 0)
        {
            report.Facts.Add(("rank", config.Rank));
            if (hasAlpha)
            {
                report.Facts.Add(("alpha", config.Alpha));
                report.Facts.Add(("scale", config.Alpha / (config.UseRslora ? Math.Sqrt(config.Rank) : config.Rank)));
            }
            report.Facts.Add(("rsLora", config.UseRslora));
            report.Facts.Add(("dora", config.UseDora));
        }
        report.Facts.Add(("bias", config.Bias.ToString()));
        if (config.TargetModules is { Count: > 0 } targets)
            report.Facts.Add(("targets", targets));
        if (config.ModulesToSave.Count > 0)
            report.Facts.Add(("modulesToSave", config.ModulesToSave));
    }

    private static void Config(InspectReport report, string path)
    {
        report.Kind = "config";
        report.Format = "Hugging Face";
        HfConfig config = HfConfig.Read(path);
        if (!EncoderRegistry.Knows(config))
            config.ValidateDecoder();
        report.Facts.Add(("modelType", config.ModelType));
        foreach (string field in config.Fields.Where(f => f.EndsWith("_size", StringComparison.Ordinal) || f.StartsWith("num_", StringComparison.Ordinal)))
            if (config.TryGetInt(field, 0, int.MaxValue, out int value))
                report.Facts.Add((field, value));
    }

    private static void Gguf(InspectReport report, string path)
    {
        bool adapter, vocabulary;
        using (GgufFile file = GgufFile.Open(path))
        {
            report.Format = $"GGUF v{file.Version}";
            report.Tensors.AddRange(file.TensorInfos.Select(t => new TensorLine(t.Name, t.TypeName, t.Shape, t.ByteLength)));
            report.Bytes = file.TensorInfos.Sum(t => t.ByteLength);
            adapter = file.GetString("general.type", "model") == "adapter";
            // Vocabulary-only and bare tensor files may lack it; where it is there, it is a name.
            file.GetString("general.architecture", "");
            vocabulary = file.Metadata.ContainsKey("tokenizer.ggml.tokens") && !file.TensorInfos.Any(t => t.Name.StartsWith("blk.", StringComparison.Ordinal));
            report.Kind = adapter ? "adapter" : !vocabulary && file.Contains("token_embd.weight") ? "model" : "tensors";
            foreach ((string key, object value) in Texts(file))
                report.Facts.Add(("metadata." + key, value));
        }
        if (report.Kind == "model")
            ModelReport.Describe(report, path, report.Format);
        else if (vocabulary)
            Tokens(report, path);
    }

    private static IEnumerable<(string Key, object Value)> Texts(GgufFile? file) => file is null ? []
        : file.Metadata.Where(m => m.Value is string or bool or byte or sbyte or short or ushort or int or uint or long or ulong or float or double)
            .Select(m => (m.Key, m.Value is float or double ? Convert.ToDouble(m.Value) : m.Value is byte or sbyte or short or ushort or int or uint or long ? Convert.ToInt64(m.Value) : m.Value));

    private static void Tree(InspectReport report, string path)
    {
        report.Kind = "tree";
        report.Format = "folders";
        if (ClassifierHost.Classifies(path, []))
        {
            using ClassifierHost classifier = ClassifierHost.Open(path, new EdgeHostOptions { Device = "reference" });
            report.Bytes = classifier.Model.ByteLength;
            report.Facts.Add(("modelType", classifier.Model.Config.ModelType));
            report.Facts.Add(("labels", classifier.Model.Labels));
            Nodes(report, classifier.Tree, classifier.Store);
            return;
        }
        using EdgeHost host = EdgeHost.Open(path, new EdgeHostOptions { Device = "reference" });
        report.Bytes = host.Model.ByteLength;
        report.Fingerprint = host.Model.BaseFingerprint;
        report.Facts.Add(("modelType", host.Model.Config.ModelType));
        Nodes(report, host.Tree, host.Store);
    }

    private static void Nodes(InspectReport report, AdapterTree tree, AdapterStore store)
    {
        report.Facts.Add(("nodes", tree.Nodes.Count - 1));
        foreach (AdapterNode node in tree.Nodes.Skip(1))
        {
            store.TryStage(node);
            report.Facts.Add(("node." + node.Path, node.Faults.Count == 0 ? FormattableString.Invariant($"{node.Form} r {node.MinRank}..{node.MaxRank}, alpha {node.Alpha}, {node.ByteLength} bytes") : "faulted"));
            report.Faults.AddRange(node.Faults.Select(f => $"{node.Path}: {f}"));
        }
    }

    private static void Tokens(InspectReport report, string path)
    {
        Tokenizer tokenizer = TokenizeVerb.Open(path);
        report.Kind = "tokenizer";
        report.Format = Path.GetFileName(path);
        report.Facts.Add(("vocabulary", tokenizer.VocabularySize));
        foreach ((string role, string token) in tokenizer.SpecialTokens.OrderBy(t => t.Key, StringComparer.Ordinal))
            report.Facts.Add((role, token));
        report.Facts.Add(("chatTemplate", tokenizer.ChatTemplate is not null));
    }
}
