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
    /// <summary>8-bit float e4m3fnuz: one zero, no infinities.</summary>
    F8E4M3Fnuz,
    /// <summary>8-bit float e5m2fnuz: one zero, no infinities.</summary>
    F8E5M2Fnuz,
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
    /// <summary>GGUF Q4_1: 32 elements = f16 scale, f16 minimum, nibbles (20 bytes).</summary>
    Q4_1,
    /// <summary>GGUF Q5_0: 32 elements = f16 scale, 32 fifth bits, nibbles (22 bytes).</summary>
    Q5_0,
    /// <summary>GGUF Q5_1: 32 elements = f16 scale, f16 minimum, 32 fifth bits, nibbles (24 bytes).</summary>
    Q5_1,
    /// <summary>GGUF Q2_K: 256 elements of 2 bits in groups of 16 with a scale and a minimum (84 bytes).</summary>
    Q2_K,
    /// <summary>GGUF Q3_K: 256 elements of 3 bits in groups of 16 with a scale (110 bytes).</summary>
    Q3_K,
    /// <summary>GGUF Q4_K: 256 elements of 4 bits in groups of 32 with a scale and a minimum (144 bytes).</summary>
    Q4_K,
    /// <summary>GGUF Q5_K: 256 elements of 5 bits in groups of 32 with a scale and a minimum (176 bytes).</summary>
    Q5_K,
    /// <summary>GGUF Q6_K: 256 elements of 6 bits in groups of 16 with a scale (210 bytes).</summary>
    Q6_K,
    /// <summary>GGUF IQ4_NL: 32 elements = f16 scale, nibbles that index a table of 16 values (18 bytes).</summary>
    IQ4_NL,
    /// <summary>GGUF IQ4_XS: 256 elements of 4 bits that index IQ4_NL's table, in groups of 32 with a scale (136 bytes).</summary>
    IQ4_XS,
    /// <summary>GGUF MXFP4: 32 elements = e8m0 scale, e2m1 nibbles (17 bytes).</summary>
    MXFP4,
    /// <summary>GGUF NVFP4: 64 elements of e2m1 in groups of 16 with an e4m3 scale (36 bytes).</summary>
    NVFP4,
    /// <summary>GGUF Q1_0: 128 signs of one f16 scale (18 bytes).</summary>
    Q1_0,
    /// <summary>GGUF TQ1_0: 256 elements of −1, 0 and 1, five to a byte, one f16 scale (54 bytes).</summary>
    TQ1_0,
    /// <summary>GGUF TQ2_0: 256 elements of −1, 0 and 1, four to a byte, one f16 scale (66 bytes).</summary>
    TQ2_0,
    /// <summary>GGUF IQ2_XXS: 256 elements, points of 8 of a grid of 256 (66 bytes).</summary>
    IQ2_XXS,
    /// <summary>GGUF IQ2_XS: 256 elements, points of 8 of a grid of 512 (74 bytes).</summary>
    IQ2_XS,
    /// <summary>GGUF IQ2_S: 256 elements, points of 8 of a grid of 1024 (82 bytes).</summary>
    IQ2_S,
    /// <summary>GGUF IQ3_XXS: 256 elements, points of 4 of a grid of 256 (98 bytes).</summary>
    IQ3_XXS,
    /// <summary>GGUF IQ3_S: 256 elements, points of 4 of a grid of 512 (110 bytes).</summary>
    IQ3_S,
    /// <summary>GGUF IQ1_S: 256 elements, points of 8 of a grid of 2048 (50 bytes).</summary>
    IQ1_S,
    /// <summary>GGUF IQ1_M: 256 elements, points of 8 of a grid of 2048 with finer scales (56 bytes).</summary>
    IQ1_M,
    /// <summary>GGUF Q8_1: 32 elements = f16 scale, f16 sum (not read), 32 int8 (36 bytes). ggml has it for activations.</summary>
    Q8_1,
    /// <summary>GGUF Q8_K: 256 elements = F32 scale, 256 int8, 16 sums of int16 (not read) (292 bytes). ggml has it for activations.</summary>
    Q8_K,
}

/// <summary>Sizes of <see cref="DType"/>.</summary>
public static class DTypes
{
    /// <summary>What <see cref="IsWeight"/> takes, for messages.</summary>
    public const string Weights = "F32, F16, BF16 or a quantised type of GGUF";

    /// <summary>Elements in one block: 32, 64, 128 or 256 for GGUF's quantised types, 2 for F4, 4 for F6, else 1. Rows are whole blocks.</summary>
    public static int BlockSize(this DType type) => type switch
    {
        DType.Q8_0 or DType.Q4_0 or DType.Q4_1 or DType.Q5_0 or DType.Q5_1 or DType.IQ4_NL or DType.MXFP4 or DType.Q8_1 => 32,
        DType.NVFP4 => 64,
        DType.Q1_0 => 128,
        DType.Q2_K or DType.Q3_K or DType.Q4_K or DType.Q5_K or DType.Q6_K or DType.IQ4_XS or DType.TQ1_0 or DType.TQ2_0 or DType.Q8_K => 256,
        DType.IQ2_XXS or DType.IQ2_XS or DType.IQ2_S or DType.IQ3_XXS or DType.IQ3_S or DType.IQ1_S or DType.IQ1_M => 256,
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
        DType.I8 or DType.U8 or DType.Bool or DType.F8E4M3 or DType.F8E5M2 or DType.F8E4M3Fnuz or DType.F8E5M2Fnuz or DType.F8E8M0 or DType.F4 => 1,
        DType.F6E2M3 or DType.F6E3M2 => 3,
        DType.Q8_0 => 34,
        DType.Q4_0 or DType.IQ4_NL or DType.Q1_0 => 18,
        DType.Q4_1 => 20,
        DType.Q5_0 => 22,
        DType.Q5_1 => 24,
        DType.Q2_K => 84,
        DType.Q3_K or DType.IQ3_S => 110,
        DType.Q4_K => 144,
        DType.Q5_K => 176,
        DType.Q6_K => 210,
        DType.IQ4_XS => 136,
        DType.MXFP4 => 17,
        DType.NVFP4 or DType.Q8_1 => 36,
        DType.TQ1_0 => 54,
        DType.TQ2_0 or DType.IQ2_XXS => 66,
        DType.IQ2_XS => 74,
        DType.IQ2_S => 82,
        DType.IQ3_XXS => 98,
        DType.IQ1_S => 50,
        DType.IQ1_M => 56,
        DType.Q8_K => 292,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, null),
    };

    /// <summary>Bytes of <paramref name="elements"/> elements, which must be whole blocks. Throws <see cref="OverflowException"/> past long.</summary>
    public static long Bytes(this DType type, long elements) => checked(elements / type.BlockSize() * type.BlockBytes());

    /// <summary>True for types that <c>Linear</c> and <c>Embed</c> take as weights: floats of 32 and 16 bits and GGUF's quantised types.</summary>
    public static bool IsWeight(this DType type) => type is DType.F32 or DType.F16 or DType.BF16 or >= DType.Q8_0;

    /// <summary>True for weight types that every device multiplies as they are stored: F32, F16, BF16, Q8_0, Q4_0. Weights of the others are widened to F32 by <see cref="Dequantize"/>.</summary>
    public static bool HasKernels(this DType type) => type is DType.F32 or DType.F16 or DType.BF16 or DType.Q8_0 or DType.Q4_0;
}
