using EdgeLora.Core;
using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Vulkan;

/// <summary>Tensors in device memory.</summary>
public sealed class MemoryTests
{
    [Theory, InlineData(true), InlineData(false)]
    public void Every_weight_type_comes_back_as_it_was_stored(bool addresses)
    {
        using VulkanBackend backend = VulkanDriver.Backend(addresses);
        foreach (DType type in (DType[])[DType.F32, DType.F16, DType.BF16, DType.Q8_0, DType.Q4_0])
            foreach (int rows in (int[])[1, 3])
            {
                Shape shape = new(rows, 96);
                ArrayStorage storage = new((int)type.Bytes(shape.Elements));
                new Random(7).NextBytes(storage.Writable);
                Tensor tensor = new("w", type, shape, storage);
                using DeviceTensor device = backend.Upload(tensor);
                Assert.Equal(tensor.ToFloats(), device.ToFloats());
            }
    }

    [Fact]
    public void A_buffer_is_zero_also_where_another_lay_before()
    {
        using VulkanBackend backend = VulkanDriver.Backend();
        for (int i = 0; i < 3; i++)
        {
            using DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(10, 100));
            Assert.All(x.ToFloats(), v => Assert.Equal(0f, v));
            backend.Write([.. Enumerable.Repeat(5f, 1000)], x, 0);
            Assert.All(x.ToFloats(), v => Assert.Equal(5f, v));
        }
    }

    [Fact]
    public void What_is_disposed_comes_back_once_the_device_is_done_with_it()
    {
        using VulkanBackend backend = VulkanDriver.Backend();
        long before = backend.Counters.DeviceBytes;
        DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(1000)), y = backend.Allocate("y", DType.F32, new Shape(1000));
        Assert.Equal(before + 2 * 4096, backend.Counters.DeviceBytes);
        Assert.Equal(4096, x.AllocatedBytes);
        backend.Write([.. Enumerable.Repeat(3f, 1000)], x, 0);
        backend.Copy(x, 0, y, 0, 1);
        // Still read by what is enqueued.
        x.Dispose();
        Assert.Equal(before + 2 * 4096, backend.Counters.DeviceBytes);
        Assert.All(y.ToFloats(), v => Assert.Equal(3f, v));
        Assert.Equal(before + 4096, backend.Counters.DeviceBytes);
        y.Dispose();
        Assert.Equal(before, backend.Counters.DeviceBytes);
    }

    [Fact]
    public void A_tensor_larger_than_an_arena_and_a_write_larger_than_a_control_block_work()
    {
        using VulkanBackend backend = VulkanDriver.Backend();
        float[] values = [.. Enumerable.Range(0, 17_000_000).Select(i => (float)(i % 1000))];
        using DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(1, values.Length));
        backend.Write(values, x, 0);
        Assert.Equal(values, x.ToFloats());
    }

    [Fact]
    public void A_device_that_is_not_there_is_named_beside_those_that_are()
    {
        VulkanDriver.Require();
        VulkanException e = Assert.Throws<VulkanException>(() => new VulkanBackend(new VulkanOptions { Device = 99 }));
        Assert.Equal(VulkanFault.NoDevice, e.Fault);
        Assert.StartsWith("vulkan:99 is not there; found vulkan:0", e.Message);
    }

    [Fact]
    public void A_list_seen_before_is_replayed()
    {
        using VulkanBackend backend = VulkanDriver.Backend();
        using DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(1, 100)), y = backend.Allocate("y", DType.F32, new Shape(1, 100));
        float[] found = new float[100];
        void Step(float value)
        {
            backend.Write([.. Enumerable.Repeat(value, 100)], x, 0);
            backend.Add(1, x, x, y);
            backend.Read(y, 0, found);
            Assert.All(found, v => Assert.Equal(2 * value, v));
        }
        // Two frames take turns: each records once.
        Step(1);
        Step(2);
        long recorded = backend.Counters.Recorded;
        for (int i = 3; i < 50; i++)
            Step(i);
        Assert.Equal(recorded, backend.Counters.Recorded);
        Assert.Equal(49, backend.Counters.Submitted);
    }
}
