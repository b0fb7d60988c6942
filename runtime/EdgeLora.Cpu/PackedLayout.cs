using EdgeLora.Core;

namespace EdgeLora.Cpu;

/// <summary>What the factors of a packed weight are made of.</summary>
internal enum PackedFactors
{
    /// <summary>There are none.</summary>
    None,
    /// <summary>d, an F16.</summary>
    Halves,
    /// <summary>d, and a minimum m that is added, two F16.</summary>
    HalvesAndMinimums,
    /// <summary>d·s: an F16 for all groups, a signed byte for each.</summary>
    Scales,
    /// <summary>d·s and min·m: two F16 for all groups, two bytes for each.</summary>
    ScalesAndMinimums,
    /// <summary>The same with s and m in the halves of one byte.</summary>
    NibblesAndMinimums,
    /// <summary>A byte that stands for a number (<see cref="QuantFields.CodeValue"/>).</summary>
    Codes,
}

/// <summary>
/// How a <see cref="PackedWeight"/> of a type is laid out: groups of inputs of so many bits, and for every span of inputs a record of the factors of its groups, each part for 16 outputs side by side: d, m or min,
/// then group by group s, then group by group m.
/// </summary>
internal sealed record PackedLayout(int Group, int Bits, int UnitBytes, PackedFactors Factors = PackedFactors.None, int Span = 0)
{
    private static readonly PackedLayout Floats = new(8, 16, 4), Bytes = new(32, 8, 1, PackedFactors.Halves, 32), Nibbles = new(32, 4, 4, PackedFactors.Halves, 32), Codes = new(32, 4, 4, PackedFactors.Codes, 32);
    private static readonly PackedLayout NibblesWithMinimum = new(32, 4, 4, PackedFactors.HalvesAndMinimums, 32), Fives = new(32, 5, 4, PackedFactors.Halves, 32), FivesWithMinimum = new(32, 5, 4, PackedFactors.HalvesAndMinimums, 32);
    private static readonly PackedLayout Q2 = new(16, 2, 2, PackedFactors.NibblesAndMinimums, 256), Q3 = new(16, 3, 2, PackedFactors.Scales, 256), Q4 = new(32, 4, 4, PackedFactors.ScalesAndMinimums, 256);
    private static readonly PackedLayout Q5 = new(32, 5, 4, PackedFactors.ScalesAndMinimums, 256), Q6 = new(16, 6, 4, PackedFactors.Scales, 256), ScaledNibbles = new(32, 4, 4, PackedFactors.Scales, 256);
    private static readonly PackedLayout SmallCodes = new(16, 4, 4, PackedFactors.Codes, 16), Ternary = new(32, 2, 2, PackedFactors.Halves, 256), Binary = new(32, 1, 1, PackedFactors.Halves, 128);

    /// <summary>Bytes of a group of a panel.</summary>
    public int GroupBytes => Group * Bits * PackedWeight.Panel / 8;

    /// <summary>Bytes of a step of a panel: 8 inputs of bytes and halves, else a word of every output.</summary>
    public int StepBytes => Bits >= 8 ? Bits * PackedWeight.Panel : UnitBytes * PackedWeight.Panel;

    /// <summary>True where groups have minimums.</summary>
    public bool HasMinimums => Factors is PackedFactors.HalvesAndMinimums or PackedFactors.ScalesAndMinimums or PackedFactors.NibblesAndMinimums;

    /// <summary>F16 of a record and output.</summary>
    public int Halves => Factors switch
    {
        PackedFactors.None or PackedFactors.Codes => 0,
        PackedFactors.Halves or PackedFactors.Scales => 1,
        _ => 2,
    };

    /// <summary>Bytes of a record of a panel.</summary>
    public int RecordBytes => PackedWeight.Panel * (2 * Halves + Factors switch
    {
        PackedFactors.Scales or PackedFactors.NibblesAndMinimums or PackedFactors.Codes => 1,
        PackedFactors.ScalesAndMinimums => 2,
        _ => 0,
    } * (Span / Group));

    /// <summary>The layout of a type; null for those that are read as stored: F32, and GGUF's IQ1, IQ2, IQ3, Q8_1 and Q8_K.</summary>
    public static PackedLayout? Of(DType type) => type switch
    {
        DType.F16 or DType.BF16 => Floats,
        DType.Q8_0 => Bytes,
        DType.Q4_0 or DType.IQ4_NL => Nibbles,
        DType.Q4_1 => NibblesWithMinimum,
        DType.Q5_0 => Fives,
        DType.Q5_1 => FivesWithMinimum,
        DType.Q2_K => Q2,
        DType.Q3_K => Q3,
        DType.Q4_K => Q4,
        DType.Q5_K => Q5,
        DType.Q6_K => Q6,
        DType.IQ4_XS => ScaledNibbles,
        DType.MXFP4 => Codes,
        DType.NVFP4 => SmallCodes,
        DType.TQ1_0 or DType.TQ2_0 => Ternary,
        DType.Q1_0 => Binary,
        _ => null,
    };
}
