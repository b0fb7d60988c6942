using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Golden;

/// <summary>Golden numbers: ../shared/fixtures/models, made by scripts/models.py there with the reference library in F64.</summary>
public sealed class ModelGoldenTests
{
    private static readonly string[] s_prefixes = ["llama", "mistral", "qwen2", "qwen3", "gpt2", "smollm3", "granite", "olmo2", "starcoder2", "phi3", "gemma", "cohere", "stablelm", "gpt_neox", "falcon", "opt", "mixtral"];

    public static TheoryData<string> Models() => new(Folders());

    internal static IEnumerable<string> Folders() =>
        SharedFolder.Folders("fixtures/models").Where(f => s_prefixes.Any(f.StartsWith)).DefaultIfEmpty("llama");

    [Theory, MemberData(nameof(Models))]
    public void Reference_backend_gives_the_reference_library_s_numbers(string name) => Check(name, new ReferenceBackend());

    [Theory, MemberData(nameof(Models))]
    public void Cpu_backend_gives_the_reference_library_s_numbers(string name) => Check(name, new Cpu.CpuBackend());

    [Theory, MemberData(nameof(Models))]
    public void Vulkan_backend_gives_the_reference_library_s_numbers(string name) => Check(name, VulkanDriver.Backend());

    [Fact]
    public void Vulkan_by_storage_buffers_gives_the_reference_library_s_numbers() => Check("qwen3", VulkanDriver.Backend(addresses: false));

    private static void Check(string name, IComputeBackend backend)
    {
        using (backend)
        {
            IReadOnlyList<GoldenError> errors = ModelGolden.Verify(SharedFolder.Require("fixtures/models/" + name), backend);
            Assert.True(errors.Count >= 6, $"{name}: only {errors.Count} comparisons");
            Assert.All(errors, e => Assert.True(e.Passed, $"{name} {e.Tensor}: error {e.Error:g3}, tolerance {e.Tolerance:g3}"));
        }
    }
}
