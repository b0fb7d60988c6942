using System.Text.Json.Nodes;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Tests.Formats;
using Xunit;

namespace EdgeLora.Tests.Golden;

/// <summary>Whole models of quantised safetensors beside the same numbers as floats: fixtures/gguf/llama/hf, quantised by the test itself.</summary>
public sealed class QuantizedGoldenTests : IDisposable
{
    private static readonly int[] s_ids = [1, 5, 9, 33, 2, 7, 60, 4];

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-quantised").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory, InlineData("gptq"), InlineData("mlx"), InlineData("fp8")]
    public void A_quantised_base_computes_what_its_numbers_as_floats_compute_and_converts(string method)
    {
        (string quantised, string plain) = Write(method);
        using (BaseCheckpoint checkpoint = BaseCheckpoint.Open(quantised))
        {
            Assert.True(checkpoint.Quantization!.Modules >= 14);
            Assert.Equal(method == "gptq" ? DType.Q4_0 : DType.F32, checkpoint.Weights.Tensors["model.layers.0.mlp.up_proj.weight"].Type);
            // Into GGUF, where blocks stay the blocks that they are.
            GgufModel model = GgufModel.Of(checkpoint, new());
            GgufFile.Write(Path.Combine(_folder, "out.gguf"), model.Metadata, model.Tensors);
            Assert.Equal(method == "gptq" ? DType.Q4_0 : DType.F32, model.Tensors.Single(t => t.Name == "blk.0.attn_q.weight").Type);
            HuggingFaceModel.Of(checkpoint, null).Write(Directory.CreateDirectory(Path.Combine(_folder, "floats")).FullName, null, default);
        }
        float[] wanted = Logits(plain, new ReferenceBackend());
        foreach (string path in (string[])[quantised, Path.Combine(_folder, "out.gguf"), Path.Combine(_folder, "floats")])
            foreach (IComputeBackend backend in (IComputeBackend[])[new ReferenceBackend(), new Cpu.CpuBackend()])
                Assert.True(wanted.Zip(Logits(path, backend)).Max(p => Math.Abs(p.First - p.Second)) <= 1e-5, $"{path} on {backend.Name}");
        Assert.False(HfConfig.Read(Path.Combine(_folder, "floats")).Has(method == "mlx" ? "quantization" : "quantization_config"));
    }

    private (string Quantised, string Plain) Write(string method)
    {
        string quantised = Path.Combine(_folder, "quantised"), plain = Path.Combine(_folder, "plain");
        static bool Projections(string name) => name.Contains("_proj.", StringComparison.Ordinal);
        static JsonNode Json(string text) => JsonNode.Parse(text)!;
        string source = SharedFolder.Require("fixtures/gguf/llama/hf");
        switch (method)
        {
            case "gptq":
                QuantizedModel.Write(source, quantised, plain, (m, w, o, i) => QuantizedModel.Gptq(m, 4, 32, w, o, i), Projections, c => c["quantization_config"] = Json("{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"desc_act\":false,\"sym\":true}"));
                break;
            case "mlx":
                // The table and the head too.
                QuantizedModel.Write(source, quantised, plain, QuantizedModel.Mlx, _ => true, c => c["quantization"] = Json("{\"bits\":4,\"group_size\":32}"));
                break;
            default:
                QuantizedModel.Write(source, quantised, plain, QuantizedModel.Float8, Projections, c => c["quantization_config"] = Json("{\"quant_method\":\"fp8\",\"weight_block_size\":[32,32],\"modules_to_not_convert\":[\"lm_head\"]}"));
                break;
        }
        return (quantised, plain);
    }

    private static float[] Logits(string path, IComputeBackend backend)
    {
        using IComputeBackend disposed = backend;
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(path), backend);
        return ModelGolden.Logits(model, AdapterPath.Root, s_ids);
    }
}
