using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Golden;

/// <summary>Golden numbers: ../shared/fixtures/peft, made by scripts/peft_adapters.py there with PEFT in F64.</summary>
public sealed class AdapterGoldenTests
{
    // The other methods come with the formats that hold them.
    private static readonly string[] s_later =
    [
        "llama-prompt", "llama-ptuning", "llama-prefix", "bases",
    ];

    public static TheoryData<string> Adapters() => new(Folders());

    internal static IEnumerable<string> Folders() => SharedFolder.Folders("fixtures/peft").Except(s_later).DefaultIfEmpty("llama-qv");

    [Theory, MemberData(nameof(Adapters))]
    public void Reference_backend_gives_PEFT_s_numbers(string name) => Check(name, () => new ReferenceBackend());

    [Theory, MemberData(nameof(Adapters))]
    public void Cpu_backend_gives_PEFT_s_numbers(string name) => Check(name, () => new Cpu.CpuBackend());

    [Theory, MemberData(nameof(Adapters))]
    public void Vulkan_backend_gives_PEFT_s_numbers(string name) => Check(name, () => VulkanDriver.Backend());

    [Fact]
    public void Vulkan_by_storage_buffers_gives_PEFT_s_numbers() => Check("llama-dora", () => VulkanDriver.Backend(addresses: false));

    private static void Check(string name, Func<IComputeBackend> backend)
    {
        IReadOnlyList<GoldenError> errors = AdapterGolden.Verify(SharedFolder.Require("fixtures/peft/" + name), backend);
        Assert.True(errors.Count >= 2, $"{name}: only {errors.Count} comparisons");
        Assert.All(errors, e => Assert.True(e.Passed, $"{name} {e.Tensor}: error {e.Error:g3}, tolerance {e.Tolerance:g3}"));
    }
}
