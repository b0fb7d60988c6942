using System.Text.RegularExpressions;

namespace EdgeLora.Core;

// Layout (vllm-project/compressed-tensors), per module, I inputs, O outputs, G groups, b bits, p = 32 / b:
//   pack-quantized: weight_packed I32 [O, I/p], number k of a word at bit k·b, stored q + 2^(b−1); weight_scale [O, G], weight_shape I64 [2],
//                   weight_zero_point I32 [O/p, G] packed along the outputs in the same way (asymmetric), weight_g_idx I32 [I] (act order)
//   int-quantized:  weight I8 [O, I], weight_scale [O, G] or [1], weight_zero_point I8
//   float-quantized: weight F8, weight_scale: see ScaledFloat8
//   W[o, i] = scale[o, g]·(q − z)

/// <summary>compressed-tensors: pack-quantized, int-quantized, naive-quantized and float-quantized weights.</summary>
internal sealed class CompressedTensorsWeights : QuantizationScheme
{
    private readonly List<Group> _groups = [];
    private readonly ScaledFloat8 _float8;

    public CompressedTensorsWeights(HfConfig config)
    {
        string format = config.GetString("format", "pack-quantized");
        if (format is not ("pack-quantized" or "int-quantized" or "naive-quantized" or "float-quantized"))
            throw config.Refusal("format", "pack-quantized, int-quantized, naive-quantized or float-quantized");
        if (config.TryGetObject("sparsity_config", out HfConfig? sparsity) && sparsity.GetString("format", "dense") != "dense")
            throw sparsity.Refusal("format", "dense");
        HfConfig groups = config.GetObject("config_groups");
        foreach (string name in groups.Fields)
        {
            HfConfig group = groups.GetObject(name), weights = group.GetObject("weights");
            string type = weights.GetString("type", "int"), strategy = weights.GetString("strategy", "tensor");
            if (type is not ("int" or "float"))
                throw weights.Refusal("type", "int or float");
            int bits = weights.GetInt("num_bits", 1, 16);
            if (type == "int" ? bits is < 2 or > 8 : bits != 8)
                throw weights.Refusal("num_bits", type == "int" ? "2 to 8" : "8");
            if (strategy is not ("group" or "channel" or "tensor" or "block"))
                throw weights.Refusal("strategy", "group, channel, tensor or block");
            group.TryGetStrings("targets", out IReadOnlyList<string> targets);
            int size = strategy == "group" ? weights.GetInt("group_size", 1, 1 << 20) : 0;
            int[]? block = strategy == "block" && weights.TryGetInts("block_structure", 1, 1 << 20, out IReadOnlyList<int> sides) && sides.Count == 2 ? [.. sides] : null;
            _groups.Add(new(targets, bits, size, weights.GetBool("symmetric", true), block));
            Facts.AddRange([("quantBits", bits), ("quantGroupSize", size), ("quantStrategy", strategy)]);
        }
        if (_groups.Count == 0)
            throw config.Refusal("config_groups", "at least one group");
        _float8 = new(_groups[0].Block);
        Facts.Add(("quantFormat", format));
    }

    private sealed record Group(IReadOnlyList<string> Targets, int Bits, int Size, bool Symmetric, int[]? Block)
    {
        public bool Holds(string module) => Targets.Any(t => t.StartsWith("re:", StringComparison.Ordinal) ? Regex.IsMatch(module, t[3..], RegexOptions.None, TimeSpan.FromSeconds(1))
            : t == module || module.EndsWith("." + t, StringComparison.Ordinal));
    }

    public override string Name => "compressed-tensors";

    public override string Marker => ".weight_scale";

