using System.Diagnostics.CodeAnalysis;

namespace EdgeLora.Core;

/// <summary>One element type of GGUF: its number in the file, its block, and the <see cref="DType"/> it is read as, if any.</summary>
/// <param name="Id">The number in the file.</param>
/// <param name="Name">ggml's name: <c>Q4_K</c>.</param>
/// <param name="BlockSize">Elements in one block.</param>
/// <param name="BlockBytes">Bytes of one block.</param>
/// <param name="Type">What the engine reads it as; null: it can be listed but not used.</param>
public sealed record GgufTensorType(uint Id, string Name, int BlockSize, int BlockBytes, DType? Type = null)
{
    // ggml.h, enum ggml_type and ggml-common.h; 4, 5, 31..33 and 36..38 were removed from ggml.
    private static readonly GgufTensorType[] s_all =
    [
        new(0, "F32", 1, 4, DType.F32), new(1, "F16", 1, 2, DType.F16), new(30, "BF16", 1, 2, DType.BF16), new(28, "F64", 1, 8, DType.F64),
        new(24, "I8", 1, 1, DType.I8), new(25, "I16", 1, 2, DType.I16), new(26, "I32", 1, 4, DType.I32), new(27, "I64", 1, 8, DType.I64),
        new(8, "Q8_0", 32, 34, DType.Q8_0), new(2, "Q4_0", 32, 18, DType.Q4_0), new(3, "Q4_1", 32, 20, DType.Q4_1), new(6, "Q5_0", 32, 22, DType.Q5_0),
        new(7, "Q5_1", 32, 24, DType.Q5_1), new(10, "Q2_K", 256, 84, DType.Q2_K), new(11, "Q3_K", 256, 110, DType.Q3_K), new(12, "Q4_K", 256, 144, DType.Q4_K),
        new(13, "Q5_K", 256, 176, DType.Q5_K), new(14, "Q6_K", 256, 210, DType.Q6_K), new(20, "IQ4_NL", 32, 18, DType.IQ4_NL), new(23, "IQ4_XS", 256, 136, DType.IQ4_XS),
        new(39, "MXFP4", 32, 17, DType.MXFP4), new(16, "IQ2_XXS", 256, 66, DType.IQ2_XXS), new(17, "IQ2_XS", 256, 74, DType.IQ2_XS), new(18, "IQ3_XXS", 256, 98, DType.IQ3_XXS),
        new(19, "IQ1_S", 256, 50, DType.IQ1_S), new(21, "IQ3_S", 256, 110, DType.IQ3_S), new(22, "IQ2_S", 256, 82, DType.IQ2_S), new(29, "IQ1_M", 256, 56, DType.IQ1_M),
        new(34, "TQ1_0", 256, 54, DType.TQ1_0), new(35, "TQ2_0", 256, 66, DType.TQ2_0), new(40, "NVFP4", 64, 36, DType.NVFP4), new(41, "Q1_0", 128, 18, DType.Q1_0),
        new(9, "Q8_1", 32, 36, DType.Q8_1), new(15, "Q8_K", 256, 292, DType.Q8_K), new(42, "Q2_0", 64, 18),
    ];

    /// <summary>The type numbered <paramref name="id"/>; false for a number that ggml does not have.</summary>
    public static bool TryFind(uint id, [NotNullWhen(true)] out GgufTensorType? type)
    {
        type = Array.Find(s_all, t => t.Id == id);
        return type is not null;
    }

    /// <summary>The type that stores <paramref name="type"/>, or null when GGUF has none (unsigned integers, booleans, 8-bit floats).</summary>
    public static GgufTensorType? Of(DType type) => Array.Find(s_all, t => t.Type == type);
}

/// <summary>What a GGUF file says of one tensor.</summary>
/// <param name="Name">The name, verbatim: <c>blk.0.attn_q.weight</c>.</param>
/// <param name="Type">Stored type.</param>
/// <param name="Shape">Dimensions slowest first (the file has them fastest first).</param>
/// <param name="ByteLength">Stored bytes.</param>
public sealed record GgufTensorInfo(string Name, GgufTensorType Type, Shape Shape, long ByteLength)
{
    /// <summary>ggml's number of the type.</summary>
    public uint TypeId => Type.Id;

    /// <summary>ggml's name of the type.</summary>
    public string TypeName => Type.Name;

    internal long FileOffset { get; init; }

    internal int Piece { get; init; }
}
