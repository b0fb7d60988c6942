using EdgeLora.Cli.Converting;
using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Cli.Inspection;

/// <summary>Adapters of any format, read as their readers do; and against a base, where one is named.</summary>
internal static class AdapterInspector
{
    /// <summary>Adds an adapter.</summary>
    public static void Inspect(InspectReport report, string path, ConvertRequest request, AdapterFileFormat format)
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
            // A GGUF's faults are told in its own names: by its rows as they are in the file.
            Fit(report, path, model, format, format is GgufFormat ? options with { Base = null } : options);
    }

    /// <summary>Adds an adapter_config.json. What its fields mean is the format of its folder, which is inspected where it is one.</summary>
    public static void ConfigFile(InspectReport report, string path, ConvertRequest request)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (AdapterFormats.Find(folder) is { } format && format.FilesOf(folder).Count > 1)
        {
            Inspect(report, folder, request, format);
            return;
        }
        (PeftConfig config, string? method) = PeftFormat.Parse(path, SafeJson.ReadBytes(path));
        Config(report, config);
        if (method is not null)
            report.Facts.Add(("readFrom", method));
    }

    /// <summary>Adds an .onnx_adapter file, which may hold any tensors. False where it is no adapter: then all of it is said.</summary>
    public static bool Onnx(InspectReport report, string path)
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

    /// <summary>Adds a configuration.</summary>
    public static void Config(InspectReport report, PeftConfig config, bool hasAlpha = true)
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

    /// <summary>A GGUF's metadata that one line can hold.</summary>
    public static IEnumerable<(string Key, object Value)> Texts(GgufFile? file) => file is null ? []
        : file.Metadata.Where(m => m.Value is string or bool or byte or sbyte or short or ushort or int or uint or long or ulong or float or double)
            .Select(m => (m.Key, m.Value is float or double ? Convert.ToDouble(m.Value) : m.Value is byte or sbyte or short or ushort or int or uint or long ? Convert.ToInt64(m.Value) : m.Value));

    private static string ContainerOf(AdapterFileFormat format) => format switch
    {
        PeftFormat or PeftBinaryFormat => "PEFT",
        EdgeFormat or OnnxFormat or GenAiFormat => format.Extension!,
        GgufFormat => "GGUF adapter",
        MlxFormat => "MLX",
        _ => format.Name,
    };

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
}
