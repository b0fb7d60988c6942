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
    /// <summary>Inspects a path; an adapter also against the model at <paramref name="model"/>, where it is given.</summary>
    public static InspectReport Inspect(string path, string? model)
    {
        InspectReport report = new(path);
        try
        {
            if (Directory.Exists(path))
                Folder(report, path, model);
            else if (File.Exists(path))
                OneFile(report, path, model);
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

    private static void Folder(InspectReport report, string path, string? model)
    {
        if (AdapterFormats.Find(path) is { } format)
            Adapter(report, path, model, format);
        else if (AdapterTree.IsAdapter(path))
            Adapter(report, path, model, AdapterFormats.Peft);
        else if (File.Exists(Path.Combine(path, "config.json")))
            Model(report, path, "Hugging Face folder");
        else if (new[] { Path.Combine("base", "config.json"), "base.gguf", "base.json" }.Any(f => File.Exists(Path.Combine(path, f))))
            Tree(report, path);
        else if (File.Exists(Path.Combine(path, "model.safetensors.index.json")))
            OneFile(report, Path.Combine(path, "model.safetensors.index.json"), model);
        else if (File.Exists(Path.Combine(path, "model.safetensors")))
            OneFile(report, Path.Combine(path, "model.safetensors"), model);
        else
            Tokens(report, path);
    }

    private static void OneFile(InspectReport report, string path, string? model)
    {
        string name = Path.GetFileName(path).ToLowerInvariant(), extension = Path.GetExtension(name);
        report.Bytes = new FileInfo(path).Length;
        if (extension == OnnxAdapter.Extension)
            Onnx(report, path);
        if (AdapterFormats.Find(path) is { } format)
            Adapter(report, path, model, format);
        else if (extension == ".gguf")
            Gguf(report, path);
        else if (extension == ".safetensors" || name.EndsWith(".safetensors.index.json", StringComparison.Ordinal))
            Tensors(report, "safetensors", Safetensors.Open(path));
        else if (extension is ".bin" or ".pt" or ".pth" or ".ckpt" or ".pkl")
            Tensors(report, "torch pickle in a zip", TorchPickle.Open(path));
        else if (name == "adapter_config.json")
            Config(report, PeftConfigReader.Parse(path, SafeJson.ReadBytes(path)));
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

    private static void Adapter(InspectReport report, string path, string? model, AdapterFileFormat format)
    {
        report.Kind = "adapter";
        report.Format = ContainerOf(format);
        using (GgufFile? file = format is GgufFormat && File.Exists(path) ? GgufFile.Open(path) : null)
            foreach ((string key, object value) in Texts(file))
                report.Facts.Add(("metadata." + key, value));
        // alpha of a loralib file is outside it: whatever it is, the file is what it is.
        AdapterOptions options = new() { Alpha = format is LoralibFormat ? 1 : null, Base = model is not null && format is not LoralibFormat ? AdapterConversion.BaseOf(model) : null };
        using (PeftAdapter adapter = AdapterFormats.Read(path, options))
        {
            Config(report, adapter.Config, format is not LoralibFormat);
            report.Kind = "adapter";
            report.Tensors.Clear();
            report.Take([.. adapter.Tensors.Values]);
            if (adapter.Header is { } header)
            {
                report.Facts.Add(("name", header.Name));
                report.Facts.Add(("parentFingerprint", header.ParentFingerprint));
                report.Facts.Add(("baseFingerprint", header.BaseFingerprint));
            }
            AdapterReport.Describe(report, adapter, options);
        }
        if (model is not null && format is not LoralibFormat)
            Fit(report, path, model);
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
    private static void Onnx(InspectReport report, string path)
    {
        using OnnxAdapter file = OnnxAdapter.Read(path);
        report.Kind = "tensors";
        report.Format = OnnxAdapter.Extension;
        report.Take([.. file.File.Tensors.Values]);
        report.Facts.Add(("adapterVersion", file.AdapterVersion));
        report.Facts.Add(("modelVersion", file.ModelVersion));
    }

    private static void Fit(InspectReport report, string path, string model)
    {
        if (ClassifierHost.Classifies(model, [path]))
        {
            // A base without a classifier takes the adapter's number of classes.
            using ClassifierHost classifier = ClassifierHost.Open(model, new EdgeHostOptions { Device = "reference", Adapters = EdgeHost.IsTree(model) ? [] : [path] });
            Fit(report, path, classifier.Model.Sites);
            return;
        }
        using EdgeHost host = EdgeHost.Open(model, new EdgeHostOptions { Device = "reference", Adapters = [] });
        if (PeftAdapter.LayerReplication(path) is { } layers)
        {
            using ReferenceBackend backend = new();
            using DecoderModel stacked = DecoderModel.Load(BaseCheckpoint.Open(host.Model.Checkpoint.Path), backend, layers);
            Fit(report, path, stacked.Sites);
        }
        else
        {
            Fit(report, path, host.Model.Sites);
        }
    }

    private static void Fit(InspectReport report, string path, SiteCatalog sites)
    {
        try
        {
            using LoraAdapter fitted = LoraAdapter.Load(path, "adapter", sites);
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
            Config(report, PeftConfigReader.Parse(path, SafeJson.ReadBytes(path)));
        else
            Config(report, path);
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
        config.ValidateDecoder();
        report.Facts.Add(("modelType", config.ModelType));
        foreach (string field in config.Fields.Where(f => f.EndsWith("_size", StringComparison.Ordinal) || f.StartsWith("num_", StringComparison.Ordinal)))
            if (config.TryGetInt(field, 0, int.MaxValue, out int value))
                report.Facts.Add((field, value));
    }

    private static void Gguf(InspectReport report, string path)
    {
        bool adapter;
        using (GgufFile file = GgufFile.Open(path))
        {
            report.Format = $"GGUF v{file.Version}";
            report.Tensors.AddRange(file.TensorInfos.Select(t => new TensorLine(t.Name, t.TypeName, t.Shape, t.ByteLength)));
            report.Bytes = file.TensorInfos.Sum(t => t.ByteLength);
            adapter = file.GetString("general.type", "model") == "adapter";
            // Vocabulary-only and bare tensor files may lack it; where it is there, it is a name.
            file.GetString("general.architecture", "");
            report.Kind = adapter ? "adapter" : file.Contains("token_embd.weight") ? "model" : "tensors";
            foreach ((string key, object value) in Texts(file))
                report.Facts.Add(("metadata." + key, value));
        }
        if (report.Kind == "model")
            Model(report, path, report.Format);
    }

    private static IEnumerable<(string Key, object Value)> Texts(GgufFile? file) => file is null ? []
        : file.Metadata.Where(m => m.Value is string or bool or byte or sbyte or short or ushort or int or uint or long or ulong or float or double)
            .Select(m => (m.Key, m.Value is float or double ? Convert.ToDouble(m.Value) : m.Value is byte or sbyte or short or ushort or int or uint or long ? Convert.ToInt64(m.Value) : m.Value));

    private static void Model(InspectReport report, string path, string format)
    {
        report.Kind = "model";
        report.Format = format;
        using ReferenceBackend backend = new();
        BaseCheckpoint checkpoint = BaseCheckpoint.Open(path);
        if (report.Tensors.Count == 0)
            report.Take([.. checkpoint.Weights.Tensors.Values]);
        if (checkpoint.Quantization is { } quantization)
        {
            report.Facts.Add(("quantization", quantization.Method));
            report.Facts.Add(("quantizedModules", quantization.Modules));
            report.Facts.AddRange(quantization.Facts);
        }
        if (ClassifierHost.Classifies(path, []))
        {
            report.Fingerprint = Fingerprint.Of(checkpoint.Weights);
            using IClassifier classifier = ClassifierHost.Load(checkpoint, backend);
            ModelConfig numbers = classifier.Config;
            report.Facts.AddRange([("modelType", numbers.ModelType), ("layers", numbers.Layers), ("hidden", numbers.HiddenSize), ("heads", numbers.Heads), ("feedForward", numbers.FeedForward), ("vocabulary", numbers.Vocabulary),
                ("context", numbers.ContextLength), ("labels", classifier.Labels), ("missingHead", classifier.MissingHead), ("sites", classifier.Sites.Sites.Count)]);
            return;
        }
        using DecoderModel model = DecoderModel.Load(checkpoint, backend);
        ModelConfig config = model.Config;
        report.Fingerprint = model.BaseFingerprint;
        report.Facts.AddRange([("modelType", config.ModelType), ("layers", config.Layers), ("hidden", config.HiddenSize), ("heads", config.Heads), ("kvHeads", config.KvHeads),
            ("headSize", config.HeadSize), ("feedForward", config.FeedForward), ("vocabulary", config.Vocabulary), ("context", config.ContextLength), ("tiedHead", config.TiedHead), ("sites", model.Sites.Sites.Count)]);
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
