namespace EdgeLora.Core;

/// <summary>Low-rank pairs as inputs of an ONNX graph (<see cref="OnnxLowRank"/>) in an <c>.onnx_adapter</c> file.</summary>
public sealed class OnnxFormat : AdapterFileFormat
{
    /// <inheritdoc/>
    public override string Name => "onnx_adapter";

    /// <inheritdoc/>
    public override string Title => "an .onnx_adapter file";

    /// <inheritdoc/>
    public override string Extension => OnnxAdapter.Extension;

    /// <inheritdoc/>
    public override string NodeFile => PeftAdapter.OnnxName;

    /// <inheritdoc/>
    public override string ScaleRule(PeftAdapter adapter) => "none: it is in B";

    /// <inheritdoc/>
    public override bool Recognizes(string path) => HasFile(path);

    /// <inheritdoc/>
    public override PeftAdapter Read(string path, AdapterOptions options) => OnnxLowRank.Read(FileOf(path));

    /// <inheritdoc/>
    public override AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options) => OnnxLowRank.Judge(adapter, options.Type);

    /// <inheritdoc/>
    protected override bool KeepsText(string key) => OnnxLowRank.IsVersion(key);

    /// <inheritdoc/>
    public override void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default)
    {
        Judge(adapter, options).Demand(adapter.FilePath, options.Fold);
        OnnxLowRank.Write(path, adapter, options.Type, cancellation);
    }
}
