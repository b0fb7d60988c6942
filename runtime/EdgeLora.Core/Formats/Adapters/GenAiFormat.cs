namespace EdgeLora.Core;

/// <summary>onnxruntime-genai's adapter files of July 2024 (<c>.fb</c>, identifier "GAIL"), from which <c>.onnx_adapter</c> grew: the same pairs under the same names (<see cref="OnnxLowRank"/>). Read only.</summary>
public sealed class GenAiFormat : AdapterFileFormat
{
    /// <inheritdoc/>
    public override string Name => "genai";

    /// <inheritdoc/>
    public override string Title => "an onnxruntime-genai .fb file";

    /// <inheritdoc/>
    public override string Extension => ".fb";

    /// <inheritdoc/>
    public override bool Writes => false;

    /// <inheritdoc/>
    public override string ScaleRule(PeftAdapter adapter) => "none: it is in B";

    /// <inheritdoc/>
    public override bool Recognizes(string path) => HasFile(path);

    /// <inheritdoc/>
    public override PeftAdapter Read(string path, AdapterOptions options) => OnnxLowRank.Read(path);

    /// <inheritdoc/>
    public override AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options) => new([], [$"{Title} is read, not written: .onnx_adapter took its place"]);

    /// <inheritdoc/>
    public override void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default) => Judge(adapter, options).Demand(adapter.FilePath, options.Fold);
}
