using EdgeLora.Core;
using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Vulkan;

/// <summary>Timestamps of dispatches.</summary>
public sealed class ProfileTests
{
    [Fact]
    public void Every_dispatch_is_counted_once_by_its_shader_replayed_ones_too()
    {
        VulkanDriver.Require();
        using VulkanBackend backend = new(new VulkanOptions { Profile = true });
        using DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(1, 100)), y = backend.Allocate("y", DType.F32, new Shape(1, 100));
        for (int i = 0; i < 6; i++)
        {
            backend.Add(1, x, x, y);
            backend.GatedActivation(1, Activation.Silu, x, y, y);
            backend.GatedActivation(1, Activation.Silu, x, y, y);
            backend.ToFloats((VulkanTensor)y);
        }
        backend.Add(1, x, x, y);
        Dictionary<string, KernelTime> times = backend.KernelTimes().ToDictionary(t => t.Kernel);
        Assert.Equal((7, 12, 6), (times["add"].Dispatches, times["gated_activation"].Dispatches, times["copy"].Dispatches));
        Assert.All(times.Values, t => Assert.True(t.Milliseconds > 0, t.Kernel));
        Assert.Equal(2, backend.Counters.Recorded - 1);
    }

    [Fact]
    public void Layers_on_one_input_share_one_pass_over_A()
    {
        VulkanDriver.Require();
        using VulkanBackend backend = new(new VulkanOptions { Profile = true });
        ForwardCases.LinearGroup(backend, 64, 3, together: false);
        Assert.Equal(4, Passes());
        // Five layers, one of them without steps: four in one dispatch, the last by itself.
        ForwardCases.LinearGroup(backend, 64, 3, together: true);
        Assert.Equal(4 + 2, Passes());

        long Passes() => backend.KernelTimes().Single(t => t.Kernel == "low_rank_a").Dispatches;
    }

    [Fact]
    public void Nothing_is_timed_unless_asked_for()
    {
        using VulkanBackend backend = VulkanDriver.Backend();
        using DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(1, 100));
        backend.Add(1, x, x, x);
        Assert.Empty(backend.KernelTimes());
    }
}
