using System.Runtime.InteropServices;

namespace EdgeLora.Core;

/// <summary>A tensor that a backend owns. Layers pass it around; only its backend looks inside.</summary>
public abstract class DeviceTensor(string name, DType type, Shape shape) : IDisposable
{
    /// <summary>The checkpoint's name, or what a buffer is for.</summary>
    public string Name { get; } = name;

    /// <summary>Element type as stored on the device.</summary>
    public DType Type { get; } = type;

    /// <summary>Dimensions, slowest first.</summary>
    public Shape Shape { get; } = shape;

    /// <summary>Width of a row: the last dimension.</summary>
    public int Columns { get; } = shape.Columns;

    /// <summary>Bytes of the elements.</summary>
    public long ByteLength => Type.Bytes(Shape.Elements);

    /// <summary>Bytes that it takes of the device's memory: those of its elements, rounded up as the device's allocator does.</summary>
    public virtual long AllocatedBytes => ByteLength;

    /// <summary>Waits, and reads every element widened to F32. Slow: for merging, for resolving a path once, for checks.</summary>
    public abstract float[] ToFloats();

    /// <inheritdoc/>
    public abstract void Dispose();

    /// <inheritdoc/>
    public override string ToString() => $"{Name} {Type} {Shape}";
}

/// <summary>A tensor in host memory: a view of a mapped file (read-only) or a buffer of its own. Used by the Reference and Cpu backends.</summary>
public class HostTensor : DeviceTensor
{
    private readonly Tensor _tensor;
    private readonly ArrayStorage? _own;

    /// <summary>Shows <paramref name="tensor"/> without a copy.</summary>
    public HostTensor(Tensor tensor) : base(tensor.Name, tensor.Type, tensor.Shape) => _tensor = tensor;

    /// <summary>Allocates a zeroed, writable buffer.</summary>
    public HostTensor(string name, DType type, Shape shape) : base(name, type, shape)
    {
        _own = new ArrayStorage(checked((int)type.Bytes(shape.Elements)));
        _tensor = new Tensor(name, type, shape, _own);
    }

    /// <summary>The stored bytes.</summary>
    public ReadOnlySpan<byte> Bytes => _tensor.Bytes;

    /// <summary>Whether the bytes are pages of a mapped file, which can be read again.</summary>
    public bool IsMapped => _tensor.IsMapped;

    /// <summary>Where the bytes lie on disk, as <see cref="Tensor.Place"/>.</summary>
    public (string Path, long Offset)? Place => _tensor.Place;

    /// <summary>Bytes of a buffer of its own. Throws <see cref="InvalidOperationException"/> for a view of a file: the base is never written.</summary>
    public Span<byte> WritableBytes => _own is not null ? _own.Writable : throw new InvalidOperationException($"{Name}: is read-only");

    /// <summary>F32 elements of a writable buffer.</summary>
    public Span<float> Floats => MemoryMarshal.Cast<byte, float>(WritableBytes);

    /// <summary>F64 elements of a writable buffer of that type. Throws <see cref="InvalidOperationException"/> for another.</summary>
    public Span<double> Doubles => Type == DType.F64 ? MemoryMarshal.Cast<byte, double>(WritableBytes) : throw new InvalidOperationException($"{Name}: is {Type}, not F64");

    /// <summary>F32 elements, read-only.</summary>
    public ReadOnlySpan<float> ReadFloats => _tensor.Floats;

    /// <inheritdoc/>
    public override float[] ToFloats() => _tensor.ToFloats();

    /// <inheritdoc/>
    public override void Dispose() { }
}
