namespace EdgeLora.Core;

/// <summary>Element type of a tensor as it is stored. Quantised types are blocks (GGUF names and layouts).</summary>
public enum DType
{
    /// <summary>32-bit IEEE float.</summary>
    F32,
    /// <summary>16-bit IEEE float.</summary>
    F16,
    /// <summary>bfloat16: the upper half of an F32.</summary>
    BF16,
    /// <summary>64-bit IEEE float.</summary>
    F64,
    /// <summary>Signed 8-bit integer.</summary>
    I8,
    /// <summary>Signed 16-bit integer.</summary>
    I16,
    /// <summary>Signed 32-bit integer.</summary>
    I32,
    /// <summary>Signed 64-bit integer.</summary>
    I64,
    /// <summary>Unsigned 8-bit integer.</summary>
    U8,
    /// <summary>Unsigned 16-bit integer.</summary>
    U16,
    /// <summary>Unsigned 32-bit integer.</summary>
    U32,
    /// <summary>Unsigned 64-bit integer.</summary>
    U64,
    /// <summary>One byte, 0 or 1.</summary>
    Bool,
    /// <summary>8-bit float e4m3fn.</summary>
    F8E4M3,
    /// <summary>8-bit float e5m2.</summary>
    F8E5M2,
    /// <summary>8-bit power of two e8m0: a scale.</summary>
    F8E8M0,
    /// <summary>4-bit float e2m1, two to a byte.</summary>
    F4,
    /// <summary>6-bit float e2m3, four to three bytes.</summary>
    F6E2M3,
    /// <summary>6-bit float e3m2, four to three bytes.</summary>
    F6E3M2,
    /// <summary>Complex number of two 32-bit floats.</summary>
    C64,
    /// <summary>GGUF Q8_0: 32 elements = f16 scale + 32 int8 (34 bytes).</summary>
    Q8_0,
    /// <summary>GGUF Q4_0: 32 elements = f16 scale + 16 bytes of nibbles (18 bytes); low nibbles are elements 0..15.</summary>
    Q4_0,
}

/// <summary>Sizes of <see cref="DType"/>.</summary>
public static class DTypes
{
    /// <summary>Elements in one block: 32 for Q8_0 and Q4_0, 2 for F4, 4 for F6, else 1. Rows are whole blocks.</summary>
    public static int BlockSize(this DType type) => type switch
    {
        DType.Q8_0 or DType.Q4_0 => 32,
        DType.F6E2M3 or DType.F6E3M2 => 4,
        DType.F4 => 2,
        _ => 1,
    };

    /// <summary>Bytes of one block (of one element for unblocked types).</summary>
    public static int BlockBytes(this DType type) => type switch
    {
        DType.F64 or DType.I64 or DType.U64 or DType.C64 => 8,
        DType.F32 or DType.I32 or DType.U32 => 4,
        DType.F16 or DType.BF16 or DType.I16 or DType.U16 => 2,
        DType.I8 or DType.U8 or DType.Bool or DType.F8E4M3 or DType.F8E5M2 or DType.F8E8M0 or DType.F4 => 1,
        DType.F6E2M3 or DType.F6E3M2 => 3,
        DType.Q8_0 => 34,
        DType.Q4_0 => 18,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, null),
    };

    /// <summary>Bytes of <paramref name="elements"/> elements, which must be whole blocks. Throws <see cref="OverflowException"/> past long.</summary>
    public static long Bytes(this DType type, long elements) => checked(elements / type.BlockSize() * type.BlockBytes());

    /// <summary>True for types that <c>Linear</c> and <c>Embed</c> take as weights: F32, F16, BF16, Q8_0, Q4_0.</summary>
    public static bool IsWeight(this DType type) => type is DType.F32 or DType.F16 or DType.BF16 or DType.Q8_0 or DType.Q4_0;
}
