using System.Text.Json;

namespace EdgeLora.Core;

// Layout (ml-explore/mlx, mlx.core.quantize), per module, O outputs, I inputs, groups of g inputs, b bits:
//   weight U32 [O, I·b/32]: a stream of bits along the inputs, lowest first
//   affine: scales, biases F [O, I/g]: W = q·scale + bias
//   mxfp4: scales U8 e8m0, g 32, e2m1; mxfp8: scales U8 e8m0, g 32, e4m3; nvfp4: scales U8 e4m3, g 16, e2m1: W = value·scale

/// <summary>MLX: affine of 2, 3, 4, 5, 6 and 8 bits, mxfp4, mxfp8 and nvfp4; modules may differ.</summary>
internal sealed class MlxWeights : QuantizationScheme
{
    private static readonly float[] s_e2m1 = [0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0f, -0.5f, -1, -1.5f, -2, -3, -4, -6];

    private readonly HfConfig _config;

    public MlxWeights(HfConfig config)
    {
        _config = config;
        Rule rule = RuleOf(config, null);
        Facts.AddRange([("quantBits", rule.Bits), ("quantGroupSize", rule.Size), ("quantFormat", rule.Mode)]);
    }

    private sealed record Rule(string Mode, int Bits, int Size);

    public override string Name => "MLX";

    public override string Marker => ".scales";

    public override Tensor Read(string module, PackedModule tensors)
    {
        Rule rule = RuleOf(_config, module);
        Tensor weight = tensors.Take("weight", DType.U32, null), scales = tensors.Take("scales", rule.Mode == "affine" ? null : DType.U8, null);
        int words = weight.Shape.Columns, inputs = checked((int)((long)words * 32 / rule.Bits)), groups = (inputs + rule.Size - 1) / rule.Size;
        if (weight.Shape.Rank < 2 || words == 0)
            throw tensors.Fault($"weight: expected rows of words, found {weight.Shape}");
        long[] dimensions = weight.Shape.Dimensions.ToArray();
        if (scales.Shape.Columns != groups || scales.Shape.Elements / groups != weight.Shape.Elements / words)
            throw tensors.Fault($"scales: expected a row of {groups} for each row of {inputs} inputs of {rule.Bits} bits, found {scales.Shape} for {weight.Shape}");
        dimensions[^1] = inputs;
        Shape shape = new(dimensions);
        int bits = rule.Bits, size = rule.Size;
        if (rule.Mode == "affine")
        {
            Tensor biases = tensors.Take("biases", null, null);
            if (biases.Shape != scales.Shape)
                throw tensors.Fault($"biases: expected {scales.Shape}, found {biases.Shape}");
            float[] scale = scales.ToFloats(), bias = biases.ToFloats();
            return ComputedWeight.Of(module + ".weight", shape, (row, to) =>
            {
                ReadOnlySpan<uint> stream = PackedBits.Words(weight);
                for (int i = 0; i < to.Length; i++)
                    to[i] = PackedBits.At(stream, row * words, 1, i, bits) * scale[row * groups + i / size] + bias[row * groups + i / size];
            });
        }
        DType scaleType = rule.Mode == "nvfp4" ? DType.F8E4M3 : DType.F8E8M0;
        return ComputedWeight.Of(module + ".weight", shape, (row, to) =>
        {
            ReadOnlySpan<uint> stream = PackedBits.Words(weight);
            ReadOnlySpan<float> values = bits == 4 ? s_e2m1 : Float8.Values(DType.F8E4M3), factors = Float8.Values(scaleType);
            ReadOnlySpan<byte> scale = scales.Bytes.Slice(row * groups, groups);
            for (int i = 0; i < to.Length; i++)
                to[i] = values[PackedBits.At(stream, row * words, 1, i, bits)] * factors[scale[i / size]];
        });
    }

    private static Rule RuleOf(HfConfig config, string? module)
    {
        HfConfig from = config;
        if (module is not null && config.KindOf(module) == JsonValueKind.Object && config.TryGetObject(module, out HfConfig? own))
            from = own;
        string mode = from.GetString("mode", config.GetString("mode", "affine"));
        (int bits, int size) = mode switch
        {
            "affine" => (4, 64),
            "mxfp4" => (4, 32),
            "mxfp8" => (8, 32),
            "nvfp4" => (4, 16),
            _ => throw from.Refusal("mode", "affine, mxfp4, mxfp8 or nvfp4"),
        };
        Rule rule = new(mode, from.GetInt("bits", 1, 32, config.GetInt("bits", 1, 32, bits)), from.GetInt("group_size", 1, 1 << 16, config.GetInt("group_size", 1, 1 << 16, size)));
        return mode == "affine" ? rule.Bits is 2 or 3 or 4 or 5 or 6 or 8 ? rule : throw from.Refusal("bits", "2, 3, 4, 5, 6 or 8")
            : (rule.Bits, rule.Size) == (bits, size) ? rule : throw from.Refusal("bits", $"{bits} in groups of {size}, which {mode} has");
    }
}
