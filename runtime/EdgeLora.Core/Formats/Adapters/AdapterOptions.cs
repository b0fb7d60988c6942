namespace EdgeLora.Core;

/// <summary>What reading or writing an adapter needs to know beside the adapter.</summary>
public sealed record AdapterOptions
{
    /// <summary>Nothing beside it.</summary>
    public static AdapterOptions None { get; } = new();

    /// <summary>alpha, for formats whose files do not hold it.</summary>
    public double? Alpha { get; init; }

    /// <summary>Which parts of loralib's merged layers have pairs, for files that leave it open; null: not told.</summary>
    public bool[]? EnabledParts { get; init; }

    /// <summary>The base, for formats whose names or row order depend on it.</summary>
    public AdapterBase? Base { get; init; }

    /// <summary>The base's linear layers, for methods whose tensors are cut to them (VeRA); null: those of <see cref="Base"/>.</summary>
    public BaseLayers? Layers { get; init; }

    /// <summary>Names of the base's modules, for formats that write dots as underscores (kohya); null: the known structures decide.</summary>
    public IReadOnlyList<string>? Modules { get; init; }

    /// <summary>F32, F16 or BF16: what tensors are written as; null: as they are.</summary>
    public DType? Type { get; init; }

    /// <summary>Whether a scale that has no place in the format may be multiplied into B, with one rounding of each number.</summary>
    public bool Fold { get; init; }

    /// <summary>Whether textual-inversion embeddings that lie beside an adapter may be left out.</summary>
    public bool WithoutEmbeddings { get; init; }

    /// <summary>Whether the bytes of an <c>.elora</c> file are taken as they are: neither compared with their checksums nor searched for NaN, so that opening takes as long for a large adapter as for a small one. Its header is checked.</summary>
    public bool TrustElora { get; init; }

    /// <summary>The adapter's name, for formats that hold one.</summary>
    public string Name { get; init; } = "adapter";
}
