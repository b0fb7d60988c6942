using System.Runtime.InteropServices;

namespace EdgeLora.Vulkan;

/// <summary>UTF-8 strings for native calls, freed together.</summary>
internal sealed unsafe class NativeStrings : IDisposable
{
    private readonly List<nint> _all = [];

    /// <summary>A zero-terminated copy.</summary>
    public byte* Of(string text)
    {
        nint copy = Marshal.StringToCoTaskMemUTF8(text);
        _all.Add(copy);
        return (byte*)copy;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (nint copy in _all)
            Marshal.FreeCoTaskMem(copy);
    }
}
