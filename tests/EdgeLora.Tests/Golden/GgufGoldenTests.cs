using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Golden;

/// <summary>Golden numbers: ../shared/fixtures/gguf, made by scripts/gguf_files.py there: F64 logits of the weights that each file holds.</summary>
public sealed class GgufGoldenTests
{
    // Logits lie within ±2.7; weights are exact, arithmetic is F32.
    private const double AbsoluteTolerance = 1e-5;

    public static TheoryData<string, string> Files => new()
    {
        { "llama", "llama-F32" }, { "llama", "llama-F16" }, { "llama", "llama-Q8_0" }, { "llama", "llama-Q4_0" }, { "llama", "llama-F32-big-endian" }, { "llama", "llama-mixed" },
        { "qwen2", "qwen2-F32" }, { "qwen2", "qwen2-F16" }, { "qwen2", "qwen2-Q8_0" }, { "qwen2", "qwen2-Q4_0" },
        { "gpt2", "gpt2-F32" }, { "gpt2", "gpt2-F16" }, { "gpt2", "gpt2-Q8_0" }, { "gpt2", "gpt2-Q4_0" },
    };

    [Theory, MemberData(nameof(Files))]
    public void Reference_backend_gives_the_logits_of_a_GGUF_base_s_weights(string folder, string file) => Check(folder, file, new ReferenceBackend());

    [Theory, MemberData(nameof(Files))]
    public void Cpu_backend_gives_the_logits_of_a_GGUF_base_s_weights(string folder, string file) => Check(folder, file, new Cpu.CpuBackend());

    [Theory, MemberData(nameof(Files))]
    public void Vulkan_backend_gives_the_logits_of_a_GGUF_base_s_weights(string folder, string file) => Check(folder, file, VulkanDriver.Backend());

    [Theory, InlineData("llama", 7), InlineData("qwen2", 5), InlineData("gpt2", 5)]
    public void All_files_of_a_model_are_verified_by_one_command(string folder, int files)
    {
        System.Text.Json.JsonElement report = System.Text.Json.JsonDocument.Parse(Adapters.Command.Run("verify", "golden", SharedFolder.Require("fixtures/gguf/" + folder), "--json")).RootElement.GetProperty("folders")[0];
        Assert.Equal(("models", true, files), (report.GetProperty("kind").GetString(), report.GetProperty("passed").GetBoolean(), report.GetProperty("compared").GetInt32()));
    }

    [Theory, InlineData("llama/llama-Q8_0.gguf", false), InlineData("split/llama-F16-00001-of-00003.gguf", true), InlineData("split", true)]
    public void One_file_of_a_model_is_verified_by_its_own_logits(string file, bool elsewhere)
    {
        string[] expected = elsewhere ? ["--expected", SharedFolder.Require("fixtures/gguf/llama/expected_logits.safetensors")] : [];
        System.Text.Json.JsonElement report = System.Text.Json.JsonDocument.Parse(Adapters.Command.Run(["verify", "golden", SharedFolder.Require("fixtures/gguf/" + file), "--json", .. expected])).RootElement.GetProperty("folders")[0];
        Assert.Equal((true, 1), (report.GetProperty("passed").GetBoolean(), report.GetProperty("compared").GetInt32()));
    }

    [Fact]
    public void A_split_GGUF_is_the_whole() =>
        Check("llama", "fixtures/gguf/split/llama-F16-00001-of-00003.gguf", "llama-F16", new ReferenceBackend());

    internal static void Check(string folder, string file, IComputeBackend backend) => Check(folder, $"fixtures/gguf/{folder}/{file}.gguf", file.Replace("-big-endian", ""), backend);

    private static void Check(string folder, string file, string column, IComputeBackend backend)
    {
        using IComputeBackend disposed = backend;
        using TensorFile expected = Safetensors.Open(SharedFolder.Require($"fixtures/gguf/{folder}/expected_logits.safetensors"));
        Tensor wanted = expected.Tensors.TryGetValue(column, out Tensor? named) ? named : expected.Tensors[column[(folder.Length + 1)..]];
        using DecoderModel model = DecoderModel.Load(BaseCheckpoint.Open(SharedFolder.Require(file)), backend);
        float[] logits = ModelGolden.Logits(model, AdapterPath.Root, Array.ConvertAll(expected.Tensors["ids"].ToInts(), x => (int)x));
        double worst = logits.Zip(wanted.ToFloats()).Max(p => Math.Abs((double)p.First - p.Second));
        Assert.True(worst <= AbsoluteTolerance, $"{file} on {backend.Name}: off by {worst:g3}");
    }
}
