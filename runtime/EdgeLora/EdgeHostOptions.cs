namespace EdgeLora;

/// <summary>How to open a host.</summary>
public sealed record EdgeHostOptions
{
    /// <summary>Device id of <see cref="ComputeDevices.All"/>, or several with commas between, of which the first that can be opened is taken: <c>cpu</c>, <c>vulkan:1</c>, <c>vulkan,cpu</c>.</summary>
    public string Device { get; init; } = "cpu";
    /// <summary>Told why a device of several was passed over, and what became of a shader that changed.</summary>
    public Action<string>? DeviceReport { get; init; }
    /// <summary>For who develops shaders: the folder with their sources, of which those that change are reloaded; null: none are watched.</summary>
    public string? WatchShaders { get; init; }
    /// <summary>Threads of the CPU backend; 0 for all cores.</summary>
    public int Threads { get; init; }
    /// <summary>For a plain model: adapter folders that build on each other in this order.</summary>
    public IReadOnlyList<string> Adapters { get; init; } = [];
    /// <summary>Bytes that resident adapters may take together.</summary>
    public long AdapterBudgetBytes { get; init; } = 1L << 30;
    /// <summary>Bytes that adapters may keep in RAM, validated and mapped, after they left the device.</summary>
    public long StagedBudgetBytes { get; init; } = 1L << 30;
    /// <summary>Bytes that fused overlays may take together.</summary>
    public long OverlayBudgetBytes { get; init; } = 512L << 20;
}
