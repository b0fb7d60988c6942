namespace EdgeLora.Models;

/// <summary>
/// A hold on a fused path. Sessions that stand on <see cref="Path"/> hold it too, so it may be disposed as soon as one stands there:
/// the overlay's bytes are free again when this is disposed and the last session has left. Afterwards nobody can step onto the path: fuse it again.
/// </summary>
public sealed class FusedPath : IDisposable
{
    private FusedOverlay? _overlay;

    internal FusedPath(FusedOverlay overlay)
    {
        _overlay = overlay;
        Path = overlay.Path;
        Bytes = overlay.Bytes;
    }

    /// <summary>Where to stand. The same object for every holder of a node.</summary>
    public AdapterPath Path { get; }

    /// <summary>Bytes of the overlay.</summary>
    public long Bytes { get; }

    /// <inheritdoc/>
    public void Dispose() => Interlocked.Exchange(ref _overlay, null)?.Release();
}
