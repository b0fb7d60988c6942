namespace EdgeLora.Fuzz;

/// <summary>A folder in memory where the system has one: inputs are written once and mapped, never kept.</summary>
internal sealed class WorkFolder : IDisposable
{
    private const string Memory = "/dev/shm";

    public WorkFolder() => Path = Directory.Exists(Memory)
        ? Directory.CreateDirectory(System.IO.Path.Combine(Memory, $"edgelora-fuzz-{Guid.NewGuid():N}")).FullName
        : Directory.CreateTempSubdirectory("edgelora-fuzz-").FullName;

    public string Path { get; }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
