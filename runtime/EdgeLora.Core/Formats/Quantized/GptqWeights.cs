namespace EdgeLora.Core;

// Layout (AutoGPTQ, GPTQModel), per module, I inputs, O outputs, G groups of the inputs, b bits:
//   qweight I32 [I·b/32, O]   stream along the inputs     qzeros I32 [G, O·b/32]  stream along the outputs, less 1 in checkpoint_format gptq
//   scales  F16 [G, O]        g_idx I32 [I], or absent: i / group_size
//   W[o, i] = scales[g, o]·(q[i, o] − z[g, o])

/// <summary>GPTQ: versions 1 and 2, 2, 3, 4 and 8 bits, with and without act order.</summary>
internal sealed class GptqWeights : QuantizationScheme
{
    private readonly int _bits, _groupSize, _zeroOffset;

    public GptqWeights(HfConfig config)
    {
        _bits = config.GetInt("bits", 2, 8);
        if (_bits is not (2 or 3 or 4 or 8))
            throw config.Refusal("bits", "2, 3, 4 or 8");
        _groupSize = config.GetInt("group_size", -1, 1 << 20, -1);
        string format = config.GetString("checkpoint_format", "gptq");
        if (format is not ("gptq" or "gptq_v2"))
            throw config.Refusal("checkpoint_format", "gptq or gptq_v2");
        if (config.GetBool("is_marlin_format", false))
            throw config.Refusal("is_marlin_format", "false");
        if (config.TryGetObject("dynamic", out HfConfig? dynamic) && dynamic.Fields.Any())
            throw config.Refusal("dynamic", "one number of bits for all modules");
        _zeroOffset = format == "gptq" ? 1 : 0;
        Facts.AddRange([("quantBits", _bits), ("quantGroupSize", _groupSize), ("quantFormat", format), ("quantActOrder", config.GetBool("desc_act", false))]);
    }

    public override string Name => "GPTQ";

    public override string Marker => ".qweight";

    public override Tensor Read(string module, PackedModule tensors)
    {
        Tensor q = tensors.Take("qweight", DType.I32, 2), scales = tensors.Take("scales", null, 2), zeros = tensors.Take("qzeros", DType.I32, 2);
        int outputs = (int)q.Shape[1], inputs = checked((int)(q.Shape[0] * 32 / _bits)), groups = (int)scales.Shape[0];
        Tensor? order = tensors.Find("g_idx");
        int size = _groupSize <= 0 ? inputs : _groupSize;
        tensors.Expect(scales, groups, outputs);
        tensors.Expect(zeros, groups, PackedBits.WordCount(outputs, _bits));
        int[] groupOf = order is null ? [.. Enumerable.Range(0, inputs).Select(i => i / size)] : [.. order.ToInts().Select(g => (int)g)];
        if (groupOf.Length != inputs || Array.Exists(groupOf, g => (uint)g >= (uint)groups))
            throw tensors.Fault($"g_idx: expected {inputs} groups from 0 to {groups - 1}, found {groupOf.Length}{(groupOf.Length == 0 ? "" : $" up to {groupOf.Max()}")}");
        short[] zero = new short[groups * outputs];
        ReadOnlySpan<uint> packed = PackedBits.Words(zeros);
        for (int g = 0; g < groups; g++)
            for (int o = 0; o < outputs; o++)
                zero[g * outputs + o] = (short)(PackedBits.At(packed, g * (int)zeros.Shape[1], 1, o, _bits) + _zeroOffset);
        float[] scale = scales.ToFloats();
        int bits = _bits;
        return new IntegerWeight(module + ".weight", outputs, inputs, groupOf)
        {
            Scale = (o, g) => scale[g * outputs + o],
            Range = (-zero.Max(), (1 << bits) - 1 - zero.Min()),
            ReadLevels = (first, count, levels) =>
            {
                ReadOnlySpan<uint> words = PackedBits.Words(q);
                for (int i = 0; i < inputs; i++)
                    for (int o = 0; o < count; o++)
                        levels[o * inputs + i] = (short)(PackedBits.At(words, first + o, outputs, i, bits) - zero[groupOf[i] * outputs + first + o]);
            },
        }.ToTensor();
    }
}
