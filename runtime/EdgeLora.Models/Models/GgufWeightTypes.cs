using EdgeLora.Core;

namespace EdgeLora.Models;

/// <summary>Which type each tensor of a GGUF model gets, as llama.cpp's converter and quantiser choose (convert_hf_to_gguf.py, llama-quant.cpp).</summary>
public static class GgufWeightTypes
{
    // general.file_type: llama.h, enum llama_ftype.
    private static readonly (DType Type, uint Number)[] s_fileTypes =
    [
        (DType.F32, 0), (DType.F16, 1), (DType.BF16, 32), (DType.Q4_0, 2), (DType.Q4_1, 3), (DType.Q8_0, 7), (DType.Q5_0, 8), (DType.Q5_1, 9), (DType.Q2_K, 21), (DType.Q3_K, 11), (DType.Q4_K, 14), (DType.Q5_K, 16),
        (DType.Q6_K, 18), (DType.IQ4_NL, 25), (DType.IQ4_XS, 30), (DType.TQ1_0, 36), (DType.TQ2_0, 37), (DType.MXFP4, 38), (DType.NVFP4, 39), (DType.Q1_0, 40),
    ];

    /// <summary>Types that a whole model can be written in.</summary>
    public static IReadOnlyList<DType> Writable { get; } = [.. s_fileTypes.Select(t => t.Type)];

    /// <summary><c>general.file_type</c> of a model mostly of <paramref name="type"/>.</summary>
    public static uint FileType(DType type) => s_fileTypes.Single(t => t.Type == type).Number;

    /// <summary>True for what is F32 in every file: vectors, norms, learned positions, routers.</summary>
    public static bool IsAlwaysF32(string name, Shape shape) =>
        shape.Rank < 2 || name.EndsWith("_norm.weight", StringComparison.Ordinal) || name.EndsWith(".ffn_gate_inp.weight", StringComparison.Ordinal) || name.EndsWith(".ffn_gate_inp_shexp.weight", StringComparison.Ordinal)
        || name == "position_embd.weight";

    /// <summary>
    /// The type of one tensor of a model written as <paramref name="type"/>: F32 where it always is; Q6_K for the head of types below Q6_K with blocks of 256; where rows are no whole blocks, llama.cpp's
    /// choice of smaller blocks (Q8_0 for Q6_K, Q5_1 for Q5_K, Q5_0 for Q4_K, IQ4_NL for IQ4_XS, else Q4_0), or F16.
    /// </summary>
    /// <param name="name">Its name in the file.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="type">The model's type.</param>
    /// <param name="isHead">Whether logits come from it: <c>output.weight</c>, or a tied table.</param>
    public static DType Of(string name, Shape shape, DType type, bool isHead)
    {
        if (IsAlwaysF32(name, shape))
            return DType.F32;
        if (isHead && type is DType.Q2_K or DType.Q3_K or DType.Q4_K or DType.Q5_K or DType.IQ4_XS or DType.TQ1_0 or DType.TQ2_0)
            type = DType.Q6_K;
        if (shape.Columns % type.BlockSize() == 0)
            return type;
        DType smaller = type switch
        {
            DType.Q6_K => DType.Q8_0,
            DType.Q5_K => DType.Q5_1,
            DType.Q4_K => DType.Q5_0,
            DType.IQ4_XS => DType.IQ4_NL,
            _ => DType.Q4_0,
        };
        return shape.Columns % smaller.BlockSize() == 0 ? smaller : DType.F16;
    }
}
