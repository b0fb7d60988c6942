using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace EdgeLora.Core;

/// <summary>An immutable named tensor: a view into a <see cref="TensorStorage"/>, in its stored form. Row-major, little-endian.</summary>
public sealed class Tensor
{
    private readonly TensorStorage _storage;
    private readonly long _offset;

    /// <summary>A view of <paramref name="storage"/> from byte <paramref name="offset"/>. Throws <see cref="ArgumentException"/> when it does not fit or is 2 GiB or more.</summary>
    public Tensor(string name, DType type, Shape shape, TensorStorage storage, long offset = 0)
    {
        Name = name;
        Type = type;
        Shape = shape;
        _storage = storage;
        _offset = offset;
        if (type.BlockSize() > 1 && shape.Columns % type.BlockSize() != 0)
            throw new ArgumentException($"{name}: rows of {shape.Columns} elements are no whole {type} blocks of {type.BlockSize()}");
        ByteLength = type.Bytes(shape.Elements);
        if (ByteLength > int.MaxValue)
            throw new ArgumentException($"{name}: {ByteLength} bytes; one tensor may have at most {int.MaxValue}");
        if (offset < 0 || offset > storage.Length - ByteLength)
            throw new ArgumentException($"{name}: bytes {offset}..{offset + ByteLength} lie outside the storage's {storage.Length}");
    }

    /// <summary>The name in the checkpoint, verbatim.</summary>
    public string Name { get; }

    /// <summary>Stored element type.</summary>
    public DType Type { get; }

    /// <summary>Dimensions, slowest first.</summary>
    public Shape Shape { get; }

    /// <summary>Stored bytes.</summary>
    public long ByteLength { get; }

    /// <summary>Whether the bytes are pages of a mapped file.</summary>
    public bool IsMapped => _storage is MappedFile { IsMapped: true };

    /// <summary>The mapped file that the bytes lie in, and from which byte on; null where they lie in memory alone.</summary>
    public (string Path, long Offset)? Place => _storage is MappedFile { IsMapped: true } file ? (file.FilePath, _offset) : null;

    /// <summary>Whether the bytes are made anew each time they are asked for.</summary>
    public bool IsComputed => _storage is ComputedStorage;

    /// <summary>The same tensor, computed once and held in memory where it is computed.</summary>
    public Tensor Held()
    {
        if (!IsComputed)
            return this;
        ArrayStorage storage = new(checked((int)ByteLength));
        Bytes.CopyTo(storage.Writable);
        return new(Name, Type, Shape, storage);
    }

    /// <summary>The stored bytes.</summary>
    public ReadOnlySpan<byte> Bytes => _storage.Bytes(_offset, (int)ByteLength);

    /// <summary>The elements of an F32 tensor. Throws <see cref="InvalidOperationException"/> for another type.</summary>
    public ReadOnlySpan<float> Floats => Type == DType.F32
        ? MemoryMarshal.Cast<byte, float>(Bytes)
        : throw new InvalidOperationException($"{Name}: is {Type}, not F32");

    /// <summary>The same bytes under another name and shape of equally many elements.</summary>
    public Tensor View(string name, Shape shape) => shape.Elements == Shape.Elements
        ? new(name, Type, shape, _storage, _offset)
        : throw new ArgumentException($"{Name}: {Shape} cannot be seen as {shape}");

