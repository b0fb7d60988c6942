using System.Text.Json;
using EdgeLora.Core;
using Xunit;

namespace EdgeLora.Tests.Formats;

/// <summary>Reference bytes: fixtures/quants/ggml, made by fixtures/scripts/quants.py and checked there against ggml.</summary>
public sealed class QuantBlocksTests
{
    private const string Ggml = "fixtures/quants/ggml/";

    public static TheoryData<DType> WrittenBlocks => [.. Enum.GetValues<DType>().Where(t => t.BlockSize() > 4 && QuantBlocks.CanWrite(t))];

    [Theory, InlineData("f16", DType.F16), InlineData("bf16", DType.BF16), InlineData("q8_0", DType.Q8_0), InlineData("q4_0", DType.Q4_0), InlineData("q4_1", DType.Q4_1),
        InlineData("q5_0", DType.Q5_0), InlineData("q5_1", DType.Q5_1), InlineData("tq1_0", DType.TQ1_0), InlineData("tq2_0", DType.TQ2_0), InlineData("mxfp4", DType.MXFP4)]
    public void Writing_gives_the_reference_library_s_bytes(string name, DType type)
    {
        using TensorFile file = Safetensors.Open(SharedFolder.Require(Ggml + name + ".safetensors"));
        using JsonDocument cases = JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require("fixtures/quants/cases.json")));
        JsonElement row = cases.RootElement.GetProperty("ggml").EnumerateArray().Single(c => c.GetProperty("file").GetString() == $"ggml/{name}.safetensors");
        string[] names = [.. row.GetProperty("rows").EnumerateArray().Select(r => r.GetString()!)];
        HashSet<string?> byValue = [.. row.GetProperty("rows_by_value_only").EnumerateArray().Select(r => r.GetString())];
        Tensor input = file.Tensors["input"], bytes = file.Tensors["bytes"];
        for (int i = 0; i < names.Length; i++)
        {
            ReadOnlySpan<float> x = input.Floats.Slice(i * input.Shape.Columns, input.Shape.Columns);
            byte[] found = new byte[bytes.Shape.Columns];
            QuantBlocks.FromFloats(type, x, found);
            if (byValue.Contains(names[i]))
                Assert.Equal(Floats(type, bytes.Bytes.Slice(i * found.Length, found.Length), x.Length), Floats(type, found, x.Length));
            else
                Assert.True(bytes.Bytes.Slice(i * found.Length, found.Length).SequenceEqual(found), $"{name} row {names[i]}");
        }
    }

    [Theory, InlineData("f16", DType.F16), InlineData("bf16", DType.BF16), InlineData("q8_0", DType.Q8_0), InlineData("q4_0", DType.Q4_0),
        InlineData("f16_all", DType.F16), InlineData("random_q8_0", DType.Q8_0), InlineData("random_q4_0", DType.Q4_0)]
    public void Reading_gives_the_reference_library_s_bits(string name, DType type)
    {
        using TensorFile file = Safetensors.Open(SharedFolder.Require(Ggml + name + ".safetensors"));
        AssertSameBits(name, type, file.Tensors[name == "f16_all" ? "bits" : "bytes"].Bytes, file.Tensors["expected"].Floats);
    }

    [Fact]
    public void Blocks_of_every_type_that_is_read_give_the_reference_library_s_bits()
    {
        using JsonDocument cases = JsonDocument.Parse(File.ReadAllBytes(SharedFolder.Require("fixtures/quants/cases.json")));
        HashSet<DType> seen = [];
        foreach (JsonElement row in cases.RootElement.GetProperty("ggml").EnumerateArray())
        {
            string name = row.GetProperty("file").GetString()!;
            Assert.True(GgufTensorType.TryFind(row.GetProperty("id").GetUInt32(), out GgufTensorType? stored), name);
            Assert.Equal((row.GetProperty("type").GetString(), row.GetProperty("block_size").GetInt32(), row.GetProperty("type_size").GetInt32()), (stored.Name, stored.BlockSize, stored.BlockBytes));
            if (stored.Type is not { } type)
                continue;
            Assert.Equal((stored.BlockSize, stored.BlockBytes), (type.BlockSize(), type.BlockBytes()));
            using TensorFile file = Safetensors.Open(SharedFolder.Require("fixtures/quants/" + name));
            AssertSameBits(name, type, file.Tensors["bytes"].Bytes, file.Tensors["expected"].Floats);
            seen.Add(type);
        }
        Assert.Equal(Enum.GetValues<DType>().Where(t => t.IsWeight() && t != DType.F32), seen.Order());
    }

    [Fact]
    public void Sixteen_bit_floats_are_converted_eight_at_a_time_as_one_by_one()
    {
        // Every half and bfloat16 with its neighbours and the ties between them, and random bits; lengths that leave a rest.
        Random random = new(11);
        List<float> values = [];
        for (int bits = 0; bits < 1 << 16; bits++)
            foreach (float exact in new[] { (float)BitConverter.UInt16BitsToHalf((ushort)bits), Dequantize.BFloat16((ushort)bits) })
                values.AddRange([exact, MathF.BitIncrement(exact), BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(exact) + 0x1000), BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(exact) + 0x8000)]);
        for (int i = 0; i < 200_003; i++)
            values.Add(BitConverter.Int32BitsToSingle(random.Next(int.MinValue, int.MaxValue)));
        float[] x = [.. values], back = new float[x.Length];
        byte[] halves = new byte[x.Length * 2], brains = new byte[x.Length * 2];
        QuantBlocks.FromFloats(DType.F16, x, halves);
        QuantBlocks.FromFloats(DType.BF16, x, brains);
        for (int i = 0; i < x.Length; i++)
        {
            Assert.Equal(BitConverter.HalfToUInt16Bits((Half)x[i]), BitConverter.ToUInt16(halves, i * 2));
            Assert.Equal(Dequantize.ToBFloat16(x[i]), BitConverter.ToUInt16(brains, i * 2));
        }
        Dequantize.ToFloats(DType.F16, halves, back);
        for (int i = 0; i < x.Length; i++)
            Assert.True(back[i].Equals((float)(Half)x[i]) && float.IsNegative(back[i]) == float.IsNegative((float)(Half)x[i]), $"{x[i]:R}");
        Dequantize.ToFloats(DType.BF16, brains, back);
        for (int i = 0; i < x.Length; i++)
            Assert.Equal((uint)Dequantize.ToBFloat16(x[i]) << 16, BitConverter.SingleToUInt32Bits(back[i]));
    }

    [Theory, InlineData("q2_k", DType.Q2_K), InlineData("q3_k", DType.Q3_K), InlineData("q4_k", DType.Q4_K), InlineData("q5_k", DType.Q5_K), InlineData("q6_k", DType.Q6_K),
        InlineData("iq4_nl", DType.IQ4_NL), InlineData("iq4_xs", DType.IQ4_XS), InlineData("nvfp4", DType.NVFP4), InlineData("q1_0", DType.Q1_0)]
    public void Searched_scales_err_no_more_than_the_reference_library_s(string name, DType type)
    {
        using TensorFile file = Safetensors.Open(SharedFolder.Require(Ggml + "by_ggml_" + name + ".safetensors"));
        Tensor input = file.Tensors["input"], expected = file.Tensors["expected"];
        int width = input.Shape.Columns;
        float[] found = QuantBlocks.ToTensor("w", type, input.Shape, input.Floats).ToFloats();
        for (int row = 0; row < input.Shape.Rows; row++)
        {
            double ours = Error(found.AsSpan(row * width, width), input.Floats.Slice(row * width, width)), theirs = Error(expected.Floats.Slice(row * width, width), input.Floats.Slice(row * width, width));
            Assert.True(ours <= theirs * 1.001 + 1e-9, $"{name} row {row}: {ours:g6}, the reference library {theirs:g6}");
        }
    }

    [Theory, MemberData(nameof(WrittenBlocks))]
    public void Subnormal_blocks_become_zeros(DType type)
    {
        float[] x = [.. Enumerable.Range(0, 256).Select(i => i % 2 == 0 ? 1e-40f : -1e-40f)];
        Assert.All(QuantBlocks.ToTensor("w", type, new Shape(256), x).ToFloats(), y => Assert.Equal(0f, y));
    }

    [Theory, InlineData(DType.Q8_0, 65504f * 127), InlineData(DType.Q4_0, 65504f * 8), InlineData(DType.Q5_0, 65504f * 16), InlineData(DType.Q4_1, 65504f * 15), InlineData(DType.Q5_1, 65504f * 31),
        InlineData(DType.Q2_K, 65504f * 45), InlineData(DType.Q3_K, 65504f * 4 * 32), InlineData(DType.Q4_K, 65504f * 15 * 63), InlineData(DType.Q5_K, 65504f * 31 * 63), InlineData(DType.Q6_K, 65504f * 32 * 128),
        InlineData(DType.IQ4_NL, 65504f * 127), InlineData(DType.IQ4_XS, 65504f * 127 * 32), InlineData(DType.NVFP4, 448f * 6), InlineData(DType.Q1_0, 65504f * 128), InlineData(DType.TQ1_0, 65504f),
        InlineData(DType.TQ2_0, 65504f)]
    public void A_scale_past_f16_is_refused_by_name(DType type, float largest)
    {
        float[] x = new float[512];
        x[300] = largest * 0.9f;
        QuantBlocks.ToTensor("fits", type, new Shape(2, 256), x);
        foreach (float bad in new[] { largest * 1.2f, -largest * 1.2f, float.PositiveInfinity, float.NaN })
        {
            x[300] = bad;
            string message = Assert.Throws<OverflowException>(() => QuantBlocks.ToTensor("blk.0.w", type, new Shape(2, 256), x)).Message;
            Assert.Contains("blk.0.w", message, StringComparison.Ordinal);
            Assert.Contains(float.IsFinite(bad) ? "the block of element 2" : "element 300", message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Infinities_are_refused_by_every_block_type()
    {
        foreach (DType type in WrittenBlocks.Select(r => r.Data))
            foreach (float bad in new[] { float.NegativeInfinity, float.NaN })
                Assert.Contains("element 7", Assert.Throws<OverflowException>(() => QuantBlocks.ToTensor("w", type, new Shape(256), [.. Enumerable.Range(0, 256).Select(i => i == 7 ? bad : i)])).Message, StringComparison.Ordinal);
    }

    // The scale's own rounding to f16 adds up to 127/2048 and 8/2048 of a step.
    [Theory, InlineData(DType.Q8_0, 0.57f), InlineData(DType.Q4_0, 1.01f)]
    public void Quantising_errs_by_at_most_a_step(DType type, float steps)
    {
        Random random = new(3);
        float[] x = [.. Enumerable.Range(0, 32 * 50).Select(_ => (float)(random.NextDouble() * 2 - 1))];
        float[] y = QuantBlocks.ToTensor("w", type, new Shape(50, 32), x).ToFloats();
        for (int block = 0; block < 50; block++)
        {
            float step = x.AsSpan(block * 32, 32).ToArray().Max(MathF.Abs) / (type == DType.Q8_0 ? 127 : 8);
            for (int i = block * 32; i < block * 32 + 32; i++)
                Assert.InRange(MathF.Abs(x[i] - y[i]), 0, step * steps);
        }
    }

    [Fact]
    public void Rows_that_are_no_whole_blocks_are_refused()
    {
        Assert.Throws<ArgumentException>(() => QuantBlocks.FromFloats(DType.Q8_0, new float[40], new byte[68]));
        Assert.Throws<ArgumentException>(() => QuantBlocks.ToTensor("w", DType.Q4_0, new Shape(2, 16), new float[32]));
        Assert.Throws<NotSupportedException>(() => QuantBlocks.FromFloats(DType.I8, new float[1], new byte[1]));
    }

    private static double Error(ReadOnlySpan<float> found, ReadOnlySpan<float> expected)
    {
        double sum = 0;
        for (int i = 0; i < found.Length; i++)
            sum += Math.Pow((double)found[i] - expected[i], 2);
        return Math.Sqrt(sum / found.Length);
    }

    private static void AssertSameBits(string name, DType type, ReadOnlySpan<byte> bytes, ReadOnlySpan<float> expected)
    {
        float[] found = Floats(type, bytes, expected.Length);
        for (int i = 0; i < found.Length; i++)
            Assert.True(float.IsNaN(expected[i]) ? float.IsNaN(found[i]) : BitConverter.SingleToUInt32Bits(expected[i]) == BitConverter.SingleToUInt32Bits(found[i]), $"{name} element {i}: expected {expected[i]:R}, found {found[i]:R}");
    }

    private static float[] Floats(DType type, ReadOnlySpan<byte> bytes, int count)
    {
        float[] result = new float[count];
        Dequantize.ToFloats(type, bytes, result);
        return result;
    }
}
