using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Formats;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Adapters out of full models: ../shared/fixtures/peft/llama-merged (a LoRA of rank 8 merged by PEFT) minus its base.</summary>
public sealed class ExtractionTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-extract-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Fact]
    public void The_rank_that_was_merged_is_found_again()
    {
        using DecoderModel before = Load(SharedFolder.Require("fixtures/peft/bases/llama")), after = Load(SharedFolder.Require("fixtures/peft/llama-merged/merged-a"));
        using PeftAdapter merged = PeftAdapter.Open(SharedFolder.Require("fixtures/peft/llama-merged/a"));
        using AdapterResult found = AdapterExtraction.Run(before, after, new() { Rank = 8 });
        Assert.Equal(merged.Modules.Keys, found.Adapter.Modules.Keys);
        foreach (string module in merged.Modules.Keys)
        {
            double[] wanted = DiffusionFiles.Delta(merged, module), got = DiffusionFiles.Delta(found.Adapter, module);
            // The merged weight was rounded to F32: that much is lost.
            Assert.True(wanted.Zip(got, (a, b) => Math.Abs(a - b)).Max() < 1e-6, module);
        }
        Assert.InRange(found.RelativeError, 0, 1e-5);
    }

    [Fact]
    public void A_smaller_rank_reports_what_it_leaves_out()
    {
        using DecoderModel before = Load(SharedFolder.Require("fixtures/peft/bases/llama")), after = Load(SharedFolder.Require("fixtures/peft/llama-merged/merged-a"));
        using PeftAdapter merged = PeftAdapter.Open(SharedFolder.Require("fixtures/peft/llama-merged/a"));
        using AdapterResult found = AdapterExtraction.Run(before, after, new() { Rank = 3, Targets = new("q_proj$"), Rest = ExtractionRest.Drop });
        Assert.All(found.Adapter.Modules.Keys, m => Assert.EndsWith("q_proj", m));
        using AdapterResult cut = AdapterBlend.Run([new("a", merged)], new(BlendMethod.Svd, [1]) { Rank = 3 });
        foreach (SiteReport site in found.Sites)
            Assert.Equal(cut.Sites.Single(s => s.Module == site.Module).RelativeError, site.RelativeError, 5);
    }

    [Fact]
    public void A_changed_norm_is_refused_or_saved_or_dropped()
    {
        string source = SharedFolder.Require("fixtures/peft/bases/llama"), tuned = Path.Combine(_folder, "tuned");
        Directory.CreateDirectory(tuned);
        File.Copy(Path.Combine(source, "config.json"), Path.Combine(tuned, "config.json"));
        using (TensorFile file = Safetensors.Open(source))
            Safetensors.Write(Path.Combine(tuned, "model.safetensors"), file.Tensors.Values.Select(t => t.Name is "model.norm.weight" or "model.layers.0.mlp.up_proj.weight"
                ? Tensor.FromFloats(t.Name, t.Shape, [.. t.ToFloats().Select((x, i) => x + (i % 7) * 0.01f)]) : t), file.Metadata);
        using DecoderModel before = Load(source), after = Load(tuned);
        ModelFileException e = Assert.Throws<ModelFileException>(() => AdapterExtraction.Run(before, after, new()));
        Assert.Contains("model.norm.weight: changed, and is no matrix: save it whole with --rest save, or leave it out with --rest drop", e.Message);
        using AdapterResult saved = AdapterExtraction.Run(before, after, new() { Rank = 64, Rest = ExtractionRest.Save }), dropped = AdapterExtraction.Run(before, after, new() { Rank = 64, Rest = ExtractionRest.Drop });
        Assert.Equal(["model.layers.0.mlp.up_proj"], dropped.Adapter.Modules.Keys);
        Assert.Equal(["model.layers.0.mlp.up_proj", "model.norm"], saved.Adapter.Modules.Keys);
        // What was saved, run on the base, is the fine-tune.
        string folder = Path.Combine(_folder, "adapter");
        saved.Adapter.Write(folder);
        using ResidentAdapter adapter = ResidentAdapter.Load(folder, "extracted", before.Sites, before.Backend);
        float[] expected = ModelGolden.Logits(after, AdapterPath.Root, [1, 5, 9, 2]), found = ModelGolden.Logits(before, PathResolver.Resolve("path", before.Sites, before.Backend, [(adapter, 1f)]), [1, 5, 9, 2]);
        Assert.True(GoldenError.Relative(found, expected) < 2e-5);
    }

    private static DecoderModel Load(string path) => DecoderModel.Load(BaseCheckpoint.Open(path), new ReferenceBackend());
}
