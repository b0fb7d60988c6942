using EdgeLora.Core;
using EdgeLora.Models;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>Quantised safetensors. Reference numbers: fixtures/quants/{int,fp8,bitsandbytes,mlx}, made by scripts/quants.py there.</summary>
public sealed class QuantizedWeightsTests : IDisposable
{
    private const string Root = "fixtures/quants/";

    private readonly string _folder = Directory.CreateTempSubdirectory("edgelora-quants").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory, InlineData("gptq4", DType.Q8_0), InlineData("gptq4_act_order", DType.F32), InlineData("gptq8", DType.F32), InlineData("gptq2", null), InlineData("awq4", DType.Q8_0), InlineData("compressed_tensors_int4", DType.F32)]
    public void Whole_numbers_in_groups_mean_the_reference_s_bits(string kind, DType? stored)
    {
        string folder = SharedFolder.Require(Root + "int/" + kind);
        using TensorFile file = QuantizedWeights.Open(Safetensors.Open(folder), HfConfig.Read(folder), out QuantizationSummary? summary);
        using TensorFile expected = Safetensors.Open(Path.Combine(folder, "expected.safetensors"));
        Assert.Equal(2, summary!.Modules);
        Assert.Equal(expected.Tensors.Keys.Order(), file.Tensors.Keys.Order());
        foreach ((string name, Tensor wanted) in expected.Tensors)
        {
            Assert.Equal(wanted.Shape, file.Tensors[name].Shape);
            Assert.True(stored is null || file.Tensors[name].Type == stored, $"{name}: {file.Tensors[name].Type}");
            AssertSameBits(name, wanted.ToFloats(), file.Tensors[name].ToFloats());
        }
    }

    [Fact]
    public void Every_byte_of_an_8_bit_float_means_the_reference_s_number()
    {
        using TensorFile tables = Safetensors.Open(SharedFolder.Require(Root + "fp8/tables.safetensors"));
        foreach ((string name, DType type) in (ReadOnlySpan<(string, DType)>)[("e4m3fn", DType.F8E4M3), ("e5m2", DType.F8E5M2), ("e4m3fnuz", DType.F8E4M3Fnuz), ("e5m2fnuz", DType.F8E5M2Fnuz), ("e8m0fnu", DType.F8E8M0)])
        {
            float[] found = new float[256];
            Dequantize.ToFloats(type, [.. Enumerable.Range(0, 256).Select(i => (byte)i)], found);
            AssertSameBits(name, tables.Tensors[name + ".expected"].ToFloats(), found);
        }
    }

    [Fact]
    public void Scaled_8_bit_floats_mean_the_reference_s_numbers()
    {
        string folder = SharedFolder.Require(Root + "fp8");
        using TensorFile file = QuantizedWeights.Open(Safetensors.Open(Path.Combine(folder, "model.safetensors")), HfConfig.Read(folder), out QuantizationSummary? summary);
        using TensorFile expected = Safetensors.Open(Path.Combine(folder, "expected.safetensors"));
        Assert.Equal(("FP8", 4), (summary!.Method, summary.Modules));
        Assert.Equal(expected.Tensors.Keys.Order(), file.Tensors.Keys.Order());
        foreach ((string name, Tensor wanted) in expected.Tensors)
            foreach ((float a, float b) in wanted.ToFloats().Zip(file.Tensors[name].ToFloats()))
                Assert.True(Math.Abs(a - b) <= MathF.BitIncrement(MathF.Abs(a)) - MathF.Abs(a), name);
    }

    [Fact]
    public void BitsAndBytes_of_every_kind_means_the_library_s_numbers()
    {
        foreach (string kind in new[] { "nf4", "fp4" }.SelectMany(t => new[] { $"{t}_block64", $"{t}_block128", $"{t}_block64_double", $"{t}_block128_double" }))
        {
            using TensorFile expected = Safetensors.Open(SharedFolder.Require($"{Root}bitsandbytes/{kind}.expected.safetensors"));
            using TensorFile file = Under("m.proj", $"{Root}bitsandbytes/{kind}.safetensors", "{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}}");
            Assert.Equal(expected.Tensors["weight"].Shape, Assert.Single(file.Tensors).Value.Shape);
            AssertSameBits(kind, expected.Tensors["weight"].ToFloats(), file.Tensors["m.proj.weight"].ToFloats());
        }
    }

    public static TheoryData<string, int, int, string> Mlx => new()
    {
        { "affine2_group64", 2, 64, "affine" }, { "affine3_group64", 3, 64, "affine" }, { "affine4_group32", 4, 32, "affine" }, { "affine4_group64", 4, 64, "affine" }, { "affine4_group128", 4, 128, "affine" },
        { "affine5_group64", 5, 64, "affine" }, { "affine6_group64", 6, 64, "affine" }, { "affine8_group32", 8, 32, "affine" }, { "affine8_group64", 8, 64, "affine" }, { "affine8_group128", 8, 128, "affine" },
        { "affine4_group64_float16", 4, 64, "affine" }, { "affine4_group64_bfloat16", 4, 64, "affine" }, { "mxfp4", 4, 32, "mxfp4" }, { "mxfp8", 8, 32, "mxfp8" }, { "nvfp4", 4, 16, "nvfp4" },
    };

    [Theory, MemberData(nameof(Mlx))]
    public void Mlx_weights_mean_the_library_s_numbers(string kind, int bits, int size, string mode)
    {
        string path = $"{Root}mlx/{kind}.safetensors";
        using TensorFile reference = Safetensors.Open(SharedFolder.Require(path));
        // The module's own bits win over the model's.
        string config = $"{{\"model_type\":\"llama\",\"quantization\":{{\"bits\":4,\"group_size\":64,\"layer\":{{\"bits\":{bits},\"group_size\":{size},\"mode\":\"{mode}\"}}}}}}";
        using TensorFile file = Under("", path, config);
        float[] wanted = reference.Tensors["expected"].ToFloats(), found = file.Tensors["layer.weight"].ToFloats();
        Assert.Equal(reference.Tensors["expected"].Shape, file.Tensors["layer.weight"].Shape);
        // The library computes in the stored type, and rounds there.
        DType type = reference.Tensors["expected"].Type;
        float rounding = wanted.Max(MathF.Abs) / (type == DType.F16 ? 1024 : 128);
        for (int i = 0; i < wanted.Length; i++)
            if (type == DType.F32)
                Assert.True(MathF.Abs(wanted[i] - found[i]) <= (mode == "affine" ? 2e-7f : 0), $"{kind} element {i}: {wanted[i]:R}, found {found[i]:R}");
            else
                Assert.True(MathF.Abs(wanted[i] - found[i]) <= rounding, $"{kind} element {i}: {wanted[i]:R}, found {found[i]:R}");
    }

    [Theory, InlineData(2, 0), InlineData(3, 0), InlineData(3, 1), InlineData(4, 1), InlineData(8, 0)]
    public void Gptq_of_odd_sizes_is_read_by_its_formula(int bits, int version)
    {
        // Groups of 48 with a last one of 16, numbers that cross words, zeros that fill no last word.
        const int Inputs = 160, Outputs = 37, Size = 48, Groups = 4;
        Random random = new(bits);
        int[] q = Levels(random, Inputs * Outputs, bits), z = Levels(random, Groups * Outputs, bits);
        float[] scale = [.. Enumerable.Range(0, Groups * Outputs).Select(_ => (float)(Half)(random.NextDouble() * 0.1))];
        int[] order = [.. Enumerable.Range(0, Inputs).Select(i => i * 7 % Inputs / Size)];
        uint[] words = new uint[((Inputs * bits + 31) / 32) * Outputs];
        for (int i = 0; i < Inputs; i++)
            for (int o = 0; o < Outputs; o++)
                Pack(words, o, Outputs, i, bits, q[i * Outputs + o]);
        int zeroWords = (Outputs * bits + 31) / 32;
        uint[] zeros = new uint[Groups * zeroWords];
        for (int g = 0; g < Groups; g++)
            for (int o = 0; o < Outputs; o++)
                Pack(zeros, g * zeroWords, 1, o, bits, z[g * Outputs + o]);
        using TensorFile file = Open($"{{\"quant_method\":\"gptq\",\"bits\":{bits},\"group_size\":{Size},\"desc_act\":true,\"checkpoint_format\":\"{(version == 0 ? "gptq" : "gptq_v2")}\"}}",
            Words("m.qweight", words, Outputs), Words("m.qzeros", zeros, zeroWords), QuantBlocks.ToTensor("m.scales", DType.F16, new Shape(Groups, Outputs), scale), Ints("m.g_idx", order), Tensor.FromFloats("m.bias", new Shape(1), [3]));
        float[] found = file.Tensors["m.weight"].ToFloats();
        Assert.Equal(["m.bias", "m.weight"], file.Tensors.Keys.Order());
        for (int o = 0; o < Outputs; o++)
            for (int i = 0; i < Inputs; i++)
                Assert.Equal(scale[order[i] * Outputs + o] * (q[i * Outputs + o] - z[order[i] * Outputs + o] - 1 + version), found[o * Inputs + i]);
    }

    [Theory, InlineData(4, true, 48), InlineData(4, false, 32), InlineData(8, true, 0), InlineData(8, false, 64)]
    public void Compressed_tensors_of_odd_sizes_are_read_by_their_formula(int bits, bool symmetric, int size)
    {
        const int Inputs = 100, Outputs = 21;
        int per = 32 / bits, half = 1 << bits - 1, groups = size == 0 ? 1 : (Inputs + size - 1) / size, width = (Inputs + per - 1) / per;
        Random random = new(bits + size);
        int[] q = Levels(random, Inputs * Outputs, bits), z = symmetric ? [.. Enumerable.Repeat(half, Outputs * groups)] : Levels(random, Outputs * groups, bits);
        float[] scale = [.. Enumerable.Range(0, groups * Outputs).Select(_ => (float)random.NextDouble())];
        uint[] words = new uint[Outputs * width], zeros = new uint[(Outputs + per - 1) / per * groups];
        for (int o = 0; o < Outputs; o++)
            for (int i = 0; i < Inputs; i++)
                words[o * width + i / per] |= (uint)q[o * Inputs + i] << i % per * bits;
        for (int o = 0; o < Outputs; o++)
            for (int g = 0; g < groups; g++)
                zeros[o / per * groups + g] |= (uint)z[o * groups + g] << o % per * bits;
        string strategy = size == 0 ? "\"strategy\":\"channel\"" : $"\"strategy\":\"group\",\"group_size\":{size}";
        List<Tensor> tensors = [Words("m.weight_packed", words, width), Tensor.FromFloats("m.weight_scale", new Shape(Outputs, groups), scale), Longs("m.weight_shape", Outputs, Inputs)];
        if (!symmetric)
            tensors.Add(Words("m.weight_zero_point", zeros, groups));
        using TensorFile file = Open($"{{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\",\"config_groups\":{{\"group_0\":{{\"targets\":[\"Linear\"],\"weights\":{{\"num_bits\":{bits},\"type\":\"int\",\"symmetric\":{(symmetric ? "true" : "false")},{strategy}}}}}}}}}", [.. tensors]);
        float[] found = Assert.Single(file.Tensors).Value.ToFloats();
        for (int o = 0; o < Outputs; o++)
            for (int i = 0; i < Inputs; i++)
            {
                int g = size == 0 ? 0 : i / size;
                Assert.Equal(scale[o * groups + g] * (q[o * Inputs + i] - z[o * groups + g]), found[o * Inputs + i]);
            }
    }

    [Fact]
    public void Levels_around_the_middle_become_blocks_that_kernels_read()
    {
        foreach ((int bits, DType type) in (ReadOnlySpan<(int, DType)>)[(4, DType.Q4_0), (8, DType.Q8_0)])
        {
            (TensorFile file, float[] wanted) = SymmetricGptq(bits, 64, 96, 32);
            using (file)
            {
                Assert.Equal(type, file.Tensors["m.weight"].Type);
                AssertSameBits($"{bits} bits", wanted, file.Tensors["m.weight"].ToFloats());
            }
        }
    }

    [Fact]
    public void Int8_of_bitsandbytes_and_floats_without_a_scale_are_read()
    {
        byte[] q = [.. Enumerable.Range(0, 12).Select(i => (byte)(i * 21))];
        using TensorFile int8 = Open("{\"quant_method\":\"bitsandbytes\",\"load_in_8bit\":true}", Raw("m.weight", DType.I8, new Shape(3, 4), q), Tensor.FromFloats("m.SCB", new Shape(3), [127, 12.7f, 1]));
        Assert.Equal((sbyte)q[5] * (12.7f * 7.874015718698502e-3f), int8.Tensors["m.weight"].ToFloats()[5]);
        using TensorFile float8 = Open("{\"quant_method\":\"fp8\"}", Raw("m.weight", DType.F8E5M2, new Shape(3, 4), q));
        Assert.Equal(DType.F16, float8.Tensors["m.weight"].Type);
        Assert.Equal(Float8.Values(DType.F8E5M2)[q[5]], float8.Tensors["m.weight"].ToFloats()[5]);
    }

    [Fact]
    public void Methods_and_forms_that_are_not_read_are_refused_by_field()
    {
        void Refused(string part, string config, params Tensor[] tensors) => Assert.Contains(part, Assert.Throws<ModelFileException>(() => Open(config, tensors).Dispose()).Message, StringComparison.Ordinal);
        Refused("hqq", "{\"quant_method\":\"hqq\"}");
        Refused("quant_method", "{\"bits\":4}");
        Refused("quantization_config.bits", "{\"quant_method\":\"gptq\",\"bits\":5}");
        Refused("marlin", "{\"quant_method\":\"gptq\",\"bits\":4,\"checkpoint_format\":\"marlin\"}");
        Refused("dynamic", "{\"quant_method\":\"gptq\",\"bits\":4,\"dynamic\":{\"x\":{\"bits\":8}}}");
        Refused("gemv", "{\"quant_method\":\"awq\",\"bits\":4,\"version\":\"gemv\"}");
        Refused("nvfp4-pack-quantized", "{\"quant_method\":\"compressed-tensors\",\"format\":\"nvfp4-pack-quantized\"}");
        Refused("NVFP4", "{\"quant_method\":\"modelopt\",\"quant_algo\":\"NVFP4\"}");
        Refused("a.scales is missing", "{\"quant_method\":\"gptq\",\"bits\":4}", Words("a.qweight", new uint[8], 8), Words("b.qweight", new uint[8], 8));
        Refused("b.scales is missing", "{\"quant_method\":\"gptq\",\"bits\":4}", Words("a.qweight", new uint[8], 8), Words("b.qweight", new uint[8], 8));
        Refused("a.qzeros: expected [1, 1], found [1, 8]", "{\"quant_method\":\"awq\",\"group_size\":8}", Words("a.qweight", new uint[8], 1), Words("a.qzeros", new uint[8], 8), Tensor.FromFloats("a.scales", new Shape(1, 8), new float[8]));
        string grouped = "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"g\":{\"targets\":[\"Linear\"],\"weights\":{\"num_bits\":4,\"strategy\":\"group\",\"group_size\":1}}}}";
        Refused("a.weight_scale: expected [2, 8]", grouped, Words("a.weight_packed", new uint[2], 1), Tensor.FromFloats("a.weight_scale", new Shape(1), [1]), Longs("a.weight_shape", 2, 8));
        Refused("a.weight_packed: [2, 1] does not hold", grouped, Words("a.weight_packed", new uint[2], 1), Tensor.FromFloats("a.weight_scale", new Shape(1), [1]), Longs("a.weight_shape", 2, -8));
        Refused("a.g_idx", "{\"quant_method\":\"gptq\",\"bits\":4}", Words("a.qweight", new uint[8], 8), Words("a.qzeros", new uint[1], 1), Tensor.FromFloats("a.scales", new Shape(1, 8), new float[8]), Ints("a.g_idx", [0, 0, 0, 0, 0, 0, 0, 1]));
        Refused("weight_block_size", "{\"quant_method\":\"fp8\"}", Raw("a.weight", DType.F8E4M3, new Shape(4, 4), new byte[16]), Tensor.FromFloats("a.weight_scale_inv", new Shape(2, 2), [1, 1, 1, 1]));
    }

    [Fact]
    public void Mlx_tensors_that_do_not_fit_each_other_are_refused_by_name()
    {
        foreach ((Shape weight, Shape scales) in (ReadOnlySpan<(Shape, Shape)>)[(new Shape(2, 8), new Shape(2, 2)), (new Shape(2, 0), new Shape(2, 0)), (new Shape(16), new Shape(1)), (new Shape(2, 8), new Shape(3, 1))])
        {
            Tensor[] tensors = [Raw("a.weight", DType.U32, weight, new byte[weight.Elements * 4]), Tensor.FromFloats("a.scales", scales, new float[scales.Elements]), Tensor.FromFloats("a.biases", scales, new float[scales.Elements])];
            HfConfig config = HfConfig.Parse("config.json", "{\"quantization\":{\"bits\":4,\"group_size\":64}}"u8.ToArray());
            Assert.Contains("a.", Assert.Throws<ModelFileException>(() => QuantizedWeights.Open(new("m", tensors.ToDictionary(t => t.Name), new Dictionary<string, string>(), []), config, out _)).Message, StringComparison.Ordinal);
        }
    }

    private static (TensorFile File, float[] Wanted) SymmetricGptq(int bits, int outputs, int inputs, int size)
    {
        Random random = new(5);
        (Tensor[] tensors, float[] wanted) = QuantizedModel.Gptq("m", bits, size, [.. Enumerable.Range(0, outputs * inputs).Select(_ => (float)random.NextDouble() - 0.5f)], outputs, inputs);
        return (Open($"{{\"quant_method\":\"gptq\",\"bits\":{bits},\"group_size\":{size}}}", tensors), wanted);
    }

    private static int[] Levels(Random random, int count, int bits) => [.. Enumerable.Range(0, count).Select(_ => random.Next(1 << bits))];

    internal static void Pack(uint[] words, int first, int stride, int index, int bits, int value)
    {
        for (int b = 0; b < bits; b++)
            if ((value >> b & 1) != 0)
                words[first + (index * bits + b) / 32 * stride] |= 1u << (index * bits + b) % 32;
    }

    internal static Tensor Words(string name, uint[] words, int width) => Raw(name, DType.I32, new Shape(words.Length / width, width), System.Runtime.InteropServices.MemoryMarshal.AsBytes<uint>(words).ToArray());

    private static Tensor Ints(string name, int[] values) => Raw(name, DType.I32, new Shape(values.Length), System.Runtime.InteropServices.MemoryMarshal.AsBytes<int>(values).ToArray());

    private static Tensor Longs(string name, params long[] values) => Raw(name, DType.I64, new Shape(values.Length), System.Runtime.InteropServices.MemoryMarshal.AsBytes<long>(values).ToArray());

    internal static Tensor Raw(string name, DType type, Shape shape, byte[] bytes)
    {
        ArrayStorage storage = new(bytes.Length);
        bytes.CopyTo(storage.Writable);
        return new(name, type, shape, storage);
    }

    private static TensorFile Open(string quantization, params Tensor[] tensors) =>
        QuantizedWeights.Open(new("model.safetensors", tensors.ToDictionary(t => t.Name), new Dictionary<string, string>(), []),
            HfConfig.Parse(Path.Combine(Path.GetTempPath(), "no-such-folder", "config.json"), System.Text.Encoding.UTF8.GetBytes($"{{\"model_type\":\"llama\",\"quantization_config\":{quantization}}}")), out _);

    // A fixture's tensors under a module's name.
    private static TensorFile Under(string module, string path, string config)
    {
        TensorFile file = Safetensors.Open(SharedFolder.Require(path));
        Dictionary<string, Tensor> tensors = file.Tensors.Values.Where(t => t.Name is not ("expected" or "original")).Select(t => t.View(module.Length == 0 ? t.Name : $"{module}.{t.Name}", t.Shape)).ToDictionary(t => t.Name);
        return QuantizedWeights.Open(new(path, tensors, new Dictionary<string, string>(), []), HfConfig.Parse(Path.Combine(Path.GetTempPath(), "no-such-folder", "config.json"), System.Text.Encoding.UTF8.GetBytes(config)), out _);
    }

    private static void AssertSameBits(string name, float[] expected, float[] found)
    {
        Assert.Equal(expected.Length, found.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.True(float.IsNaN(expected[i]) ? float.IsNaN(found[i]) : BitConverter.SingleToUInt32Bits(expected[i]) == BitConverter.SingleToUInt32Bits(found[i]), $"{name} element {i}: expected {expected[i]:R}, found {found[i]:R}");
    }
}
