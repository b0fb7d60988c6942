namespace EdgeLora.Core;

/// <summary>All formats of adapters. Where several recognise a path, the first of them reads it.</summary>
public static class AdapterFormats
{
    /// <summary>PEFT's folder, the neutral form.</summary>
    public static PeftFormat Peft { get; } = new();

    /// <summary>Every format. A configuration with tensors beside it stands before a container.</summary>
    public static IReadOnlyList<AdapterFileFormat> All { get; } =
    [
        new MlxFormat(), new PeftBinaryFormat(), Peft, new EdgeFormat(), new OnnxFormat(), new GgufFormat(), new GenAiFormat(), new LoralibFormat(),
        new KohyaFormat(), new CloneofsimoFormat(), new DiffusersFormat(metadata: false), new DiffusersFormat(metadata: true),
    ];

    /// <summary>Files that make a tree's folder a node.</summary>
    public static IReadOnlyList<string> NodeFiles { get; } = [.. All.Select(f => f.NodeFile).OfType<string>().Distinct()];

    /// <summary>The format of this name, or null.</summary>
    public static AdapterFileFormat? Named(string name) => All.FirstOrDefault(f => f.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>The format that a path to write names by its extension; null where none or several have it.</summary>
    public static AdapterFileFormat? OfExtension(string path) => All.Where(f => f.Extension is { } e && path.EndsWith(e, StringComparison.OrdinalIgnoreCase)).ToArray() is [var only] ? only : null;

    /// <summary>The format that recognises a file or folder, or null.</summary>
    public static AdapterFileFormat? Find(string path) => All.FirstOrDefault(f => f.Recognizes(path));

    /// <summary>Opens a file or folder of any format. Throws <see cref="ModelFileException"/>, which names <paramref name="path"/>, with every fault.</summary>
    public static PeftAdapter Read(string path, AdapterOptions? options = null)
    {
        // By its name at least: then its reader says what is wrong.
        if ((Find(path) ?? (File.Exists(path) ? OfExtension(path) : null)) is not { } format)
            throw new ModelFileException(path, File.Exists(path) ? "is no adapter of a known format"
                : Directory.Exists(path) ? $"{PeftConfigReader.FileName} is missing: expected it or one of {string.Join(", ", NodeFiles.Skip(1))}" : "no such adapter folder or file");
        PeftAdapter adapter = format.Read(path, options ?? AdapterOptions.None);
        adapter.Format = format;
        return adapter;
    }
}
