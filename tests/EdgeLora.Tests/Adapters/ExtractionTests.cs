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

    [Theory]
    [InlineData("gguf/llama/llama-F32.gguf", "gguf/lora/llama-qv/lora-F32.gguf", "tuned.gguf")]
    [InlineData("gguf/gpt2/gpt2-F32.gguf", "gguf/lora/gpt2-all/lora-F32.gguf", "tuned.gguf")]
    [InlineData("peft/bases/gpt2", "peft/gpt2-dora", "tuned")]
    [InlineData("peft/bases/llama-tied", "peft/llama-tied-embed-tie", "tuned")]
    public void A_LoRA_of_full_rank_is_the_fine_tune_whatever_the_base_is_stored_as(string model, string adapter, string tuned)
    {
        (model, adapter, tuned) = (SharedFolder.Require("fixtures/" + model), SharedFolder.Require("fixtures/" + adapter), Path.Combine(_folder, tuned));
        string lora = Path.Combine(_folder, "lora");
        Command.Run("merge", model, "--adapter", adapter, "--type", "f32", "-o", tuned);
        Command.Run("adapter", "extract", model, tuned, "--rank", "1000", "-o", lora);
        float[] Logits(params string[] arguments)
        {
            string output = Path.Combine(_folder, "logits.safetensors");
            Command.Run(["logits", .. arguments, "--tokens", "1,2,3,4,5,6", "--output", output]);
            using TensorFile file = Safetensors.Open(output);
            return file.Tensors["logits"].ToFloats();
        }
        float[] plain = Logits(model), wanted = Logits(tuned), found = Logits(model, "--adapter", lora);
        Assert.True(GoldenError.Relative(plain, wanted) > 0.01);
        Assert.InRange(GoldenError.Relative(found, wanted), 0, 2e-5);
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
