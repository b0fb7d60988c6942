using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace EdgeLora.Vulkan;

/// <summary>A dispatch as it lies in a <see cref="CommandList"/>, followed by its push constants and accesses.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct CommandHeader(int Kernel, uint X, uint Y, uint Z, int PushBytes, int AccessCount)
{
    /// <summary>In place of a kernel: everything before it is done before anything behind it.</summary>
    public const int Barrier = -1;
}

/// <summary>Dispatches in order, as bytes: two lists with the same bytes are the same work, so one recording serves both.</summary>
internal sealed class CommandList
{
    private byte[] _bytes = new byte[1 << 16];
    private int _length;

    /// <summary>Dispatches in it.</summary>
    public int Count { get; private set; }

    /// <summary>All of it.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes.AsSpan(0, _length);

    /// <summary>Appends a dispatch.</summary>
    public void Add<TPush>(Kernel kernel, in TPush push, int x, int y, int z, ReadOnlySpan<Access> accesses) where TPush : unmanaged
    {
        Append(new CommandHeader(kernel.Id, (uint)x, (uint)y, (uint)z, Unsafe.SizeOf<TPush>(), accesses.Length));
        Append(push);
        Append(MemoryMarshal.AsBytes(accesses));
        Count++;
    }

    /// <summary>Appends a wait for everything before.</summary>
    public void AddBarrier() => Append(new CommandHeader(CommandHeader.Barrier, 0, 0, 0, 0, 0));

    /// <summary>Empties it.</summary>
    public void Clear() => Count = _length = 0;

    private void Append<T>(in T value) where T : unmanaged => Append(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)));

    private void Append(ReadOnlySpan<byte> bytes)
    {
        if (_length + bytes.Length > _bytes.Length)
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, _length + bytes.Length));
        bytes.CopyTo(_bytes.AsSpan(_length));
        _length += bytes.Length;
    }
}
