using Microsoft.Extensions.Logging;

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
    /// <summary>
    /// Whether products with quantised weights read their input rounded to whole numbers of 8 or more bits: faster, right to two or three digits. The devices <c>cpu</c> (<see cref="Cpu.CpuOptions.Int8Activations"/>) and
    /// <c>onnx:cpu</c> can; others are not opened then. False: exact.
    /// </summary>
    public bool Int8Activations { get; init; }
    /// <summary>For a plain model: adapter folders that build on each other in this order.</summary>
    public IReadOnlyList<string> Adapters { get; init; } = [];
    /// <summary>Bytes that resident adapters may take together.</summary>
    public long AdapterBudgetBytes { get; init; } = 1L << 30;
    /// <summary>Bytes that adapters may keep in RAM, validated and mapped, after they left the device.</summary>
    public long StagedBudgetBytes { get; init; } = 1L << 30;
    /// <summary>Bytes that fused overlays may take together.</summary>
    public long OverlayBudgetBytes { get; init; } = 512L << 20;
    /// <summary>Watches the tree's folder: a folder dropped in is mounted, a changed file reloaded, a deleted one unmounted. Adapters' files are then read into memory, not mapped.</summary>
    public bool Watch { get; init; }
    /// <summary>
    /// Takes the bytes of <c>.elora</c> files as they are: for files that were verified when they were installed. Such an adapter is mapped, its header checked, and it can be used at once, whatever its size; its numbers
    /// are read when a token needs them. False: each is compared with its checksum and searched for NaN first.
    /// </summary>
    public bool TrustElora { get; init; }
    /// <summary>How often a watched folder is looked at even when the system reports nothing: network drives report little.</summary>
    public TimeSpan WatchInterval { get; init; } = TimeSpan.FromSeconds(2);
    /// <summary>How long files must stay as they are before they are read: writers write in pieces.</summary>
    public TimeSpan WatchQuiet { get; init; } = TimeSpan.FromMilliseconds(100);
    /// <summary>Bytes of adapters that one tick brings to the device at most; a larger adapter takes a tick of its own.</summary>
    public long TickBytes { get; init; } = 32L << 20;
    /// <summary>Bytes that all sessions' keys and values may take; generations that do not fit wait.</summary>
    public long KvBudgetBytes { get; init; } = 1L << 30;
    /// <summary>Most rows of one forward pass.</summary>
    public int MaxBatchRows { get; init; } = 128;
    /// <summary>An adapter is refused where, on a short fixed text, its logits differ from the base's by more than this times the base's largest. Not finite ones are refused anyway.</summary>
    public double MaxDrift { get; init; } = 100;
    /// <summary>Told of adapters that come, change, are refused and go, and of ticks that overran; null: nobody is.</summary>
    public ILogger? Logger { get; init; }
}
