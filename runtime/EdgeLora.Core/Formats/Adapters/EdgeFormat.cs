using System.Text;

namespace EdgeLora.Core;

/// <summary>PEFT's configuration and tensors in one <c>.elora</c> file (<see cref="EdgeAdapter"/>).</summary>
public sealed class EdgeFormat : AdapterFileFormat
{
    /// <inheritdoc/>
    public override string Name => "elora";

    /// <inheritdoc/>
    public override string Title => "an .elora file";

    /// <inheritdoc/>
    public override string Extension => EdgeAdapter.Extension;

    /// <inheritdoc/>
    public override string NodeFile => PeftAdapter.EdgeName;

    /// <inheritdoc/>
    public override AdapterTexts Texts => AdapterTexts.All;

    /// <inheritdoc/>
    public override bool Recognizes(string path) => HasFile(path);

    /// <inheritdoc/>
    public override PeftAdapter Read(string path, AdapterOptions options)
    {
        path = FileOf(path);
        EdgeAdapter edge = EdgeAdapter.Read(path, verify: !options.TrustElora);
        try
        {
            PeftConfig config = PeftConfigReader.Parse(path, Encoding.UTF8.GetBytes(edge.Header.ConfigJson));
            PeftAdapter adapter = PeftAdapter.Assemble(path, config, edge.Header.ConfigJson, edge.File, edge, edge.Header);
            adapter.IsTrusted = options.TrustElora;
            return adapter;
        }
        catch
        {
            edge.Dispose();
            throw;
        }
    }

    /// <summary>The header holds the whole configuration: everything fits.</summary>
    public override AdapterVerdict Judge(PeftAdapter adapter, AdapterOptions options) => AdapterVerdict.OfNeutral(adapter);

    /// <inheritdoc/>
    public override void Write(PeftAdapter adapter, string path, AdapterOptions options, CancellationToken cancellation = default) =>
        adapter.As(options.Type).WriteElora(path, adapter.Header?.Name ?? adapter.File.Metadata.GetValueOrDefault(GgufFormat.NameKey) ?? options.Name, adapter.Header?.ParentFingerprint ?? "", adapter.Header?.BaseFingerprint ?? "", cancellation);
}
