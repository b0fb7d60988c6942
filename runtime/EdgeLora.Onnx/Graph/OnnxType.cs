namespace EdgeLora.Onnx;

/// <summary>Element types of ONNX that graphs here use, by their numbers in onnx.proto3's TensorProto.DataType.</summary>
public enum OnnxType
{
    /// <summary>32-bit float.</summary>
    Float = 1,
    /// <summary>Unsigned byte: quantised weights.</summary>
    UInt8 = 2,
    /// <summary>32-bit integer.</summary>
    Int32 = 6,
    /// <summary>64-bit integer.</summary>
    Int64 = 7,
    /// <summary>16-bit float.</summary>
    Float16 = 10,
    /// <summary>bfloat16.</summary>
    BFloat16 = 16,
}

/// <summary>A dimension of a graph's input or output: a number, or a name for one that is known at run time only.</summary>
public readonly record struct OnnxDimension
{
    private OnnxDimension(long size, string? name) => (Size, Name) = (size, name);

    /// <summary>The number; -1 for a named dimension.</summary>
    public long Size { get; }

    /// <summary>The name; null for a fixed dimension.</summary>
    public string? Name { get; }

    /// <summary>A fixed dimension.</summary>
    public static implicit operator OnnxDimension(long size) => new(size, null);

    /// <summary>A named dimension.</summary>
    public static implicit operator OnnxDimension(string name) => new(-1, name);
}

/// <summary>An attribute of a node: an integer, a float, a string or integers.</summary>
/// <param name="Name">As the operator's schema spells it.</param>
/// <param name="Value">A long, float, string or long[].</param>
public readonly record struct OnnxAttribute(string Name, object Value)
{
    /// <summary>An integer.</summary>
    public static implicit operator OnnxAttribute((string Name, long Value) attribute) => new(attribute.Name, attribute.Value);

    /// <summary>A float.</summary>
    public static implicit operator OnnxAttribute((string Name, float Value) attribute) => new(attribute.Name, attribute.Value);

    /// <summary>A string.</summary>
    public static implicit operator OnnxAttribute((string Name, string Value) attribute) => new(attribute.Name, attribute.Value);

    /// <summary>Integers.</summary>
    public static implicit operator OnnxAttribute((string Name, long[] Value) attribute) => new(attribute.Name, attribute.Value);
}
