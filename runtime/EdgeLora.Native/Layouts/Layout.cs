using System.Runtime.CompilerServices;

namespace EdgeLora.Native;

/// <summary>A struct of edgelora.h: the same fields in the same order, the first its size as the caller knows it. The name's other half is its name in C.</summary>
internal interface ILayout
{
    uint Size { get; set; }
}

/// <summary>Structs that come from C.</summary>
internal static unsafe class Layout
{
    /// <summary>A struct that must be there. Throws <see cref="ArgumentException"/> where it is not, or has another size than here: it is of another version's header, or its size was not set.</summary>
    public static ref T Get<T>(T* layout, string name) where T : unmanaged, ILayout
    {
        if (layout is null)
            throw new ArgumentException($"{name}: expected a struct, found NULL");
        if (layout->Size != Unsafe.SizeOf<T>())
            throw new ArgumentException($"{name}: size: expected {Unsafe.SizeOf<T>()}, found {layout->Size}");
        return ref *layout;
    }

    /// <summary>As <see cref="Get"/>; NULL stands for all zero.</summary>
    public static T GetOrDefault<T>(T* layout, string name) where T : unmanaged, ILayout => layout is null ? default : Get(layout, name);

    /// <summary>Microseconds, as C has times.</summary>
    public static long Microseconds(TimeSpan time) => time.Ticks / TimeSpan.TicksPerMicrosecond;
}
