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
            AdapterInspector.Inspect(report, path, request, format);
        else if (AdapterTree.IsAdapter(path))
            AdapterInspector.Inspect(report, path, request, AdapterFormats.Peft);
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
        if (extension == OnnxAdapter.Extension && !AdapterInspector.Onnx(report, path))
            return;
        if (AdapterConversion.FolderOf(path) is { } folder)
            report.Facts.Add(("note", $"holds the tensors of an adapter's folder: inspect {folder} to see the adapter"));
        if (AdapterFormats.Find(path) is { } format)
            AdapterInspector.Inspect(report, path, request, format);
        else if (extension == ".gguf")
            Gguf(report, path);
        else if (extension == ".safetensors" || name.EndsWith(".safetensors.index.json", StringComparison.Ordinal))
            Tensors(report, "safetensors", Safetensors.Open(path));
        else if (extension == ".bin" && ModelReport.IsLlama2c(path))
            ModelReport.DescribeLlama2c(report, path);
        else if (extension == ".bin" && ModelReport.VocabularyOf(path) is { } vocabulary)
            ModelReport.Describe(report, vocabulary);
        else if (extension is ".bin" or ".pt" or ".pth" or ".ckpt" or ".pkl")
            Tensors(report, "torch pickle in a zip", TorchPickle.Open(path));
        else if (name == PeftConfigReader.FileName)
            AdapterInspector.ConfigFile(report, path, request);
        else if (name == "config.json" && DiffusionBase.ClassOf(Path.GetDirectoryName(Path.GetFullPath(path))!) is { } diffusion)
            (report.Kind, report.Format) = ("config", "diffusers, " + diffusion);
        else if (name == "tokenizer.json" || extension is ".model" or ".tiktoken" or ".txt" || name == "vocab.json")
            Tokens(report, path);
        else if (extension == ".json")
            Json(report, path);
        else if (extension == ".msgpack")
            Header(report, path);
        else
            report.Faults.Add("is of no known format: expected .safetensors, .gguf, .bin, .elora, .onnx_adapter, a tokenizer or a config");
    }

    // What an .elora has inside, alone: it says of what adapter it is, and is none.
    private static void Header(InspectReport report, string path)
    {
        try
        {
            EdgeAdapterHeader header = EdgeAdapter.ReadHeader(path, SafeJson.ReadBytes(path));
            report.Kind = "adapter header";
            report.Format = EdgeAdapter.Extension;
            report.Facts.AddRange([("name", header.Name), ("rank", header.Rank), ("alpha", header.Alpha)]);
            report.Faults.Add($"is the header of an {EdgeAdapter.Extension} file without the file around it");
        }
        catch (ModelFileException e)
        {
            throw new ModelFileException(path, [.. e.Faults.Select(f => f + $" (read as the header of an {EdgeAdapter.Extension} file)")]);
        }
    }

    private static void Tensors(InspectReport report, string format, TensorFile file)
    {
        using (file)
        {
            report.Kind = "tensors";
            report.Format = format;
            report.Take([.. file.Tensors.Values]);
            // The tensors of an adapter's folder have been said to be that.
            if (!report.Facts.Exists(f => f.Name == "note") && ForeignFactors.Reason(file.Tensors.Keys) is { } foreign)
                report.Facts.Add(("note", foreign));
            foreach ((string name, string value) in file.Metadata.OrderBy(m => m.Key, StringComparer.Ordinal))
                report.Facts.Add(("metadata." + name, value));
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
            AdapterInspector.Config(report, PeftFormat.Parse(path, SafeJson.ReadBytes(path)).Config);
        else
            Config(report, path);
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
            foreach ((string key, object value) in AdapterInspector.Texts(file))
                report.Facts.Add(("metadata." + key, value));
        }
        if (report.Kind == "model")
            ModelReport.Describe(report, path, report.Format);
        else if (vocabulary)
            Tokens(report, path);
    }

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
