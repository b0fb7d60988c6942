namespace EdgeLora.Vulkan;

/// <summary>Checks of the Khronos validation layers. They must be installed; each costs much time.</summary>
public enum VulkanValidation
{
    /// <summary>None.</summary>
    Off,
    /// <summary>Parameters, objects, threads.</summary>
    Core,
    /// <summary>Also missing barriers between accesses through descriptors.</summary>
    Synchronization,
    /// <summary>Also accesses outside of a buffer, in the shaders themselves.</summary>
    GpuAssisted,
}

/// <summary>How a Vulkan device is opened.</summary>
public sealed record VulkanOptions
{
    /// <summary>Number of the device; see <see cref="VulkanDevices.All"/>.</summary>
    public int Device { get; init; }

    /// <summary>Validation layers; an error they find is thrown at the next submission. Default: what the environment variable EDGELORA_VULKAN_VALIDATION says (<c>1</c>, <c>sync</c>, <c>gpu</c>), else off.</summary>
    public VulkanValidation Validation { get; init; } = FromEnvironment();

    /// <summary>File of the Vulkan loader, or its name for the system's search; null: the system's own. Default: what the environment variable EDGELORA_VULKAN_LOADER says, else null.</summary>
    public string? Loader { get; init; } = LoaderFromEnvironment();

    /// <summary>Shaders reach memory by buffer device addresses where the device can; false: through bound storage buffers, as on devices that cannot.</summary>
    public bool BufferDeviceAddress { get; init; } = true;

    /// <summary>Times every dispatch on the device; see <see cref="VulkanBackend.KernelTimes"/>. Dispatches then run one after the other. Throws on opening where the device has no timestamps.</summary>
    public bool Profile { get; init; }

    /// <summary>For who develops shaders: the folder with their sources. One that changes is compiled with glslc and used from the next submission on; null: none are watched.</summary>
    public string? WatchShaders { get; init; }

    /// <summary>Told, on any thread, which shaders were reloaded and which did not compile.</summary>
    public Action<string>? ShaderReport { get; init; }

    /// <summary>Folder of the pipeline cache; null: the user's cache folder; empty: none is kept.</summary>
    public string? CacheFolder { get; init; }

    internal static string? LoaderFromEnvironment() => Environment.GetEnvironmentVariable("EDGELORA_VULKAN_LOADER") is { Length: > 0 } name ? name : null;

    private static VulkanValidation FromEnvironment() => Environment.GetEnvironmentVariable("EDGELORA_VULKAN_VALIDATION") switch
    {
        null or "" or "0" => VulkanValidation.Off,
        "1" => VulkanValidation.Core,
        "sync" => VulkanValidation.Synchronization,
        "gpu" => VulkanValidation.GpuAssisted,
        string other => throw new ArgumentException($"EDGELORA_VULKAN_VALIDATION: expected 0, 1, sync or gpu, found '{other}'"),
    };
}
