namespace EdgeLora.Core;

/// <summary>
/// One format of adapters: how it is recognised, read into the neutral form (<see cref="PeftAdapter"/>: configuration and tensors by module), written from it, and what it cannot hold.
/// A new format is one subclass and one line in <see cref="AdapterFormats"/>.
/// </summary>
public abstract class AdapterFileFormat
{
    /// <summary>Its name on the command line: <c>peft</c>, <c>gguf</c>, <c>mlx</c>.</summary>
    public abstract string Name { get; }

    /// <summary>What messages call a file of it: "an .onnx_adapter file".</summary>
    public abstract string Title { get; }

    /// <summary>The extension of its files, with the dot; null for a folder.</summary>
    public abstract string? Extension { get; }

    /// <summary>The file that makes a tree's folder a node of this format; null where a node cannot be of it.</summary>
    public virtual string? NodeFile => null;

    /// <summary>How a pair's scale follows from what a file says.</summary>
    public virtual string ScaleRule(PeftAdapter adapter) => adapter.Config.UseRslora ? "alpha/sqrt(rank), each module's own" : "alpha/rank, each module's own";

    /// <summary>Names of all files that one of a tree's folders may be read from in this format.</summary>
    public virtual IReadOnlyList<string> Files => NodeFile is { } name ? [name] : [];

    /// <summary>Those of <see cref="Files"/> that are read from <paramref name="folder"/>.</summary>
    public virtual IReadOnlyList<string> FilesOf(string folder) => [.. Files.Where(f => File.Exists(Path.Combine(folder, f)))];

    /// <summary>Whether <see cref="Write"/> is there.</summary>
    public virtual bool Writes => true;

    /// <summary>Whether a file or folder is meant to be of this format, by its name and first bytes; it may still be broken.</summary>
    public abstract bool Recognizes(string path);

    /// <summary>Opens a file or folder. Throws <see cref="ModelFileException"/>, which names <paramref name="path"/>, with every fault.</summary>
    /// <param name="path">What <see cref="Recognizes"/> takes.</param>
    /// <param name="options">Facts that the format itself does not hold.</param>
    public abstract PeftAdapter Read(string path, AdapterOptions options);

    /// <summary>What would happen to <paramref name="adapter"/> in this format: nothing, rounding, or refusal; each with its reason.</summary>
    public abstract AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options);

    /// <summary>What of <see cref="AdapterTexts"/> files of this format hold.</summary>
    public virtual AdapterTexts Texts => AdapterTexts.None;

    /// <summary>Names what <paramref name="adapter"/> says that has no place in this format and that no number depends on: one note, or none.</summary>
    public IReadOnlyList<string> LeftBehind(PeftAdapter adapter) => AdapterRemainder.Of(adapter, Texts, KeepsText);

    /// <summary>Whether a free text of this name has a place, where not all have.</summary>
    protected virtual bool KeepsText(string key) => false;

    /// <summary>Writes an adapter that <see cref="Judge"/> lets pass. Throws <see cref="ModelFileException"/> naming everything that this format cannot hold. Nothing half-written stays.</summary>
    /// <param name="adapter">What is written.</param>
    /// <param name="path">A file, or a folder that is there and empty.</param>
    /// <param name="options">Type, folding, facts.</param>
    /// <param name="cancellation">Stops between two tensors.</param>
    public abstract void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default);

    /// <summary>Whether <paramref name="path"/> is a file with this format's extension, or a folder with its <see cref="NodeFile"/>.</summary>
    protected bool HasFile(string path) =>
        Extension is { } extension && path.EndsWith(extension, StringComparison.OrdinalIgnoreCase) && File.Exists(path) || NodeFile is { } name && File.Exists(Path.Combine(path, name));

    /// <summary>The file: <paramref name="path"/> itself, or <see cref="NodeFile"/> in it.</summary>
    protected string FileOf(string path) => NodeFile is { } name && Directory.Exists(path) ? Path.Combine(path, name) : path;
}
