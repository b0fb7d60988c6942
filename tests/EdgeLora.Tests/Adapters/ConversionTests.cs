using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Adapters;

/// <summary>../shared/fixtures/conversions (scripts/conversions.py there): one LoRA in every format, its deltas and its logits in F64.</summary>
public sealed class ConversionTests : IDisposable
{
    private const double DeltaTolerance = 1e-6, LogitTolerance = 1e-5;

    private static readonly Dictionary<string, string> s_files = new()
    {
        ["peft"] = "peft",
        ["peft_bin"] = "peft_bin",
        ["gguf"] = "adapter.gguf",
        ["mlx"] = "mlx",
        ["onnx_adapter"] = "adapter.onnx_adapter",
        ["loralib"] = "loralib.bin",
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-conversions-").FullName;

    public static TheoryData<string> Variants => new("plain", "rslora", "patterns", "dora");

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory, MemberData(nameof(Variants))]
    public void Every_format_gives_the_same_deltas_and_logits_as_a_node(string variant)
    {
        string root = SharedFolder.Require("fixtures/conversions/" + variant);
        using TensorFile logits = Safetensors.Open(Path.Combine(root, "expected_logits.safetensors")), deltas = Safetensors.Open(Path.Combine(root, "deltas.safetensors"));
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(SharedFolder.Require("fixtures/conversions/base")), new ReferenceBackend());
        int[] ids = Array.ConvertAll(logits.Tensors["ids"].ToInts(), x => (int)x);
        int seen = 0;
        foreach ((string format, string file) in s_files.Where(f => Path.Exists(Path.Combine(root, f.Value)) && !(f.Key == "loralib" && variant == "patterns")))
        {
            PeftAdapter adapter = AdapterFormats.Read(Path.Combine(root, file), Options(variant));
            Assert.Equal(format, adapter.Format!.Name);
            if (variant != "dora")
                foreach (LowRankPair pair in LowRankPair.Of(adapter, []))
                    Assert.True(AdapterComparison.Delta(pair).Zip(deltas.Tensors[pair.Module].ToFloats()).Max(p => Math.Abs(p.First - p.Second)) <= 1e-7, $"{format} {pair.Module}");
            using ResidentAdapter resident = ResidentAdapter.Stage(LoraAdapter.Fit(adapter, model.Sites, format), model.Backend);
            float[] found = ModelGolden.Logits(model, PathResolver.Resolve("path", model.Sites, model.Backend, [(resident, 1)]), ids);
            double worst = found.Zip(logits.Tensors["logits"].ToFloats()).Max(p => Math.Abs((double)p.First - p.Second));
            Assert.True(worst <= LogitTolerance, $"{format}: logits off by {worst:g3}");
            seen++;
        }
        Assert.Equal(variant switch { "dora" => 3, "patterns" => 5, _ => 6 }, seen);
    }

    [Theory, MemberData(nameof(Variants))]
    public void Every_pair_of_formats_goes_there_and_back(string variant)
    {
        string root = SharedFolder.Require("fixtures/conversions/" + variant);
        AdapterOptions options = Options(variant) with { Fold = true };
        int exact = 0, folded = 0, refused = 0;
        foreach (string file in s_files.Values.Where(f => Path.Exists(Path.Combine(root, f)) && !(f == "loralib.bin" && variant == "patterns")))
        {
            using PeftAdapter source = AdapterFormats.Read(Path.Combine(root, file), options);
            foreach (AdapterFileFormat format in AdapterFormats.All.Where(f => f.Writes && f.Name is "peft" or "peft_bin" or "elora" or "gguf" or "mlx" or "onnx_adapter" or "loralib"))
            {
                // alpha of a loralib file is told each time: the one that it was written with.
                AdapterVerdict verdict = format.Judge(source, options);
                if (verdict.Refusals.Count > 0)
                {
                    ModelFileException e = Assert.Throws<ModelFileException>(() => AdapterComparison.Through(source, format, options, _folder));
                    Assert.Contains("use_dora", e.Message);
                    refused++;
                    continue;
                }
                using PeftAdapter there = AdapterComparison.Through(source, format, options, _folder);
                Assert.True(AdapterComparison.DeltaError(source, there) <= DeltaTolerance, $"{file} -> {format.Name}: {AdapterComparison.DeltaError(source, there):g3}");
                if (!verdict.IsExact)
                {
                    Assert.Contains("allow it with --fold", Assert.Throws<ModelFileException>(() => verdict.Demand(file, fold: false)).Message);
                    folded++;
                    continue;
                }
                using PeftAdapter back = AdapterComparison.Through(there, AdapterFormats.Peft, options, _folder);
                if (format.Name is not ("onnx_adapter" or "loralib"))
                    AdapterComparison.CheckSame(source, back, $"{file} -> {format.Name} -> peft");
                exact++;
            }
        }
        Assert.Equal(variant switch { "plain" => (42, 0, 0), "rslora" => (42, 0, 0), "patterns" => (exact, 35 - exact, 0), _ => (12, 0, 9) }, (exact, folded, refused));
    }

    private static AdapterOptions Options(string variant) => new()
    {
        Base = AdapterComparison.BaseOf(SharedFolder.Require("fixtures/conversions/base")),
        Alpha = variant == "rslora" ? 16 : variant is "plain" or "patterns" ? 8 : null,
    };
}
