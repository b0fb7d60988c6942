using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Fused overlays under a byte budget: one a node however many hold it, dropped when the last holder and the last session leave. Thread-safe.</summary>
/// <param name="model">The base.</param>
/// <param name="adapters">Where the nodes' adapters are resident.</param>
/// <param name="budgetBytes">Bytes that overlays may take together.</param>
public sealed class OverlayStore(DecoderModel model, AdapterStore adapters, long budgetBytes = long.MaxValue) : IDisposable
{
    private readonly Lock _building = new();
    private readonly Lock _lock = new();
    private readonly Dictionary<AdapterPath, FusedOverlay> _overlays = [];

    /// <summary>Bytes that overlays may take together.</summary>
    public long BudgetBytes { get; } = budgetBytes;

    /// <summary>Bytes of the overlays held, each counted once.</summary>
    public long Bytes { get; private set; }

    /// <summary>
    /// A hold on the fused path of a node, which is built unless it is there. Throws <see cref="InvalidOperationException"/> before anything is allocated when it does not fit
    /// into what is left of the budget, and for aLoRA; <see cref="ModelFileException"/> for a refused adapter.
    /// </summary>
    public FusedPath Fuse(AdapterNode node)
    {
        // Builds take turns, so that two never share the same rest of the budget. Who leaves does not wait for them.
        lock (_building)
        {
            AdapterPath source = adapters.Acquire(node);
            bool pinned = false;
            try
            {
                FusedOverlay? overlay = Find(source);
                if (overlay is null)
                {
                    overlay = Build(node, source);
                    pinned = true;
                }
                return new FusedPath(overlay);
            }
            finally
            {
                // The overlay keeps the pin that it was built under; every other way gives it back.
                if (!pinned)
                    adapters.Release(node);
            }
        }
    }

    /// <summary>Drops every overlay, also those held: no session may run on one afterwards.</summary>
    public void Dispose()
    {
        FusedOverlay[] all;
        lock (_lock)
        {
            all = [.. _overlays.Values];
            _overlays.Clear();
            Bytes = 0;
        }
        foreach (FusedOverlay overlay in all)
            Drop(overlay);
    }

    internal void Hold(FusedOverlay overlay)
    {
        lock (_lock)
        {
            if (overlay.Holds == 0)
                throw new ObjectDisposedException(overlay.Path.ToString(), AdapterPath.DroppedMessage);
            overlay.Holds++;
        }
    }

    internal void Release(FusedOverlay overlay)
    {
        lock (_lock)
        {
            if (--overlay.Holds > 0 || !_overlays.Remove(overlay.Source))
                return;
            Bytes -= overlay.Bytes;
        }
        Drop(overlay);
    }

    private FusedOverlay? Find(AdapterPath source)
    {
        lock (_lock)
        {
            if (_overlays.TryGetValue(source, out FusedOverlay? overlay))
                overlay.Holds++;
            return overlay;
        }
    }

    private FusedOverlay Build(AdapterNode node, AdapterPath source)
    {
        long bytes = FusedOverlay.Measure(source, model.Sites), left;
        lock (_lock)
            left = BudgetBytes - Bytes;
        if (bytes > left)
            throw new InvalidOperationException($"{source}: a fused overlay takes {bytes} bytes; {left} are left of the budget");
        FusedOverlay overlay = new(this, node, source, model.Sites, model.Backend) { Holds = 1 };
        lock (_lock)
        {
            _overlays.Add(source, overlay);
            Bytes += overlay.Bytes;
        }
        return overlay;
    }

    private void Drop(FusedOverlay overlay)
    {
        overlay.Path.Close();
        overlay.Free();
        adapters.Release(overlay.Node);
    }
}
