using System.Text.Json.Nodes;
using EdgeLora.Core;

namespace EdgeLora.Tests.Formats;

/// <summary>A fixture's model with its matrices quantised in a simple way, beside the same numbers as plain floats.</summary>
internal static class QuantizedModel
{
    /// <summary>Symmetric GPTQ tensors of a matrix, and what they mean.</summary>
    public static (Tensor[] Tensors, float[] Meaning) Gptq(string module, int bits, int size, float[] weight, int outputs, int inputs)
    {
        int groups = inputs / size, half = 1 << bits - 1, zeroWords = (outputs * bits + 31) / 32;
        uint[] words = new uint[(inputs * bits + 31) / 32 * outputs], zeros = new uint[groups * zeroWords];
        float[] scales = new float[groups * outputs], meaning = new float[weight.Length];
        for (int o = 0; o < outputs; o++)
            for (int g = 0; g < groups; g++)
            {
                ReadOnlySpan<float> part = weight.AsSpan(o * inputs + g * size, size);
                float scale = (float)(Half)(Math.Max(1e-4f, MathF.Abs(part.ToArray().MaxBy(MathF.Abs))) / (half - 1));
                scales[g * outputs + o] = scale;
                QuantizedWeightsTests.Pack(zeros, g * zeroWords, 1, o, bits, half - 1);
                for (int i = 0; i < size; i++)
                {
                    int level = Math.Clamp((int)MathF.Round(part[i] / scale), -half, half - 1), input = g * size + i;
                    QuantizedWeightsTests.Pack(words, o, outputs, input, bits, level + half);
                    meaning[o * inputs + input] = scale * level;
                }
            }
        return ([QuantizedWeightsTests.Words(module + ".qweight", words, outputs), QuantizedWeightsTests.Words(module + ".qzeros", zeros, zeroWords), QuantBlocks.ToTensor(module + ".scales", DType.F16, new Shape(groups, outputs), scales)], meaning);
    }

    /// <summary>MLX tensors of a matrix of 4 bits in groups of 32, and what they mean.</summary>
    public static (Tensor[] Tensors, float[] Meaning) Mlx(string module, float[] weight, int outputs, int inputs)
    {
        int groups = inputs / 32, width = inputs / 8;
        uint[] words = new uint[outputs * width];
        float[] scales = new float[outputs * groups], biases = new float[outputs * groups], meaning = new float[weight.Length];
        for (int block = 0; block < scales.Length; block++)
        {
            float[] part = weight.AsSpan(block * 32, 32).ToArray();
            (float low, float high) = (part.Min(), part.Max());
            (scales[block], biases[block]) = (Math.Max(1e-4f, (high - low) / 15), low);
            for (int i = 0; i < 32; i++)
            {
                int level = Math.Clamp((int)MathF.Round((part[i] - low) / scales[block]), 0, 15);
                QuantizedWeightsTests.Pack(words, block / groups * width, 1, block % groups * 32 + i, 4, level);
                meaning[block * 32 + i] = level * scales[block] + low;
            }
        }
        Shape shape = new(outputs, groups);
        return ([QuantizedWeightsTests.Raw(module + ".weight", DType.U32, new Shape(outputs, width), System.Runtime.InteropServices.MemoryMarshal.AsBytes<uint>(words).ToArray()),
            Tensor.FromFloats(module + ".scales", shape, scales), Tensor.FromFloats(module + ".biases", shape, biases)], meaning);
    }

    /// <summary>8-bit floats of a matrix in blocks of 32 by 32, and what they mean.</summary>
    public static (Tensor[] Tensors, float[] Meaning) Float8(string module, float[] weight, int outputs, int inputs)
    {
        int down = (outputs + 31) / 32, across = (inputs + 31) / 32;
        float[] scales = new float[down * across], meaning = new float[weight.Length];
        byte[] bytes = new byte[weight.Length];
        ReadOnlySpan<float> table = Core.Float8.Values(DType.F8E4M3);
        for (int i = 0; i < scales.Length; i++)
            scales[i] = 0.001f * (1 + i % 5);
        for (int i = 0; i < weight.Length; i++)
        {
            float scale = scales[i / inputs / 32 * across + i % inputs / 32];
            for (int b = 0; b < 256; b++)
                if (!float.IsNaN(table[b]) && MathF.Abs(table[b] * scale - weight[i]) < MathF.Abs(table[bytes[i]] * scale - weight[i]))
                    bytes[i] = (byte)b;
            meaning[i] = table[bytes[i]] * scale;
        }
        return ([QuantizedWeightsTests.Raw(module + ".weight", DType.F8E4M3, new Shape(outputs, inputs), bytes), Tensor.FromFloats(module + ".weight_scale_inv", new Shape(down, across), scales)], meaning);
    }

    /// <summary>Writes <paramref name="source"/> twice: quantised, in two shards, and with the meaning in floats.</summary>
    public static void Write(string source, string quantised, string plain, Func<string, float[], int, int, (Tensor[] Tensors, float[] Meaning)> quantise, Func<string, bool> takes, Action<JsonObject> describe)
    {
        using TensorFile weights = Safetensors.Open(source);
        List<Tensor> packed = [], floats = [];
        foreach (Tensor tensor in weights.Tensors.Values)
        {
            if (tensor.Shape.Rank != 2 || !takes(tensor.Name))
            {
                packed.Add(tensor);
                floats.Add(tensor);
                continue;
            }
            (Tensor[] parts, float[] meaning) = quantise(tensor.Name[..^".weight".Length], tensor.ToFloats(), (int)tensor.Shape[0], (int)tensor.Shape[1]);
            packed.AddRange(parts);
            floats.Add(Tensor.FromFloats(tensor.Name, tensor.Shape, meaning));
        }
        Directory.CreateDirectory(quantised);
        Directory.CreateDirectory(plain);
        Safetensors.Write(Path.Combine(plain, "model.safetensors"), floats);
        JsonObject map = [];
        for (int shard = 0; shard < 2; shard++)
        {
            string name = $"model-0000{shard + 1}-of-00002.safetensors";
            Tensor[] held = [.. packed.Where((_, i) => i % 2 == shard)];
            Safetensors.Write(Path.Combine(quantised, name), held);
            foreach (Tensor tensor in held)
                map[tensor.Name] = name;
        }
        File.WriteAllText(Path.Combine(quantised, "model.safetensors.index.json"), new JsonObject { ["weight_map"] = map }.ToJsonString());
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(source, "config.json")))!.AsObject();
        File.WriteAllText(Path.Combine(plain, "config.json"), config.ToJsonString());
        describe(config);
        File.WriteAllText(Path.Combine(quantised, "config.json"), config.ToJsonString());
    }
}
