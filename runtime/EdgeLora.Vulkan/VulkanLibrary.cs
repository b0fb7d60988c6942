using System.Runtime.InteropServices;
using Silk.NET.Core.Contexts;

namespace EdgeLora.Vulkan;

/// <summary>The Vulkan loader of this machine. Silk.NET's own search asks where assemblies lie, which a NativeAOT binary cannot say.</summary>
internal sealed class VulkanLibrary : INativeContext
{
    private static readonly string[] s_names = OperatingSystem.IsWindows() ? ["vulkan-1.dll"] : OperatingSystem.IsMacOS() ? ["libvulkan.1.dylib", "libvulkan.dylib", "libMoltenVK.dylib"] : ["libvulkan.so.1", "libvulkan.so"];

    private readonly nint _library;

    /// <summary>Opens it. Throws <see cref="VulkanException"/> where there is none.</summary>
    /// <param name="file">Its file or name; null: the names that it has on this system.</param>
    public VulkanLibrary(string? file)
    {
        string[] names = file is null ? s_names : [file];
        foreach (string name in names)
            if (NativeLibrary.TryLoad(name, out _library))
                return;
        throw new VulkanException(VulkanFault.NoLoader, $"there is no Vulkan loader on this machine ({string.Join(", ", names)}): install a graphics driver with Vulkan");
    }

    /// <inheritdoc/>
    public nint GetProcAddress(string proc, int? slot = null) =>
        TryGetProcAddress(proc, out nint address, slot) ? address : throw new VulkanException(VulkanFault.MissingFeature, $"the Vulkan loader has no {proc}: it is older than Vulkan 1.2");

    /// <inheritdoc/>
    public bool TryGetProcAddress(string proc, out nint addr, int? slot = null) => NativeLibrary.TryGetExport(_library, proc, out addr);

    /// <summary>The library stays: drivers do not survive being loaded again.</summary>
    public void Dispose()
    {
    }
}
