using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using EdgeLora.Core;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace EdgeLora.Onnx;

/// <summary>A tensor in host memory as ONNX Runtime sees it: in place, never copied. It keeps the memory alive.</summary>
internal sealed class GraphTensor : IDisposable
{
    private readonly object _owner;
    private readonly nint _address;
    private readonly long _bytes;
    private OrtValue? _value;

    private GraphTensor(OnnxType type, long[] shape, object owner, ReadOnlySpan<byte> bytes)
    {
        (Type, Shape, _owner, _bytes) = (type, shape, owner, bytes.Length);
        // Mapped and pinned bytes do not move, so their address stays theirs.
        _address = Unsafe.ByteOffset(ref Unsafe.NullRef<byte>(), ref MemoryMarshal.GetReference(bytes));
    }

    /// <summary>Element type.</summary>
    public OnnxType Type { get; }

    /// <summary>Dimensions.</summary>
    public long[] Shape { get; }

    /// <summary>Bytes of the elements.</summary>
    public long ByteLength => _bytes;

    /// <summary>Where the elements are: tensors of one address are views of the same bytes.</summary>
    public nint Address => _address;

    /// <summary>Where the same bytes lie on disk; null where they were made.</summary>
    public (string Path, long Offset)? Place => (_owner as HostTensor)?.Place;

    /// <summary>The elements.</summary>
    public ReadOnlySpan<byte> Bytes => MemoryMarshal.CreateReadOnlySpan(ref Unsafe.AddByteOffset(ref Unsafe.NullRef<byte>(), _address), checked((int)_bytes));

    /// <summary>What is given to ONNX Runtime; lives as long as this.</summary>
    public OrtValue Value => _value ??= OrtValue.CreateTensorValueWithData(OrtMemoryInfo.DefaultInstance, (TensorElementType)Type, Shape, _address, _bytes);

    /// <summary>Shows a tensor that is stored as graphs can take it: F32, F16, BF16.</summary>
    public static GraphTensor Of(HostTensor tensor, ReadOnlySpan<long> shape) => new(TypeOf(tensor.Type), shape.ToArray(), tensor, tensor.Bytes);

    /// <summary>Floats in memory of their own, as F32 or rounded to F16.</summary>
    public static GraphTensor Of(ReadOnlySpan<float> values, OnnxType type, params ReadOnlySpan<long> shape)
    {
        ArrayStorage storage = new(checked(values.Length * (type == OnnxType.Float ? 4 : 2)));
        if (type == OnnxType.Float)
            MemoryMarshal.AsBytes(values).CopyTo(storage.Writable);
        else
            System.Numerics.Tensors.TensorPrimitives.ConvertToHalf(values, MemoryMarshal.Cast<byte, Half>(storage.Writable));
        return new(type, shape.ToArray(), storage, storage.Bytes(0, (int)storage.Length));
    }

    /// <summary>Bytes in memory of their own.</summary>
    public static GraphTensor Of(ArrayStorage storage, OnnxType type, params ReadOnlySpan<long> shape) => new(type, shape.ToArray(), storage, storage.Bytes(0, (int)storage.Length));

    /// <summary>The same bytes in another shape.</summary>
    public GraphTensor View(params ReadOnlySpan<long> shape) => new(this, shape);

    /// <summary>ONNX's name of a stored float type. Throws <see cref="NotSupportedException"/> for another.</summary>
    public static OnnxType TypeOf(DType type) => type switch
    {
        DType.F32 => OnnxType.Float,
        DType.F16 => OnnxType.Float16,
        DType.BF16 => OnnxType.BFloat16,
        _ => throw new NotSupportedException($"{type} is no float type of ONNX"),
    };

    /// <inheritdoc/>
    public void Dispose()
    {
        _value?.Dispose();
        _value = null;
        GC.KeepAlive(_owner);
    }

    private GraphTensor(GraphTensor other, ReadOnlySpan<long> shape) => (Type, Shape, _owner, _bytes, _address) = (other.Type, shape.ToArray(), other._owner, other._bytes, other._address);
}
