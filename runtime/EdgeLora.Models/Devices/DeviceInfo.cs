namespace EdgeLora.Models;

/// <summary>A device that a host can run on.</summary>
/// <param name="Id">What <c>--device</c> takes.</param>
/// <param name="Name">For people.</param>
/// <param name="Kind">CPU, discrete GPU, integrated GPU, virtual GPU, CPU driver.</param>
/// <param name="Detail">Instruction set and threads, or driver and version.</param>
/// <param name="IsDefault">Chosen when none is named.</param>
public sealed record DeviceInfo(string Id, string Name, string Kind, string Detail, bool IsDefault)
{
    /// <summary>UUID of a GPU: the same as long as device and driver are; else null.</summary>
    public Guid? Uuid { get; init; }

    /// <summary>Bytes of a GPU's own memory; else null.</summary>
    public long? MemoryBytes { get; init; }
}
