using System.Text;

namespace EdgeLora.Core;

/// <summary>A PEFT folder: adapter_config.json with adapter_model.safetensors, or with adapter_model.bin where that is not there. Source: huggingface/peft, utils/save_and_load.py.</summary>
public sealed class PeftFormat : AdapterFileFormat
{
    /// <inheritdoc/>
    public override string Name => "peft";

    /// <inheritdoc/>
    public override string Title => "a PEFT folder";

    /// <inheritdoc/>
    public override string? Extension => null;

    /// <inheritdoc/>
    public override string NodeFile => PeftConfigReader.FileName;

    /// <inheritdoc/>
    public override IReadOnlyList<string> Files { get; } = [PeftConfigReader.FileName, PeftAdapter.WeightsName, PeftAdapter.BinaryName];

    /// <inheritdoc/>
    public override IReadOnlyList<string> FilesOf(string folder) => [.. base.FilesOf(folder).Where(f => f != PeftAdapter.BinaryName || !File.Exists(Path.Combine(folder, PeftAdapter.WeightsName)))];

    /// <inheritdoc/>
    public override AdapterTexts Texts => AdapterTexts.All;

    /// <inheritdoc/>
    public override bool Recognizes(string path) =>
        Directory.Exists(path) && new[] { PeftConfigReader.FileName, PeftAdapter.WeightsName, PeftAdapter.BinaryName }.Any(n => File.Exists(Path.Combine(path, n)));

    /// <inheritdoc/>
    public override PeftAdapter Read(string path, AdapterOptions options)
    {
        (PeftConfig config, string json, PeftMethod? method) = ReadMethod(path);
        TensorFile tensors = OpenTensors(path);
        if (method is not null)
            return PeftMethods.Read(path, method, config, tensors, options);
        return PeftAdapter.Assemble(path, config, json, tensors, tensors);
    }

    /// <summary>The neutral form is this format: everything fits, texts of a GGUF's as metadata of the tensors' file.</summary>
    public override AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options) => AdapterVerdict.OfNeutral(adapter) with
    {
        Notes = [.. adapter.File.Metadata.Keys.Where(k => k.StartsWith(PeftAdapter.MetadataPrefix, StringComparison.Ordinal)).Order(StringComparer.Ordinal).Select(k => $"{k} stays as metadata, which PEFT passes over")],
    };

    /// <inheritdoc/>
    public override void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default) => adapter.As(options.Type).Write(path, cancellation);

    /// <summary>adapter_config.json of a folder, parsed and as it stands. Throws <see cref="ModelFileException"/> for the folder.</summary>
    internal static (PeftConfig Config, string Json) ReadConfig(string folder) => ReadMethod(folder) is var (config, json, _) ? (config, json) : default;

    // Method: one that is read as LoRA, or null.
    private static (PeftConfig Config, string Json, PeftMethod? Method) ReadMethod(string folder)
    {
        string path = Path.Combine(folder, PeftConfigReader.FileName);
        if (!File.Exists(path))
            throw new ModelFileException(folder, $"{PeftConfigReader.FileName} is missing");
        ReadOnlyMemory<byte> utf8 = Naming(folder, PeftConfigReader.FileName, () => SafeJson.ReadBytes(path));
        (PeftConfig config, PeftMethod? method) = Translated(folder, utf8);
        return (config, Encoding.UTF8.GetString(utf8.Span), method);
    }

    /// <summary>A configuration of LoRA, or of a method that is read as a change of the same layers, whose name is given then. Throws <see cref="ModelFileException"/> for <paramref name="path"/>.</summary>
    public static (PeftConfig Config, string? Method) Parse(string path, ReadOnlyMemory<byte> utf8) => Translated(path, utf8) is var (config, method) ? (config, method?.Name) : default;

    private static (PeftConfig Config, PeftMethod? Method) Translated(string path, ReadOnlyMemory<byte> utf8)
    {
        (ReadOnlyMemory<byte> translated, PeftMethod? method) = PeftMethods.Translate(path, utf8);
        return (PeftConfigReader.Parse(path, translated), method);
    }

    /// <summary>Runs <paramref name="open"/>; what it refuses is said of the folder, with the file's name in front.</summary>
    internal static T Naming<T>(string folder, string name, Func<T> open)
    {
        try
        {
            return open();
        }
        catch (ModelFileException e)
        {
            throw new ModelFileException(folder, [.. e.Faults.Select(f => $"{name}: {f}")]);
        }
    }

    private static TensorFile OpenTensors(string folder)
    {
        string weights = Path.Combine(folder, PeftAdapter.WeightsName), binary = Path.Combine(folder, PeftAdapter.BinaryName);
        if (File.Exists(weights))
            return Naming(folder, PeftAdapter.WeightsName, () => Safetensors.Open(weights));
        return File.Exists(binary)
            ? Naming(folder, PeftAdapter.BinaryName, () => TorchPickle.Open(binary))
            : throw new ModelFileException(folder, $"{PeftAdapter.WeightsName} (or {PeftAdapter.BinaryName}) is missing");
    }
}
