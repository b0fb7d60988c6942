using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Vulkan;

namespace EdgeLora;

/// <summary>The devices of this machine by their ids: <c>cpu</c>, <c>reference</c>, <c>vulkan:N</c> (<c>vulkan</c> is <c>vulkan:0</c>).</summary>
public static class ComputeDevices
{
    private const string Vulkan = "vulkan";

    /// <summary>All devices, the default first.</summary>
    /// <param name="missing">Why there is no Vulkan device; null where there is one.</param>
    public static IReadOnlyList<DeviceInfo> All(out string? missing)
    {
        using CpuBackend cpu = new();
        return
        [
            new("cpu", "Managed SIMD", "CPU", cpu.Description, true),
            .. VulkanDevices.All(out missing).Select(d => new DeviceInfo($"{Vulkan}:{d.Index}", d.Name, Kind(d.Kind), $"Vulkan {d.ApiVersion}, {d.Driver}", false) { Uuid = d.Uuid, MemoryBytes = d.MemoryBytes }),
            new("reference", "Scalar reference", "CPU", "the specification: slow, for comparing", false),
        ];
    }

    /// <summary>Whether an id has the form of a device's; the device need not be there.</summary>
    public static bool IsId(string id) => id is "cpu" or "reference" || VulkanIndex(id) >= 0;

    /// <summary>
    /// Opens a device, or the first of several ids with commas between that can be opened: a fallback is taken only where it was named. Throws <see cref="ArgumentException"/> for an unknown id,
    /// <see cref="VulkanException"/> where the only (or last) one cannot be opened.
    /// </summary>
    /// <param name="ids">Such as <c>cpu</c>, <c>vulkan:1</c>, <c>vulkan,cpu</c>.</param>
    /// <param name="threads">Threads of the CPU device; 0: one a core.</param>
    /// <param name="report">Told why a device was passed over, and what became of a shader that changed.</param>
    /// <param name="watchShaders">For who develops shaders: the folder with their sources; null: none are watched.</param>
    public static IComputeBackend Open(string ids, int threads = 0, Action<string>? report = null, string? watchShaders = null)
    {
        string[] all = ids.Split(',', StringSplitOptions.TrimEntries);
        if (Array.Find(all, id => !IsId(id)) is { } unknown)
            throw new ArgumentException($"device '{unknown}' is not known; expected cpu, reference, vulkan or vulkan:N");
        for (int i = 0; ; i++)
            try
            {
                return all[i] switch
                {
                    "cpu" => new CpuBackend(threads),
                    "reference" => new ReferenceBackend(),
                    string id => new VulkanBackend(new VulkanOptions { Device = VulkanIndex(id), WatchShaders = watchShaders, ShaderReport = report }),
                };
            }
            catch (VulkanException e) when (i + 1 < all.Length)
            {
                report?.Invoke($"{all[i]} cannot be used: {e.Message}; going on with {all[i + 1]}");
            }
    }

    private static int VulkanIndex(string id) =>
        id == Vulkan ? 0 : id.StartsWith(Vulkan + ":", StringComparison.Ordinal) && int.TryParse(id.AsSpan(Vulkan.Length + 1), System.Globalization.NumberStyles.None, null, out int index) ? index : -1;

    private static string Kind(VulkanDeviceKind kind) => kind switch
    {
        VulkanDeviceKind.Discrete => "discrete GPU",
        VulkanDeviceKind.Integrated => "integrated GPU",
        VulkanDeviceKind.Virtual => "virtual GPU",
        VulkanDeviceKind.Cpu => "CPU driver",
        _ => "other",
    };
}
