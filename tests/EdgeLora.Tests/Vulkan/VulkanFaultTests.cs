using System.Diagnostics;
using EdgeLora.Cli;
using EdgeLora.Core;
using EdgeLora.Models;
using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests.Vulkan;

/// <summary>What a user is told where a Vulkan device cannot be used. Drivers and layers are hidden by the loader's environment variables, so in processes of their own.</summary>
public sealed class VulkanFaultTests
{
    private static readonly string s_tree = Path.Combine(SharedFolder.Repository, "adapters", "nano");
    private static readonly (string, string)[] s_noDriver = [("VK_ICD_FILENAMES", "/nonexistent"), ("VK_DRIVER_FILES", "/nonexistent")];

    [Theory]
    [InlineData("run", "--tokens", "1")]
    [InlineData("logits", "--tokens", "1", "-o", "logits.safetensors")]
    [InlineData("eval", "--text", "README.md")]
    public void Without_a_driver_a_verb_fails_with_one_line_that_says_so(string verb, params string[] arguments)
    {
        (int code, string output, string error) = Run(s_noDriver, [verb, s_tree, "--device", "vulkan", .. arguments]);
        Assert.Equal((1, ""), (code, output));
        Assert.Equal("there is a Vulkan loader, but no driver for Vulkan 1.2 (vkCreateInstance)", error.TrimEnd());
    }

    [Fact]
    public void Without_a_driver_the_next_device_is_taken_only_where_it_was_named_and_that_is_said()
    {
        (int code, string output, string error) = Run(s_noDriver, "run", s_tree, "--device", "vulkan,cpu", "--tokens", "1", "--greedy", "--max-tokens", "1");
        Assert.Equal(0, code);
        Assert.NotEmpty(output);
        Assert.Equal("vulkan cannot be used: there is a Vulkan loader, but no driver for Vulkan 1.2 (vkCreateInstance); going on with cpu", error.TrimEnd());
    }

    [Fact]
    public void Without_a_driver_the_list_of_devices_says_why_there_is_none()
    {
        (int code, string output, _) = Run(s_noDriver, "devices");
        Assert.Equal(0, code);
        Assert.Contains("cpu *", output);
        Assert.DoesNotContain("vulkan:0", output);
        Assert.Contains("No Vulkan device: there is a Vulkan loader, but no driver", output);
    }

    [Fact]
    public void Without_a_loader_a_verb_the_list_of_devices_and_a_backend_say_so()
    {
        const string said = "there is no Vulkan loader on this machine (/nowhere/libvulkan.so.1): install a graphics driver with Vulkan", file = "/nowhere/libvulkan.so.1";
        (int code, string output, string error) = Run([("EDGELORA_VULKAN_LOADER", file)], "run", s_tree, "--device", "vulkan", "--tokens", "1");
        Assert.Equal((1, "", said), (code, output, error.TrimEnd()));
        (code, output, error) = Run([("EDGELORA_VULKAN_LOADER", file)], "run", s_tree, "--device", "vulkan,cpu", "--tokens", "1", "--greedy", "--max-tokens", "1");
        Assert.Equal((0, $"vulkan cannot be used: {said}; going on with cpu"), (code, error.TrimEnd()));
        Assert.NotEmpty(output);
        (code, output, _) = Run([("EDGELORA_VULKAN_LOADER", file)], "devices");
        Assert.Equal(0, code);
        Assert.Contains("No Vulkan device: " + said, output);
        VulkanException e = Assert.Throws<VulkanException>(() => new VulkanBackend(new VulkanOptions { Loader = file }));
        Assert.Equal((VulkanFault.NoLoader, said), (e.Fault, e.Message));
    }

    [Fact]
    public void A_library_that_is_no_loader_is_named_with_what_it_lacks()
    {
        VulkanException e = Assert.Throws<VulkanException>(() => new VulkanBackend(new VulkanOptions { Loader = OperatingSystem.IsWindows() ? "kernel32.dll" : "libc.so.6" }));
        Assert.Equal(VulkanFault.MissingFeature, e.Fault);
        Assert.StartsWith("the Vulkan loader has no vk", e.Message);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void A_device_that_is_lost_fails_every_op_that_waits_with_its_kind_and_can_be_disposed(bool addresses)
    {
        using VulkanBackend backend = VulkanDriver.Backend(addresses);
        DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(4));
        backend.Write([1, 2, 3, 4], x, 0);
        Assert.Equal([1, 2, 3, 4], x.ToFloats());
        backend.LoseDevice();
        float[] values = new float[4];
        for (int i = 0; i < 3; i++)
        {
            backend.Add(1, x, x, x);
            VulkanException e = Assert.Throws<VulkanException>(() => backend.Read(x, 0, values));
            Assert.Equal((VulkanFault.DeviceLost, $"{backend.Device.Name}: vkQueueSubmit: the device was lost"), (e.Fault, e.Message));
        }
        Assert.Equal(VulkanFault.DeviceLost, Assert.Throws<VulkanException>(x.ToFloats).Fault);
        // What can be given back is.
        x.Dispose();
        backend.Allocate("y", DType.F32, new Shape(4)).Dispose();
    }

