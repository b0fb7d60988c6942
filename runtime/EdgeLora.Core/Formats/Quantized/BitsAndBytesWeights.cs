using System.Text.Json;

namespace EdgeLora.Core;

// Layout (bitsandbytes), per module:
//   4 bits: weight U8 [n/2, 1], row-major, the high nibble first; weight.quant_map F32 [16]; weight.absmax F32 or U8 [n/blocksize];
//           weight.quant_state.bitsandbytes__nf4 | __fp4: JSON in U8 {blocksize, shape, nested_offset, nested_blocksize …}
//           value = quant_map[nibble]·absmax[i / blocksize]; U8: absmax = nested_quant_map[a]·nested_absmax[j / nested_blocksize] + nested_offset
//   8 bits: weight I8 [O, I], SCB F32 [O]: value = q·(SCB / 127)

/// <summary>bitsandbytes: nf4 and fp4 with and without double quantisation, and LLM.int8.</summary>
internal sealed class BitsAndBytesWeights : QuantizationScheme
{
    private const string StatePrefix = "weight.quant_state.bitsandbytes__";

    // 1/127 as the library multiplies by it.
    private const float Int8Step = 7.874015718698502e-3f;

    public BitsAndBytesWeights(HfConfig config)
    {
        if (config.GetBool("load_in_4bit", false) || config.GetBool("_load_in_4bit", false))
            Facts.AddRange([("quantBits", 4), ("quantFormat", config.GetString("bnb_4bit_quant_type", "nf4")), ("quantDouble", config.GetBool("bnb_4bit_use_double_quant", false))]);
        else
            Facts.AddRange([("quantBits", 8), ("quantFormat", "int8")]);
        if (config.GetString("bnb_4bit_quant_storage", "uint8") != "uint8")
            throw config.Refusal("bnb_4bit_quant_storage", "uint8");
    }

    public override string Name => "bitsandbytes";

    public override string Marker => ".weight";

    public override bool Takes(string module, Tensor marker) => marker.Type is DType.U8 or DType.I8;

    public override Tensor Read(string module, PackedModule tensors)
    {
        Tensor weight = tensors.Take("weight", null, 2);
        string name = module + ".weight";
        if (weight.Type == DType.I8)
        {
            float[] largest = tensors.Take("SCB", DType.F32, null).ToFloats();
            if (largest.Length != weight.Shape[0])
                throw tensors.Fault($"SCB: expected [{weight.Shape[0]}], found {largest.Length}");
            int width = weight.Shape.Columns;
            return ComputedWeight.Of(name, weight.Shape, (row, to) =>
            {
                ReadOnlySpan<byte> bytes = weight.Bytes.Slice(row * width, width);
                float scale = largest[row] * Int8Step;
                for (int i = 0; i < to.Length; i++)
                    to[i] = (sbyte)bytes[i] * scale;
            });
        }
        return FourBits(name, tensors, weight);
    }

    private static Tensor FourBits(string name, PackedModule tensors, Tensor weight)
    {
        Tensor state = tensors.Find(StatePrefix + "nf4") ?? tensors.Find(StatePrefix + "fp4") ?? throw tensors.Fault($"{StatePrefix}nf4 or fp4 is missing");
        using JsonDocument document = SafeJson.Parse(state.Name, state.Bytes.ToArray());
        JsonElement root = document.RootElement;
        int block = Number(tensors, root, "blocksize");
        long[] dimensions = root.TryGetProperty("shape", out JsonElement sides) && sides.ValueKind == JsonValueKind.Array
            ? [.. sides.EnumerateArray().Select(s => s.TryGetInt64(out long side) && side > 0 ? side : throw tensors.Fault("quant_state: shape: expected sizes"))]
            : throw tensors.Fault("quant_state: shape is missing");
        Shape shape = new(dimensions);
        long blocks = (shape.Elements + block - 1) / block;
        if (weight.Shape.Elements != (shape.Elements + 1) / 2)
            throw tensors.Fault($"weight: expected {(shape.Elements + 1) / 2} bytes for {shape}, found {weight.Shape.Elements}");
        float[] map = tensors.Take("weight.quant_map", DType.F32, null).ToFloats();
        if (map.Length != 16)
            throw tensors.Fault($"weight.quant_map: expected 16 values, found {map.Length}");
        Tensor stored = tensors.Take("weight.absmax", null, null);
        float[] largest = stored.Type == DType.U8 ? Nested(tensors, root, stored) : stored.ToFloats();
        if (largest.Length != blocks)
            throw tensors.Fault($"weight.absmax: expected {blocks} blocks of {block}, found {largest.Length}");
        int width = shape.Columns;
        return ComputedWeight.Of(name, shape, (row, to) =>
        {
            ReadOnlySpan<byte> bytes = weight.Bytes;
            long start = (long)row * width;
            for (int i = 0; i < to.Length; i++)
            {
                int q = bytes[(int)(start + i >> 1)];
                to[i] = map[(start + i & 1) == 0 ? q >> 4 : q & 15] * largest[(int)((start + i) / block)];
            }
        });
    }

    private static float[] Nested(PackedModule tensors, JsonElement state, Tensor stored)
    {
        float[] map = tensors.Take("weight.nested_quant_map", DType.F32, null).ToFloats(), largest = tensors.Take("weight.nested_absmax", DType.F32, null).ToFloats();
        int block = state.TryGetProperty("nested_blocksize", out _) ? Number(tensors, state, "nested_blocksize") : 256;
        float offset = state.TryGetProperty("nested_offset", out JsonElement given) && given.ValueKind == JsonValueKind.Number ? given.GetSingle() : throw tensors.Fault("quant_state: nested_offset is missing");
        ReadOnlySpan<byte> bytes = stored.Bytes;
        if (map.Length != 256 || largest.Length != (bytes.Length + block - 1) / block)
            throw tensors.Fault($"weight.nested_absmax: expected {(bytes.Length + block - 1) / block} blocks of {block} and a map of 256, found {largest.Length} and {map.Length}");
        float[] result = new float[bytes.Length];
        for (int j = 0; j < result.Length; j++)
            result[j] = map[bytes[j]] * largest[j / block] + offset;
        return result;
    }

    private static int Number(PackedModule tensors, JsonElement state, string field) =>
        state.TryGetProperty(field, out JsonElement value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number > 0 ? number : throw tensors.Fault($"quant_state: {field}: expected a size");
}