    /// <summary>Rows [<paramref name="start"/>, start + <paramref name="count"/>) along the first axis, without a copy.</summary>
    public Tensor Slice(string name, long start, long count)
    {
        long[] dimensions = Shape.Dimensions.ToArray();
        long rowBytes = dimensions[0] == 0 ? 0 : ByteLength / dimensions[0];
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start + count, dimensions[0]);
        dimensions[0] = count;
        return new(name, Type, new Shape(dimensions), _storage, _offset + start * rowBytes);
    }

    /// <summary>A copy [columns, rows] of a matrix [rows, columns] of an unblocked type.</summary>
    public Tensor Transposed()
    {
        if (Shape.Rank != 2 || Type.BlockSize() > 1)
            throw new InvalidOperationException($"{Name}: {Type} {Shape} is no matrix of single elements");
        int rows = (int)Shape[0], columns = Shape.Columns, size = Type.BlockBytes();
        ArrayStorage storage = new(checked((int)ByteLength));
        ReadOnlySpan<byte> source = Bytes;
        Span<byte> destination = storage.Writable;
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++)
                source.Slice((r * columns + c) * size, size).CopyTo(destination[((c * rows + r) * size)..]);
        return new(Name, Type, new Shape(columns, rows), storage);
    }

    /// <summary>A copy whose row i along the first axis is this one's row <paramref name="rows"/>[i].</summary>
    public Tensor Reordered(ReadOnlySpan<int> rows)
    {
        int rowBytes = checked((int)(ByteLength / Shape[0]));
        ArrayStorage storage = new(checked((int)ByteLength));
        ReadOnlySpan<byte> source = Bytes;
        Span<byte> to = storage.Writable;
        // Rows of a factor are short: as values they are copied several times as fast as by calls.
        if (rowBytes == 64)
            Reorder<Vector512<byte>>(source, to, rows);
        else if (rowBytes == 32)
            Reorder<Vector256<byte>>(source, to, rows);
        else
            for (int i = 0; i < rows.Length; i++)
                source.Slice(rows[i] * rowBytes, rowBytes).CopyTo(to[(i * rowBytes)..]);
        return new(Name, Type, Shape, storage);
    }

    private static void Reorder<T>(ReadOnlySpan<byte> source, Span<byte> to, ReadOnlySpan<int> rows) where T : unmanaged
    {
        ReadOnlySpan<T> from = MemoryMarshal.Cast<byte, T>(source);
        Span<T> target = MemoryMarshal.Cast<byte, T>(to);
        for (int i = 0; i < rows.Length; i++)
            target[i] = from[rows[i]];
    }

    /// <summary>This matrix itself, or a copy of <paramref name="shape"/> with it at the top left and zeros around; what lies outside is cut off. Of an unblocked type.</summary>
    public Tensor Resized(Shape shape)
    {
        if (Shape.Rank != 2 || shape.Rank != 2 || Type.BlockSize() > 1)
            throw new InvalidOperationException($"{Name}: {Type} {Shape} is no matrix of single elements");
        if (shape == Shape)
            return this;
        int size = Type.BlockBytes(), from = Shape.Columns * size, to = shape.Columns * size, copied = Math.Min(from, to);
        ArrayStorage storage = new(checked((int)Type.Bytes(shape.Elements)));
        ReadOnlySpan<byte> source = Bytes;
        for (int r = 0; r < Math.Min(Shape[0], shape[0]); r++)
            source.Slice(r * from, copied).CopyTo(storage.Writable[(r * to)..]);
        return new(Name, Type, shape, storage);
    }

    /// <summary>Widens every element to F32 (exact for F16, BF16; integers and F64 are converted; quantised types are what <see cref="Dequantize"/> says).</summary>
    public float[] ToFloats()
    {
        float[] result = new float[Shape.Elements];
        Dequantize.ToFloats(Type, Bytes, result);
        return result;
    }

    /// <summary>Integer elements (I8..I64, U8..U32, Bool) widened to long. Throws <see cref="InvalidOperationException"/> for other types.</summary>
    public long[] ToInts()
    {
        ReadOnlySpan<byte> bytes = Bytes;
        long[] result = new long[Shape.Elements];
        int size = Type.BlockBytes();
        for (int i = 0; i < result.Length; i++)
        {
            ReadOnlySpan<byte> b = bytes[(i * size)..];
            result[i] = Type switch
            {
                DType.I64 => BinaryPrimitives.ReadInt64LittleEndian(b),
                DType.I32 => BinaryPrimitives.ReadInt32LittleEndian(b),
                DType.U32 => BinaryPrimitives.ReadUInt32LittleEndian(b),
                DType.I16 => BinaryPrimitives.ReadInt16LittleEndian(b),
                DType.U16 => BinaryPrimitives.ReadUInt16LittleEndian(b),
                DType.I8 => (sbyte)b[0],
                DType.U8 or DType.Bool => b[0],
                _ => throw new InvalidOperationException($"{Name}: is {Type}, not an integer tensor"),
            };
        }
        return result;
    }

    /// <summary>A tensor of its own with the given F32 elements.</summary>
    public static Tensor FromFloats(string name, Shape shape, ReadOnlySpan<float> values)
    {
        if (values.Length != shape.Elements)
            throw new ArgumentException($"{name}: {shape} has {shape.Elements} elements, {values.Length} were given");
        ArrayStorage storage = new(checked(values.Length * 4));
        MemoryMarshal.AsBytes(values).CopyTo(storage.Writable);
        return new(name, DType.F32, shape, storage);
    }

    /// <summary><c>model.norm.weight BF16 [64]</c>.</summary>
    public override string ToString() => $"{Name} {Type} {Shape}";
}
