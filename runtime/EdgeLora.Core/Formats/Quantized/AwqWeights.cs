namespace EdgeLora.Core;

// Layout (AutoAWQ, version gemm), per module, I inputs, O outputs, G groups: qweight I32 [I, O/8], qzeros I32 [G, O/8], scales F16 [G, O].
//   Nibble k of a word is column [0, 2, 4, 6, 1, 3, 5, 7][k] of its eight. W[o, i] = scales[g, o]·(q[i, o] − z[g, o]), g = i / group_size

/// <summary>AWQ in its GEMM packing, 4 bits.</summary>
internal sealed class AwqWeights : QuantizationScheme
{
    private readonly int _groupSize;

    public AwqWeights(HfConfig config)
    {
        if (config.GetInt("bits", 1, 16, 4) != 4)
            throw config.Refusal("bits", "4");
        string version = config.GetString("version", "gemm");
        if (!version.Equals("gemm", StringComparison.OrdinalIgnoreCase))
            throw config.Refusal("version", "gemm");
        _groupSize = config.GetInt("group_size", -1, 1 << 20, 128);
        Facts.AddRange([("quantBits", 4), ("quantGroupSize", _groupSize), ("quantFormat", "gemm")]);
    }

    // Where a column's nibble lies in its word.
    private static ReadOnlySpan<byte> Places => [0, 4, 1, 5, 2, 6, 3, 7];

    public override string Name => "AWQ";

    public override string Marker => ".qweight";

    public override Tensor Read(string module, PackedModule tensors)
    {
        Tensor q = tensors.Take("qweight", DType.I32, 2), scales = tensors.Take("scales", null, 2), zeros = tensors.Take("qzeros", DType.I32, 2);
        int inputs = (int)q.Shape[0], outputs = checked((int)(q.Shape[1] * 8)), size = _groupSize <= 0 ? inputs : _groupSize, groups = (inputs + size - 1) / size;
        tensors.Expect(scales, groups, outputs);
        tensors.Expect(zeros, groups, q.Shape[1]);
        short[] zero = new short[groups * outputs];
        ReadOnlySpan<uint> packed = PackedBits.Words(zeros);
        for (int i = 0; i < zero.Length; i++)
            zero[i] = Nibble(packed, i);
        float[] scale = scales.ToFloats();
        int[] groupOf = [.. Enumerable.Range(0, inputs).Select(i => i / size)];
        return new IntegerWeight(module + ".weight", outputs, inputs, groupOf)
        {
            Scale = (o, g) => scale[g * outputs + o],
            Range = (-zero.Max(), 15 - zero.Min()),
            ReadLevels = (first, count, levels) =>
            {
                ReadOnlySpan<uint> words = PackedBits.Words(q);
                for (int i = 0; i < inputs; i++)
                    for (int o = 0; o < count; o++)
                        levels[o * inputs + i] = (short)(Nibble(words, (long)i * outputs + first + o) - zero[groupOf[i] * outputs + first + o]);
            },
        }.ToTensor();
    }

    private static short Nibble(ReadOnlySpan<uint> words, long index) => (short)(words[(int)(index >> 3)] >> Places[(int)(index & 7)] * 4 & 15);
}
