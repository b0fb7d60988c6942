using EdgeLora.Vulkan;
using Xunit;

namespace EdgeLora.Tests;

/// <summary>The Vulkan driver of this machine, for tests that need one.</summary>
internal static class VulkanDriver
{
    private static readonly Lazy<string?> s_missing = new(() => VulkanDevices.All(out string? why).Count > 0 ? null : why);

    /// <summary>Skips the test, with the reason, where there is no Vulkan driver; fails it where CI=true, which promises one.</summary>
    public static void Require()
    {
        if (s_missing.Value is not { } why)
            return;
        if (Environment.GetEnvironmentVariable("CI") == "true")
            Assert.Fail($"CI=true, but {why}");
        Assert.Skip(why);
    }

    /// <summary>A backend on the first device.</summary>
    /// <param name="addresses">False: as on a device without buffer device addresses.</param>
    public static VulkanBackend Backend(bool addresses = true)
    {
        Require();
        return new(new VulkanOptions { BufferDeviceAddress = addresses });
    }
}
