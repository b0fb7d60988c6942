using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Golden;

/// <summary>Golden numbers: the encoders in ../shared/fixtures/models, made by scripts/models.py there with the reference library in F64.</summary>
public sealed class EncoderGoldenTests
{
    public static TheoryData<string> Encoders() => new(SharedFolder.Folders("fixtures/models").Where(f => f.EndsWith("-cls", StringComparison.Ordinal)).DefaultIfEmpty("bert-cls"));

    [Theory, MemberData(nameof(Encoders))]
    public void Reference_backend_gives_the_reference_library_s_classes(string name) => Check(name, new ReferenceBackend());

    [Theory, MemberData(nameof(Encoders))]
    public void Cpu_backend_gives_the_reference_library_s_classes(string name) => Check(name, new Cpu.CpuBackend());

    [Theory, MemberData(nameof(Encoders))]
    public void Vulkan_backend_gives_the_reference_library_s_classes(string name) => Check(name, VulkanDriver.Backend());

    private static void Check(string name, IComputeBackend backend)
    {
        using (backend)
        {
            IReadOnlyList<GoldenError> errors = ModelGolden.Verify(SharedFolder.Require("fixtures/models/" + name), backend);
            Assert.Equal(["hidden.0", "hidden.1", "hidden.2", "last_hidden", "logits", "logits.alone"], errors.Select(e => e.Tensor));
            Assert.All(errors, e => Assert.True(e.Passed, $"{name} {e.Tensor}: error {e.Error:g3}, tolerance {e.Tolerance:g3}"));
        }
    }
}
