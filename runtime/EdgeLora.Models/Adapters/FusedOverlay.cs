using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>
/// Fused mode, for long stays: every site's W' = W + Σ s·B·A as a whole weight beside the frozen base. The base is not touched. Held by its <see cref="FusedPath"/>s
/// and by the sessions that stand on it; <see cref="OverlayStore"/> counts them and drops it with the last.
/// </summary>
internal sealed class FusedOverlay
{
    private readonly OverlayStore _store;
    private readonly List<DeviceTensor> _owned = [];

    /// <summary>Builds the overlay of <paramref name="source"/>. Nothing stays allocated when it throws.</summary>
    public FusedOverlay(OverlayStore store, AdapterNode node, AdapterPath source, SiteCatalog sites, IComputeBackend backend)
    {
        _store = store;
        Node = node;
        Source = source;
        SiteAdapter?[] fused = new SiteAdapter?[sites.Count];
        try
        {
            // Bottlenecks stay what they are: a nonlinearity has no weight to go into.
            for (int i = 0; i < fused.Length; i++)
                fused[i] = source.Table[i];
            foreach (ModelSite site in sites.Sites)
            {
                SiteAdapter? adapter = fused[site.Index];
                if (!Fusable(site, adapter))
                    continue;
                DeviceTensor weight = Own(backend.Upload(AdapterMerge.EffectiveWeight(site, adapter!)));
                // lora_bias is a part of the output, not of the weight: it becomes the site's bias.
                fused[site.Index] = new([], weight, AdapterMerge.EffectiveBias(site, adapter!) is { } bias ? Own(backend.Upload(bias)) : null);
            }
        }
        catch
        {
            Free();
            throw;
        }
        Bytes = _owned.Sum(t => t.ByteLength);
        Path = new AdapterPath(source.Name, new SiteTable(fused), this);
    }

    /// <summary>The node; pinned as long as the overlay lives, for what is not fused (embeddings) stays its own.</summary>
    public AdapterNode Node { get; }

    /// <summary>The path that was fused.</summary>
    public AdapterPath Source { get; }

    /// <summary>A path that gives the same function without adapter work in the linear layers.</summary>
    public AdapterPath Path { get; }

    /// <summary>Bytes of its weights and biases.</summary>
    public long Bytes { get; }

    /// <summary>Holders and sessions; the store's lock guards it.</summary>
    public int Holds { get; set; }

    /// <summary>Bytes that the overlay of a path takes. Throws <see cref="InvalidOperationException"/> for aLoRA, which acts on some tokens only.</summary>
    public static long Measure(AdapterPath path, SiteCatalog sites)
    {
        if (path.Invocation is not null)
            throw new InvalidOperationException($"{path}: an activated adapter acts from its invocation on only and cannot be fused");
        long bytes = 0;
        foreach (ModelSite site in sites.Sites)
            if (path.Table[site.Index] is { } adapter && Fusable(site, adapter))
                bytes += sizeof(float) * (site.Linear!.Weight.Shape.Elements + (AdapterMerge.HasBias(site, adapter) ? site.Linear.Outputs : 0));
        return bytes;
    }

    /// <summary>One hold more. Throws <see cref="ObjectDisposedException"/> when the overlay was dropped.</summary>
    public void Hold() => _store.Hold(this);

    /// <summary>One hold less; the last drops the overlay.</summary>
    public void Release() => _store.Release(this);

    /// <summary>Frees the weights. No session may stand here.</summary>
    public void Free()
    {
        foreach (DeviceTensor tensor in _owned)
            tensor.Dispose();
        _owned.Clear();
    }

    private static bool Fusable(ModelSite site, SiteAdapter? adapter) => site.Linear is not null && adapter is not null && (adapter.Steps.Length > 0 || adapter.Rows is not null);

    private DeviceTensor Own(DeviceTensor tensor)
    {
        _owned.Add(tensor);
        return tensor;
    }
}
