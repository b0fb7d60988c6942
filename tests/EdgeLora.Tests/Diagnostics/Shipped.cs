namespace EdgeLora.Tests.Diagnostics;

/// <summary>The shipped tree on one thread: a small model gains nothing by a second, and tests share the machine.</summary>
internal static class Shipped
{
    public static string Folder { get; } = Path.Combine(SharedFolder.Repository, "adapters", "nano");

    public static EdgeHost Open(EdgeHostOptions? options = null) => EdgeHost.Open(Folder, (options ?? new()) with { Threads = 1 });
}
