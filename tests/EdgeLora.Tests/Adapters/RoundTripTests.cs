using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>Every adapter of ../shared/fixtures/peft and ../shared/data/lora-adapters through every format: bit for bit where the format holds it, within rounding where a scale is folded, refused by name where it cannot.</summary>
public sealed class RoundTripTests : IDisposable
{
    // Those of language models.
    private static readonly string[] s_formats = ["peft", "peft_bin", "elora", "gguf", "mlx", "onnx_adapter", "loralib"];

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-roundtrip-").FullName;

    public static TheoryData<string> Adapters => new(SharedFolder.Folders("fixtures/peft").Where(n => n != "bases").Select(n => "fixtures/peft/" + n)
        .Concat(SharedFolder.Folders("data/lora-adapters").Where(n => n.StartsWith("gpt2-", StringComparison.Ordinal) || n.StartsWith("distilbert-", StringComparison.Ordinal) || n is "opt350m-peft-regression" or "qwen0.5b-dpo-mlx").Select(n => "data/lora-adapters/" + n))
        .DefaultIfEmpty("fixtures/peft/llama-qv"));

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory, MemberData(nameof(Adapters))]
    public void An_adapter_goes_through_every_format_that_holds_it(string name)
    {
        string root = SharedFolder.Require(name), family = Path.GetFileName(name).Split('-')[0];
        string baseFolder = Path.Combine(root, "..", "bases", name.Contains("llama-tied", StringComparison.Ordinal) ? "llama-tied" : family);
        AdapterOptions options = new() { Fold = true, Base = Directory.Exists(baseFolder) ? AdapterComparison.BaseOf(baseFolder) : null };
        int held = 0;
        foreach (string folder in Directory.EnumerateFiles(root, "adapter_config.json", SearchOption.AllDirectories).Select(f => Path.GetDirectoryName(f)!).Order(StringComparer.Ordinal))
        {
            PeftAdapter? source = null;
            try
            {
                source = AdapterFormats.Read(folder, options);
            }
            catch (ModelFileException e)
            {
                Assert.Contains("not supported", e.Message);
                continue;
            }
            using (source)
                held += s_formats.Count(f => Check(source, AdapterFormats.Named(f)!, options));
        }
        if (!s_methods.Any(m => name.Contains(m, StringComparison.Ordinal)))
            Assert.True(held >= 2, $"only {held} formats hold it");
    }

    public static TheoryData<string, string> Files => new(
        SharedFolder.Folders("fixtures/gguf/lora").SelectMany(n => new[] { "lora-F32.gguf", "lora-F16.gguf", "peft" }.Select(f => ($"fixtures/gguf/lora/{n}/{f}", $"fixtures/gguf/{n.Split('-')[0]}/hf")))
            .Concat([("fixtures/onnx_adapter/llama-f32.onnx_adapter", ""), ("fixtures/onnx_adapter/llama-f16.onnx_adapter", ""), ("fixtures/onnx_adapter/graph/rank7_f16.onnx_adapter", "")]));

    [Theory, MemberData(nameof(Files))]
    public void A_file_goes_through_every_format_that_holds_it(string file, string model)
    {
        AdapterOptions options = new() { Fold = true, Base = model.Length > 0 ? AdapterComparison.BaseOf(SharedFolder.Require(model)) : null };
        using PeftAdapter source = AdapterFormats.Read(SharedFolder.Require(file), options);
        int held = s_formats.Count(f => Check(source, AdapterFormats.Named(f)!, options));
        Assert.InRange(held, file.Contains("everything", StringComparison.Ordinal) || file.Contains("gpt2-all", StringComparison.Ordinal) ? 4 : 6, 7);
    }

    [Theory, InlineData("lora_mlp"), InlineData("lora_mlp_modules_to_save"), InlineData("lora_conv2d"), InlineData("lora_emb_conv1d")]
    public void PEFT_s_own_regression_files_go_through_too(string name)
    {
        string root = SharedFolder.Require("data/lora-adapters/peft-tiny-regression"), folder = Directory.CreateTempSubdirectory("edgelora-tiny-").FullName;
        try
        {
            foreach (string file in new[] { "adapter_config.json", "adapter_model.bin" })
                File.Copy(Path.Combine(root, $"{name}_0.6.1_{file}"), Path.Combine(folder, file));
            using PeftAdapter source = PeftAdapter.Open(folder);
            Assert.Equal("peft_bin", source.Format!.Name);
            Assert.True(s_formats.Count(f => Check(source, AdapterFormats.Named(f)!, new() { Fold = true })) >= 3);
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    // Methods that are no pairs: how they are held is their own tests' business.
    private static readonly string[] s_methods = ["ia3", "loha", "lokr", "vera", "oft", "adalora", "prompt", "ptuning", "prefix", "experts"];

    private bool Check(PeftAdapter source, AdapterFileFormat format, AdapterOptions options)
    {
        AdapterVerdict verdict = format.Judge(source, options);
        if (verdict.Refusals.Count > 0)
        {
            string path = Path.Combine(_folder, "refused" + format.Extension);
            Directory.CreateDirectory(_folder);
            ModelFileException e = Assert.Throws<ModelFileException>(() => format.Write(source, format.Extension is null ? _folder : path, options, TestContext.Current.CancellationToken));
            Assert.Contains(verdict.Refusals[0], e.Message);
            Assert.Empty(Directory.EnumerateFiles(_folder));
            return false;
        }
        AdapterOptions told = format.Name == "loralib" ? options with { Alpha = AlphaOf(verdict) } : options;
        using PeftAdapter there = AdapterComparison.Through(source, format, told, _folder);
        // An .onnx_adapter has every scale in B, so its numbers are others.
        // A power of two that parts a site's alpha from the others' goes into B without rounding: other bits, the same changes.
        bool moved = format.Name is not ("peft" or "peft_bin" or "elora") && LowRankPair.Of(source, []).Select(p => p.Scale * p.Rank).Distinct().Count() > 1;
        if (verdict.IsExact && !moved && format.Name != "onnx_adapter")
            AdapterComparison.CheckSame(source, there, format.Name);
        else
            Assert.True(AdapterComparison.DeltaError(source, there, 4) <= Tolerance(source, format), $"{format.Name}: {AdapterComparison.DeltaError(source, there, 4):g3}");
        foreach (string written in Directory.EnumerateFileSystemEntries(_folder))
            if (Directory.Exists(written))
                Directory.Delete(written, true);
            else
                File.Delete(written);
        return true;
    }

    // B becomes F32 where folding rounds, but for an F16 graph, which takes F16 inputs and no others.
    private static double Tolerance(PeftAdapter source, AdapterFileFormat format) => format.Name == "onnx_adapter" && source.Tensors.Values.Any(t => t.Type == DType.F16) ? 1e-3 : 1e-6;

    // "alpha 16 is not in a loralib file: …"
    private static double AlphaOf(AdapterVerdict verdict) => double.Parse(Assert.Single(verdict.Notes).Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);
}