    public override Tensor Read(string module, PackedModule tensors)
    {
        // A class name ("Linear") takes what no pattern names.
        Group group = _groups.Find(g => g.Holds(module)) ?? _groups[0];
        if (tensors.Find("weight_packed") is null)
            return tensors.Find("weight") is { Type: DType.I8 } bytes ? Bytes(module, tensors, bytes, group) : _float8.Read(module, tensors);
        Tensor packed = tensors.Take("weight_packed", DType.I32, 2), scales = tensors.Take("weight_scale", null, null);
        long[] shape = tensors.Take("weight_shape", null, 1).ToInts();
        int per = 32 / group.Bits, half = 1 << group.Bits - 1, mask = (1 << group.Bits) - 1;
        if (shape.Length != 2 || shape[0] != packed.Shape[0] || (shape[1] + per - 1) / per != packed.Shape[1])
            throw tensors.Fault($"weight_packed: {packed.Shape} does not hold weight_shape [{string.Join(", ", shape)}] of {group.Bits} bits");
        int outputs = (int)shape[0], inputs = (int)shape[1], width = (int)packed.Shape[1];
        (int[] groupOf, int groups) = Grouping(tensors, inputs, group);
        float[] scale = Scales(tensors, scales, outputs, groups);
        short[] zero = Zeros(tensors, outputs, groups, group);
        return new IntegerWeight(module + ".weight", outputs, inputs, groupOf)
        {
            Scale = (o, g) => scale[o * groups + g],
            Range = (-half - zero.Max(), half - 1 - zero.Min()),
            ReadLevels = (first, count, levels) =>
            {
                ReadOnlySpan<uint> words = PackedBits.Words(packed);
                for (int o = 0; o < count; o++)
                    for (int i = 0; i < inputs; i++)
                        levels[o * inputs + i] = (short)((int)(words[(first + o) * width + i / per] >> i % per * group.Bits & mask) - half - zero[(first + o) * groups + groupOf[i]]);
            },
        }.ToTensor();
    }

    private static Tensor Bytes(string module, PackedModule tensors, Tensor weight, Group group)
    {
        int outputs = (int)weight.Shape[0], inputs = weight.Shape.Columns;
        (int[] groupOf, int groups) = Grouping(tensors, inputs, group);
        float[] scale = Scales(tensors, tensors.Take("weight_scale", null, null), outputs, groups);
        short[] zero = Zeros(tensors, outputs, groups, group);
        return new IntegerWeight(module + ".weight", outputs, inputs, groupOf)
        {
            Scale = (o, g) => scale[o * groups + g],
            Range = (-128 - zero.Max(), 127 - zero.Min()),
            ReadLevels = (first, count, levels) =>
            {
                ReadOnlySpan<byte> bytes = weight.Bytes.Slice(first * inputs, count * inputs);
                for (int k = 0; k < bytes.Length; k++)
                    levels[k] = (short)((sbyte)bytes[k] - zero[(first + k / inputs) * groups + groupOf[k % inputs]]);
            },
        }.ToTensor();
    }

    private static (int[] GroupOf, int Groups) Grouping(PackedModule tensors, int inputs, Group group)
    {
        int size = group.Size == 0 ? inputs : group.Size, groups = (inputs + size - 1) / size;
        int[] groupOf = [.. Enumerable.Range(0, inputs).Select(i => i / size)];
        // -1 marks an order that is none.
        if (tensors.Find("weight_g_idx") is { } order && order.Shape.Elements == inputs && order.ToInts() is var given && given[0] >= 0)
            groupOf = [.. given.Select(g => g < groups ? (int)g : throw tensors.Fault($"weight_g_idx: expected groups from 0 to {groups - 1}, found {g}"))];
        return (groupOf, groups);
    }

    private static float[] Scales(PackedModule tensors, Tensor scales, int outputs, int groups)
    {
        float[] given = scales.ToFloats();
        return given.Length == outputs * groups ? given
            : given.Length == 1 && groups == 1 ? [.. Enumerable.Repeat(given[0], outputs)]
            : throw tensors.Fault($"weight_scale: expected [{outputs}, {groups}], found {scales.Shape}");
    }

    // As differences from the middle, [outputs, groups].
    private static short[] Zeros(PackedModule tensors, int outputs, int groups, Group group)
    {
        short[] zero = new short[outputs * groups];
        Tensor? stored = tensors.Find("weight_zero_point");
        if (stored is null)
            return group.Symmetric ? zero : throw tensors.Fault("weight_zero_point is missing; the config says that the weights are not symmetric");
        int per = 32 / group.Bits, half = 1 << group.Bits - 1;
        if (stored.Type == DType.I8)
        {
            long[] values = stored.ToInts();
            for (int i = 0; i < zero.Length; i++)
                zero[i] = (short)(values.Length == zero.Length ? values[i] : values.Length == 1 ? values[0] : throw tensors.Fault($"weight_zero_point: expected [{outputs}, {groups}], found {stored.Shape}"));
            return zero;
        }
        if (stored.Type != DType.I32)
            throw tensors.Fault($"weight_zero_point: expected I32 or I8, found {stored.Type}");
        tensors.Expect(stored, (outputs + per - 1) / per, groups);
        ReadOnlySpan<uint> words = PackedBits.Words(stored);
        for (int o = 0; o < outputs; o++)
            for (int g = 0; g < groups; g++)
                zero[o * groups + g] = (short)((int)(words[o / per * groups + g] >> o % per * group.Bits & (1u << group.Bits) - 1) - half);
        return zero;
    }
}
