using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Fused mode, for long stays: every site's W' = W + Σ s·B·A as a whole weight beside the frozen base. The base is not touched; leaving drops the overlay.</summary>
public static class FusedOverlay
{
    /// <summary>Builds the overlay of a path. Throws <see cref="InvalidOperationException"/> before anything is allocated when its F32 weights exceed <paramref name="budgetBytes"/>, and for aLoRA, which acts on some tokens only.</summary>
    /// <returns>A path that gives the same function, and the bytes of its weights.</returns>
    public static (AdapterPath Path, long Bytes) Build(AdapterPath path, SiteCatalog sites, IComputeBackend backend, long budgetBytes)
    {
        if (path.Invocation is not null)
            throw new InvalidOperationException($"{path}: an activated adapter acts from its invocation on only and cannot be fused");
        long bytes = 0;
        foreach (ModelSite site in sites.Sites)
            if (Fusable(site, path.Table[site.Index]))
                bytes += site.Linear!.Weight.Shape.Elements * sizeof(float);
        if (bytes > budgetBytes)
            throw new InvalidOperationException($"{path}: a fused overlay takes {bytes} bytes; {budgetBytes} are left of the budget");
        SiteAdapter?[] fused = new SiteAdapter?[sites.Sites.Count];
        foreach (ModelSite site in sites.Sites)
        {
            SiteAdapter? adapter = path.Table[site.Index];
            fused[site.Index] = adapter;
            if (!Fusable(site, adapter))
                continue;
            DeviceTensor weight = backend.Upload(AdapterMerge.EffectiveWeight(site, adapter!));
            // lora_bias is a part of the output, not of the weight: it becomes the site's bias.
            fused[site.Index] = new([], weight, AdapterMerge.EffectiveBias(site, adapter!) is { } bias ? backend.Upload(bias) : null);
        }
        return (new AdapterPath(path.Name, new SiteTable(fused)), bytes);
    }

    private static bool Fusable(ModelSite site, SiteAdapter? adapter) => site.Linear is not null && adapter is not null && (adapter.Steps.Length > 0 || adapter.Rows is not null);
}
