using EdgeLora.Core;
using EdgeLora.Cpu;
using EdgeLora.Models;
using EdgeLora.Vulkan;

namespace EdgeLora;

/// <summary>The devices of this machine by their ids: <c>cpu</c>, <c>reference</c>, <c>vulkan:N</c> (<c>vulkan</c> is <c>vulkan:0</c>), and those of the families that the program adds.</summary>
public static class ComputeDevices
{
    private const string Vulkan = "vulkan";
    private static readonly Lock s_adding = new();
    private static DeviceFamily[] s_families = [];

    /// <summary>The forms of the ids, for people.</summary>
    public static string Ids => string.Join(", ", (string[])["cpu, reference, vulkan, vulkan:N", .. s_families.Select(f => f.Ids)]);

    /// <summary>Adds a family of devices, for the whole process; a family of the same name is replaced.</summary>
    public static void Add(DeviceFamily family)
    {
        lock (s_adding)
            s_families = [.. s_families.Where(f => f.Name != family.Name), family];
    }

    /// <summary>The family that an id belongs to; null where it is a device of the host's own, or none.</summary>
    public static DeviceFamily? FamilyOf(string id) => Array.Find(s_families, f => f.IsId(id));

    /// <summary>All devices, the default first.</summary>
    /// <param name="missing">What kinds of device there are none of, and why.</param>
    public static IReadOnlyList<DeviceInfo> All(out IReadOnlyList<MissingDevice> missing)
    {
        using CpuBackend cpu = new();
        List<DeviceInfo> devices = [new("cpu", "Managed SIMD", "CPU", cpu.Description, true)];
        List<MissingDevice> without = [];
        devices.AddRange(VulkanDevices.All(out string? why).Select(d => new DeviceInfo($"{Vulkan}:{d.Index}", d.Name, Kind(d.Kind), $"Vulkan {d.ApiVersion}, {d.Driver}", false) { Uuid = d.Uuid, MemoryBytes = d.MemoryBytes }));
        if (why is not null)
            without.Add(new("Vulkan", why));
        foreach (DeviceFamily family in s_families)
            family.List(devices, without);
        devices.Add(new("reference", "Scalar reference", "CPU", "the specification: slow, for comparing", false));
        missing = without;
        return devices;
    }

    /// <summary>Whether an id has the form of a device's; the device need not be there.</summary>
    public static bool IsId(string id) => id is "cpu" or "reference" || VulkanIndex(id) >= 0 || FamilyOf(id) is not null;

    /// <summary>
    /// Opens a device, or the first of several ids with commas between that can be opened: a fallback is taken only where it was named. Throws <see cref="ArgumentException"/> for an unknown id,
    /// <see cref="DeviceException"/> where the only (or last) one cannot be opened.
    /// </summary>
    /// <param name="ids">Such as <c>cpu</c>, <c>vulkan:1</c>, <c>vulkan,cpu</c>.</param>
    /// <param name="threads">Threads of the CPU device; 0: one a core.</param>
    /// <param name="report">Told why a device was passed over, and what became of a shader that changed.</param>
    /// <param name="watchShaders">For who develops shaders: the folder with their sources; null: none are watched.</param>
    /// <param name="int8Activations">See <see cref="EdgeHostOptions.Int8Activations"/>; a device without them cannot be opened then.</param>
    public static IComputeBackend Open(string ids, int threads = 0, Action<string>? report = null, string? watchShaders = null, bool int8Activations = false)
    {
        string[] all = ids.Split(',', StringSplitOptions.TrimEntries);
        if (Array.Find(all, id => !IsId(id)) is { } unknown)
            throw new ArgumentException($"device '{unknown}' is not known; expected one of {Ids}");
        for (int i = 0; ; i++)
            try
            {
                return all[i] switch
                {
                    "cpu" => new CpuBackend(new CpuOptions { Threads = threads, Int8Activations = int8Activations }),
                    string id when int8Activations && FamilyOf(id) is null => throw new DeviceException($"{id} has no 8-bit activations"),
                    "reference" => new ReferenceBackend(),
                    string id when FamilyOf(id) is { } family => family.Open(id, threads, int8Activations),
                    string id => new VulkanBackend(new VulkanOptions { Device = VulkanIndex(id), WatchShaders = watchShaders, ShaderReport = report }),
                };
            }
            catch (DeviceException e) when (i + 1 < all.Length)
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
