namespace EdgeLora.Core;

/// <summary>
/// A block of a quantised type taken apart into what <see cref="Dequantize"/> multiplies, for kernels that keep weights in an order of their own: x = (d·s)·q − min·m, or of types with a
/// <see cref="Table"/> (d·s)·t[q]; what a type does not have is 1, or 0 for minimums.
/// </summary>
public static class QuantFields
{
    /// <summary>Elements of the largest block.</summary>
    public const int LargestBlock = 256;

    /// <summary>Scales of a block at most, and minimums.</summary>
    public const int MostScales = 16;

    /// <summary>The table t that the integers of a type index; empty for types whose integers are numbers.</summary>
    public static ReadOnlySpan<sbyte> Table(DType type) => type switch
    {
        DType.IQ4_NL or DType.IQ4_XS => TableBlocks.NonLinear,
        DType.MXFP4 or DType.NVFP4 => TableBlocks.DoubledE2M1,
        DType.TQ1_0 or DType.TQ2_0 => [-1, 0, 1, 2],
        DType.Q1_0 => [-1, 1],
        _ => [],
    };

    /// <summary>Where in a block d lies, an F16; -1 for MXFP4 and NVFP4, whose scales are codes (<see cref="CodeValue"/>).</summary>
    public static int ScaleAt(DType type) => type switch
    {
        DType.Q2_K => 80,
        DType.Q3_K => 108,
        DType.Q6_K => 208,
        DType.TQ1_0 => 52,
        DType.TQ2_0 => 64,
        DType.MXFP4 or DType.NVFP4 => -1,
        _ => 0,
    };

    /// <summary>What the byte s of MXFP4 (an e8m0) or NVFP4 (an e4m3) stands for: d·s.</summary>
    public static float CodeValue(DType type, byte s) => type == DType.MXFP4 ? TableBlocks.HalfOfE8M0(s) : TableBlocks.HalfOfE4M3(s);

    /// <summary>
    /// Reads the integers q [block size], the scales s and the minimums m of the block's groups of 16 or 32, where the type has such. Throws <see cref="NotSupportedException"/> for Q8_0, Q4_0, Q8_1, Q8_K, IQ1, IQ2, IQ3 and
    /// types without blocks.
    /// </summary>
    public static void Read(DType type, ReadOnlySpan<byte> block, Span<sbyte> q, Span<sbyte> scales, Span<sbyte> minimums)
    {
        switch (type)
        {
            case DType.Q4_1:
                NibbleBlocks.FieldsQ4_1(block, q);
                break;
            case DType.Q5_0:
                NibbleBlocks.FieldsQ5_0(block, q);
                break;
            case DType.Q5_1:
                NibbleBlocks.FieldsQ5_1(block, q);
                break;
            case DType.Q2_K:
                KBlocks.FieldsQ2(block, q, scales, minimums);
                break;
            case DType.Q3_K:
                KBlocks.FieldsQ3(block, q, scales);
                break;
            case DType.Q4_K:
                KBlocks.FieldsQ4(block, q, scales, minimums);
                break;
            case DType.Q5_K:
                KBlocks.FieldsQ5(block, q, scales, minimums);
                break;
            case DType.Q6_K:
                KBlocks.FieldsQ6(block, q, scales);
                break;
            case DType.IQ4_NL:
                TableBlocks.FieldsIQ4_NL(block, q);
                break;
            case DType.IQ4_XS:
                TableBlocks.FieldsIQ4_XS(block, q, scales);
                break;
            case DType.MXFP4:
                TableBlocks.FieldsMxfp4(block, q);
                scales[0] = (sbyte)block[0];
                break;
            case DType.NVFP4:
                TableBlocks.FieldsNvfp4(block, q);
                for (int g = 0; g < 4; g++)
                    scales[g] = (sbyte)block[g];
                break;
            case DType.Q1_0:
                TernaryBlocks.FieldsQ1_0(block, q);
                break;
            case DType.TQ1_0:
                TernaryBlocks.FieldsTQ1_0(block, q);
                break;
            case DType.TQ2_0:
                TernaryBlocks.FieldsTQ2_0(block, q);
                break;
            default:
                throw new NotSupportedException($"the fields of {type} are not read");
        }
    }
}
