using EdgeLora.Core;
using EdgeLora.Models;

namespace EdgeLora.Tests.Adapters;

/// <summary>Sites straight from a checkpoint's tensors, without a model: any base that an adapter may have, whether it can be run here or not.</summary>
public static class CheckpointSites
{
    public static SiteCatalog Of(TensorFile file, bool tied)
    {
        using ReferenceBackend backend = new();
        Dictionary<string, DeviceTensor> device = file.Tensors.ToDictionary(t => t.Key, t => backend.Upload(t.Value));
        List<ModelSite> sites = [];
        int layers = 0;
        string embedding = "", head = "lm_head";
        foreach ((string name, DeviceTensor weight) in device)
        {
            if (!name.EndsWith(".weight", StringComparison.Ordinal))
                continue;
            string module = name[..^7];
            DeviceTensor? bias = device.GetValueOrDefault(module + ".bias");
            int index = sites.Count;
            bool table = module.Contains("embed", StringComparison.Ordinal) && weight.Shape.Rank == 2 || module.EndsWith(".wte", StringComparison.Ordinal) || module.EndsWith(".wpe", StringComparison.Ordinal);
            bool conv = module.StartsWith("transformer.h.", StringComparison.Ordinal);
            sites.Add(table ? new(module, Embedding: new(module, index, weight))
                : weight.Shape.Rank == 1 ? new(module, Norm: new(module, index, weight, bias, 1e-5f)) : new(module, Linear: new(module, index, weight, bias, conv)));
            if (table && (module.EndsWith("embed_tokens", StringComparison.Ordinal) || module.EndsWith("wte", StringComparison.Ordinal)))
                embedding = module;
            layers = Math.Max(layers, module.Split('.').Select(p => int.TryParse(p, out int n) ? n + 1 : 0).Max());
        }
        if (tied && embedding.Length > 0)
            sites.Add(new(head, Linear: new(head, sites.Count, device[embedding + ".weight"], null, false)));
        return new(sites, sites.Any(s => s.Name == head) ? head : null, embedding, tied, layers);
    }
}
