using EdgeLora.Core;
using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Backends;

/// <summary>The bit rule on Vulkan: kernels for few and for many rows add in one order.</summary>
public sealed class VulkanLinearBitTests
{
    public static TheoryData<DType> WeightTypes => [.. BackendCases.WeightTypes];

    [Theory]
    [MemberData(nameof(WeightTypes))]
    public void A_linear_row_has_the_same_bits_alone_and_in_any_batch(DType type)
    {
        using VulkanBackend backend = VulkanDriver.Backend();
        foreach (LinearCase c in LinearBits.Cases(type))
            LinearBits.EqualInChunks(backend, c, ForwardCases.Linear(backend, c), "vulkan");
    }

    [Theory]
    [InlineData(DType.F32, false)]
    [InlineData(DType.F32, true)]
    [InlineData(DType.BF16, false)]
    [InlineData(DType.Q8_0, false)]
    public void A_job_has_the_same_bits_alone_between_others_and_in_two_runs_of_rows(DType type, bool inputMajor)
    {
        using VulkanBackend backend = VulkanDriver.Backend();
        LinearBits.JobsAreEqual(backend, backend, type, inputMajor);
    }
}
