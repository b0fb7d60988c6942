namespace EdgeLora.Core;

/// <summary>A PEFT folder whose tensors are in adapter_model.bin, as torch pickles them: what PEFT wrote before 2023 and writes with safe_serialization off.</summary>
public sealed class PeftBinaryFormat : AdapterFileFormat
{
    /// <inheritdoc/>
    public override string Name => "peft_bin";

    /// <inheritdoc/>
    public override string Title => "a PEFT folder with adapter_model.bin";

    /// <inheritdoc/>
    public override string? Extension => null;

    /// <inheritdoc/>
    public override IReadOnlyList<string> Files { get; } = [PeftConfigReader.FileName, PeftAdapter.BinaryName];

    /// <inheritdoc/>
    public override AdapterTexts Texts => AdapterTexts.BaseModel | AdapterTexts.TaskType | AdapterTexts.Dropout;

    /// <inheritdoc/>
    public override bool Recognizes(string path) => File.Exists(Path.Combine(path, PeftAdapter.BinaryName)) && !File.Exists(Path.Combine(path, PeftAdapter.WeightsName));

    /// <inheritdoc/>
    public override PeftAdapter Read(string path, AdapterOptions options) => AdapterFormats.Peft.Read(path, options);

    /// <summary>The neutral form in a container without metadata.</summary>
    public override AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options)
    {
        List<string> refusals = [.. AdapterVerdict.OfNeutral(adapter).Refusals];
        AdapterContents.RefuseTexts(adapter, Title, refusals);
        return new([], refusals);
    }

    /// <inheritdoc/>
    public override void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default)
    {
        Judge(adapter, options).Demand(adapter.FilePath, options.Fold);
        PeftAdapter typed = adapter.As(options.Type);
        TorchPickle.Write(Path.Combine(path, PeftAdapter.BinaryName), [.. typed.Tensors.Values], cancellation);
        AtomicFile.WriteText(Path.Combine(path, PeftConfigReader.FileName), typed.ConfigJson);
    }
}