    [Fact]
    public async Task Streams_of_a_host_whose_device_is_lost_end_with_it_and_so_does_its_loop()
    {
        VulkanDriver.Require();
        // Room for two sessions' keys and values: the third one waits.
        using EdgeHost host = EdgeHost.Open(s_tree, new EdgeHostOptions { Device = "vulkan", KvBudgetBytes = 4 << 20 });
        using CancellationTokenSource patience = new(TimeSpan.FromMinutes(2));
        Task loop = host.RunAsync(patience.Token);
        TaskCompletionSource lost = new();
        Task<VulkanException>[] streams = [.. ((string[])["", "math", "holmes"]).Select(async node =>
        {
            using HostSession session = await host.OpenSessionAsync(node);
            return await Assert.ThrowsAsync<VulkanException>(async () =>
            {
                await foreach (GeneratedPiece _ in session.GenerateAsync([1, 2, 3], new GenerationOptions { MaxTokens = 400, IgnoreEnd = true }))
                    if (lost.TrySetResult())
                        ((VulkanBackend)host.Backend).LoseDevice();
            });
        })];
        foreach (Task<VulkanException> stream in streams)
            Assert.Equal(VulkanFault.DeviceLost, (await stream.WaitAsync(patience.Token)).Fault);
        Assert.Equal(VulkanFault.DeviceLost, (await Assert.ThrowsAsync<VulkanException>(() => loop.WaitAsync(patience.Token))).Fault);
    }

    [Fact]
    public void Validation_that_is_not_installed_is_an_error_and_not_skipped()
    {
        (int code, _, string error) = Run([("EDGELORA_VULKAN_VALIDATION", "1"), ("VK_LAYER_PATH", "/nonexistent")], "run", s_tree, "--device", "vulkan", "--tokens", "1");
        Assert.Equal(1, code);
        Assert.Equal("validation was asked for, but VK_LAYER_KHRONOS_validation is not installed", error.TrimEnd());
    }

    [Fact]
    public void A_device_that_is_not_there_is_one_line_too()
    {
        VulkanDriver.Require();
        using StringWriter output = new(), error = new();
        Assert.Equal(1, EdgeLoraCommand.Invoke(["run", s_tree, "--device", "vulkan:99", "--tokens", "1"], output, error));
        Assert.StartsWith("vulkan:99 is not there; found vulkan:0", error.ToString());
        Assert.Single(error.ToString().TrimEnd().Split('\n'));
    }

    [Theory, InlineData(true), InlineData(false)]
    public void What_no_heap_can_hold_is_refused_by_name_and_the_device_goes_on(bool addresses)
    {
        using VulkanBackend backend = VulkanDriver.Backend(addresses);
        using DeviceTensor x = backend.Allocate("x", DType.F32, new Shape(4));
        VulkanException e = Assert.Throws<VulkanException>(() => backend.Allocate("model.embed_tokens", DType.F32, new Shape(1 << 24, 1 << 20)));
        Assert.Equal(VulkanFault.OutOfMemory, e.Fault);
        Assert.StartsWith("model.embed_tokens: 70368744177664 bytes do not fit beside the", e.Message);
        backend.Write([1, 2, 3, 4], x, 0);
        Assert.Equal([1, 2, 3, 4], x.ToFloats());
    }

    private static (int Code, string Output, string Error) Run((string Name, string Value)[] environment, params string[] arguments)
    {
        // Where there is a driver, there is a loader.
        VulkanDriver.Require();
        ProcessStartInfo start = new("dotnet", [typeof(EdgeLoraCommand).Assembly.Location, .. arguments]) { WorkingDirectory = SharedFolder.Repository, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = process.StandardOutput.ReadToEnd();
        Assert.True(process.WaitForExit(120_000));
        return (process.ExitCode, output, error.GetAwaiter().GetResult());
    }
}
