using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Golden;

/// <summary>Golden numbers: ../shared/fixtures/gguf, made by scripts/gguf_files.py there: F64 logits of the weights that each file holds.</summary>
public sealed class GgufGoldenTests
{
    // Logits lie within ±2.7; weights are exact, arithmetic is F32.
    private const double AbsoluteTolerance = 1e-5;

    [Theory]
    [InlineData("llama", "llama-F32"), InlineData("llama", "llama-F16"), InlineData("llama", "llama-Q8_0"), InlineData("llama", "llama-Q4_0"), InlineData("llama", "llama-F32-big-endian")]
    [InlineData("qwen2", "qwen2-F32"), InlineData("qwen2", "qwen2-F16"), InlineData("qwen2", "qwen2-Q8_0"), InlineData("qwen2", "qwen2-Q4_0")]
    [InlineData("gpt2", "gpt2-F32"), InlineData("gpt2", "gpt2-F16"), InlineData("gpt2", "gpt2-Q8_0"), InlineData("gpt2", "gpt2-Q4_0")]
    public void A_GGUF_base_gives_the_logits_of_its_weights(string folder, string file)
    {
        foreach (IComputeBackend backend in new IComputeBackend[] { new ReferenceBackend(), new Cpu.CpuBackend() })
            using (backend)
                Check(folder, $"fixtures/gguf/{folder}/{file}.gguf", file.Replace("-big-endian", ""), backend);
    }

    [Fact]
    public void A_split_GGUF_is_the_whole() =>
        Check("llama", "fixtures/gguf/split/llama-F16-00001-of-00003.gguf", "llama-F16", new ReferenceBackend());

    [Fact]
    public void A_quant_type_that_is_not_supported_is_named()
    {
        string path = SharedFolder.Require("fixtures/gguf/llama/llama-mixed.gguf");
        ModelFileException e = Assert.Throws<ModelFileException>(() => DecoderModel.Load(BaseCheckpoint.Open(path), new ReferenceBackend()).Dispose());
        Assert.Contains("Q5_1", e.Message);
    }

    private static void Check(string folder, string file, string column, IComputeBackend backend)
    {
        using TensorFile expected = Safetensors.Open(SharedFolder.Require($"fixtures/gguf/{folder}/expected_logits.safetensors"));
        Tensor wanted = expected.Tensors.TryGetValue(column, out Tensor? named) ? named : expected.Tensors[column[(folder.Length + 1)..]];
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(SharedFolder.Require(file)), backend);
        float[] logits = ModelGolden.Logits(model, AdapterPath.Root, Array.ConvertAll(expected.Tensors["ids"].ToInts(), x => (int)x));
        double worst = logits.Zip(wanted.ToFloats()).Max(p => Math.Abs((double)p.First - p.Second));
        Assert.True(worst <= AbsoluteTolerance, $"{file} on {backend.Name}: off by {worst:g3}");
    }
}
