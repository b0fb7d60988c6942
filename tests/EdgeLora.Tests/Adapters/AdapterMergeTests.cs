using System.Text.Json;
using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Merged weights against ../shared/fixtures/peft: <c>effective.*</c> and the lists of moved tensors, made by scripts/peft_adapters.py there.</summary>
public sealed class AdapterMergeTests
{
    private const double Tolerance = 2e-6;

    // Prompts are refused: PeftGoldenTests. Fused experts have other names in a checkpoint.
    private static readonly string[] s_refused = ["prompt", "ptuning", "prefix", "experts"];

    public static TheoryData<string> Effective => new(Forms(f => f.Tensors.Keys.Any(k => k.StartsWith("effective.", StringComparison.Ordinal))).DefaultIfEmpty("llama-qv"));

    // The library's own model fuses the experts of mixtral-experts-v4: its names are not the file's.
    public static TheoryData<string> Moved => new(Forms(_ => true).Where(f => f != "mixtral-experts-v4" && ReadMoved(f) is not null).DefaultIfEmpty("llama-qv"));

    [Theory, MemberData(nameof(Effective))]
    public void A_merged_weight_is_the_library_s(string name)
    {
        (SiteCatalog sites, AdapterPath path, TensorFile expected, IDisposable[] owned) = Open(name);
        int compared = 0;
        foreach ((string key, Tensor wanted) in expected.Tensors)
        {
            if (!key.StartsWith("effective.", StringComparison.Ordinal))
                continue;
            string tensor = key["effective.".Length..];
            ModelSite site = sites.Find(tensor[..tensor.LastIndexOf('.')])!;
            SiteAdapter adapter = path.Table[site.Index] ?? new SiteAdapter([]);
            Tensor found = tensor.EndsWith(".bias", StringComparison.Ordinal) ? AdapterMerge.EffectiveBias(site, adapter)! : AdapterMerge.EffectiveWeight(site, adapter);
            Assert.Equal(tensor, found.Name);
            double error = GoldenError.Relative(found.Floats, wanted.Floats);
            Assert.True(found.Shape == wanted.Shape && error <= Tolerance, $"{name} {tensor}: error {error:g3}, {found.Shape} for {wanted.Shape}");
            compared++;
        }
        Assert.True(compared > 0);
        Array.ForEach(owned, o => o.Dispose());
    }

    [Theory, MemberData(nameof(Moved))]
    public void Merging_moves_the_tensors_that_the_library_moves_and_no_others(string name)
    {
        (SiteCatalog sites, AdapterPath path, TensorFile _, IDisposable[] owned) = Open(name);
        SortedSet<string> moved = new(StringComparer.Ordinal);
        foreach (ModelSite site in sites.Sites)
        {
            if (path.Table[site.Index] is not { } adapter)
                continue;
            if (Differs(AdapterMerge.EffectiveWeight(site, adapter).Floats, AdapterMerge.StoredWeight(site).ToFloats()))
                moved.Add(site.Name + ".weight");
            if (AdapterMerge.EffectiveBias(site, adapter) is { } bias && Differs(bias.Floats, (site.Linear?.Bias ?? site.Norm?.Bias)?.ToFloats() ?? new float[bias.Shape.Elements]))
                moved.Add(site.Name + ".bias");
        }
        Assert.Equal(ReadMoved(name)!.Order(StringComparer.Ordinal), moved);
        Array.ForEach(owned, o => o.Dispose());
    }

    private static bool Differs(ReadOnlySpan<float> a, ReadOnlySpan<float> b) => GoldenError.Relative(a, b) > 1e-6;

    private static (SiteCatalog, AdapterPath, TensorFile, IDisposable[]) Open(string name)
    {
        string folder = SharedFolder.Require("fixtures/peft/" + name), origin = PeftAdapter.BaseFolder(folder);
        TensorFile weights = Safetensors.Open(Path.Combine(origin, "model.safetensors")), expected = Safetensors.Open(Path.Combine(folder, "expected.safetensors"));
        HfConfig config = HfConfig.Read(Path.Combine(origin, "config.json"));
        SiteCatalog sites = CheckpointSites.Of(weights, config.GetBool("tie_word_embeddings", config.ModelType == "gpt2") && config.ModelType != "bert");
        ReferenceBackend backend = new();
        ResidentAdapter adapter = ResidentAdapter.Load(folder, name, sites, backend);
        return (sites, PathResolver.Resolve(name, sites, backend, [(adapter, 1)]), expected, [adapter, backend, expected, weights]);
    }

    private static IEnumerable<string> Forms(Func<TensorFile, bool> has)
    {
        foreach (string name in SharedFolder.Folders("fixtures/peft"))
        {
            string folder = SharedFolder.Require("fixtures/peft/" + name);
            // IA3's scales of down_proj's inputs are up_proj's outputs here: the same function of other tensors (MapTests).
            if (name is "mixtral-experts" or "llama-ia3" || s_refused.Any(r => name.EndsWith("-" + r, StringComparison.Ordinal)) || !PeftAdapter.IsAdapter(folder))
                continue;
            using TensorFile expected = Safetensors.Open(Path.Combine(folder, "expected.safetensors"));
            if (has(expected))
                yield return name;
        }
    }

    private static string[]? ReadMoved(string name)
    {
        using JsonDocument measures = JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require("fixtures/peft/measures.json")));
        return measures.RootElement.TryGetProperty(name, out JsonElement form) && form.TryGetProperty("moved", out JsonElement moved)
            ? [.. moved.EnumerateArray().Select(m => m.GetString()!)]
            : null;
    }
}
