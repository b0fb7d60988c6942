using System.Runtime.InteropServices;

namespace EdgeLora.Cpu;

/// <summary>What Linux is told about memory. It is advice: elsewhere nothing happens.</summary>
internal static unsafe partial class MemoryAdvice
{
    private const int DontNeed = 4, Huge = 14, HugePageBytes = 2 << 20;

    /// <summary>Asks for huge pages where whole ones fit: a product reads far more pages than the processor remembers addresses of.</summary>
    public static void PreferHugePages(byte* start, long bytes) => Advise(start, bytes, HugePageBytes, Huge);

    /// <summary>Lets go of the pages of a mapped file that lie within: they are read again when they are touched again. Never for other memory, which would be lost.</summary>
    public static void ReleaseMapped(byte* start, long bytes) => Advise(start, bytes, Environment.SystemPageSize, DontNeed);

    private static void Advise(byte* start, long bytes, int pageBytes, int advice)
    {
        nint first = ((nint)start + pageBytes - 1) / pageBytes * pageBytes;
        long whole = ((nint)start + bytes - first) / pageBytes * pageBytes;
        if (whole <= 0 || !OperatingSystem.IsLinux())
            return;
        try
        {
            _ = Madvise((void*)first, (nuint)whole, advice);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Madvise(void* address, nuint length, int advice);
}
