using System.IO.MemoryMappedFiles;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace EdgeLora.Core;

/// <summary>Bytes that tensors look into: a mapped file or an array. The storage is the owner; tensors are views.</summary>
public abstract class TensorStorage : IDisposable
{
    /// <summary>Bytes in the storage.</summary>
    public abstract long Length { get; }

    /// <summary>A view of <paramref name="length"/> bytes from <paramref name="offset"/>. Throws <see cref="ArgumentOutOfRangeException"/> outside the storage, <see cref="ObjectDisposedException"/> after <see cref="Dispose"/>.</summary>
    public abstract ReadOnlySpan<byte> Bytes(long offset, int length);

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>Read-only view of a whole file through the page cache: opening reads nothing, bytes are shared by all who map the file. Within <see cref="ReadIntoMemory"/> a copy of its own instead.</summary>
public sealed class MappedFile : TensorStorage
{
    [ThreadStatic]
    private static int t_intoMemory;

    private readonly ArrayStorage? _copy;
    private readonly MemoryMappedFile? _file;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly SafeMemoryMappedViewHandle? _handle;
    private readonly nint _address;
    private bool _disposed;

    /// <summary>Maps <paramref name="path"/>. Throws <see cref="IOException"/> and <see cref="UnauthorizedAccessException"/> as the file system does.</summary>
    public MappedFile(string path)
    {
        FilePath = path;
        // Delete sharing lets an editor replace the file by rename while it is mapped.
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        Length = stream.Length;
        if (Length == 0)
            return;
        if (t_intoMemory > 0)
        {
            _copy = new ArrayStorage(checked((int)Length));
            stream.ReadExactly(_copy.Writable);
            return;
        }
        _file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        _view = _file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        _handle = _view.SafeMemoryMappedViewHandle;
        _address = _handle.DangerousGetHandle();
    }

    /// <summary>
    /// Until the result is disposed, files that this thread opens are read into memory: for files that others may overwrite or cut short while they are in use, which would change what is
    /// mapped or end the process. A file that is cut short while it is read throws <see cref="EndOfStreamException"/>.
    /// </summary>
    public static IDisposable ReadIntoMemory()
    {
        t_intoMemory++;
        return new Scope();
    }

    /// <summary>False for a copy in memory, and for an empty file.</summary>
    public bool IsMapped => _file is not null;

    /// <summary>The path that was mapped.</summary>
    public string FilePath { get; }

    /// <inheritdoc/>
    public override long Length { get; }

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Bytes(long offset, int length)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (offset < 0 || length < 0 || offset > Length - length)
            throw new ArgumentOutOfRangeException(nameof(offset), $"{FilePath}: bytes {offset}..{offset + length} lie outside the file's {Length}");
        if (length == 0)
            return default;
        if (_copy is not null)
            return _copy.Bytes(offset, length);
        // A mapped address is no managed object: the reference is made from the address alone.
        return MemoryMarshal.CreateReadOnlySpan(ref Unsafe.AddByteOffset(ref Unsafe.NullRef<byte>(), _address + (nint)offset), length);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _disposed = true;
        _view?.Dispose();
        _file?.Dispose();
    }

    private sealed class Scope : IDisposable
    {
        private bool _closed;

        public void Dispose()
        {
            if (_closed)
                return;
            _closed = true;
            t_intoMemory--;
        }
    }
}

/// <summary>Bytes in one pinned array, 64-byte aligned.</summary>
public sealed class ArrayStorage : TensorStorage
{
    private readonly byte[] _array;
    private readonly int _start;

    /// <summary>Allocates <paramref name="length"/> zero bytes.</summary>
    public ArrayStorage(int length)
    {
        Length = length;
        _array = GC.AllocateArray<byte>(checked(length + 64), pinned: true);
        nuint address = (nuint)(nint)Marshal.UnsafeAddrOfPinnedArrayElement(_array, 0);
        _start = (int)((64 - address % 64) % 64);
    }

    /// <inheritdoc/>
    public override long Length { get; }

    /// <summary>All bytes, writable: for the one who fills the storage before it is shared.</summary>
    public Span<byte> Writable => _array.AsSpan(_start, (int)Length);

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Bytes(long offset, int length) => _array.AsSpan(_start, (int)Length).Slice(checked((int)offset), length);

    /// <inheritdoc/>
    public override void Dispose() { }
}

/// <summary>Bytes that are made each time they are asked for and kept by nobody: a tensor that is only written needs memory for that moment alone.</summary>
/// <param name="length">Bytes of the tensor that <paramref name="compute"/> gives.</param>
/// <param name="compute">Makes the tensor.</param>
public sealed class ComputedStorage(long length, Func<Tensor> compute) : TensorStorage
{
    /// <inheritdoc/>
    public override long Length => length;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Bytes(long offset, int length)
    {
        Tensor tensor = compute();
        return tensor.ByteLength == Length
            ? tensor.Bytes.Slice(checked((int)offset), length)
            : throw new InvalidOperationException($"{tensor}: has {tensor.ByteLength} bytes; {Length} were announced");
    }

    /// <inheritdoc/>
    public override void Dispose() { }
}
